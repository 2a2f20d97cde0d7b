"""Runs a command under the system call rules of systemd/agiris-relay.service where no systemd runs, by libseccomp.

    python -m tests.support.systemd_sandbox COMMAND...

Laid on as systemd 252 does it: SystemCallFilter= (sets expanded by systemd-analyze), MemoryDenyWriteExecute=,
RestrictAddressFamilies=, RestrictNamespaces=, SystemCallErrorNumber=. Not laid on: mounts, capabilities, cgroups.
"""

import ctypes
import ctypes.util
import errno
import os
import subprocess
import sys
from pathlib import Path

SERVICE = Path(__file__).parents[2] / "systemd" / "agiris-relay.service"

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_WRITE_EXEC, _EXEC, _SHM_EXEC = 0x2 | 0x4, 0x4, 0o100000
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
_NAMESPACES = (0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00020000)


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class Filter:
    """One seccomp filter: `default` for what no rule names."""

    def __init__(self, library: ctypes.CDLL, default: int) -> None:
        library.seccomp_init.restype = ctypes.c_void_p
        self._library, self._context = library, ctypes.c_void_p(library.seccomp_init(default))

    def rule(self, action: int, call: str, *comparisons: tuple[int, int, int, int]) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # not of this architecture
            return
        array = (_Comparison * len(comparisons))(*(_Comparison(*each) for each in comparisons))
        failed = self._library.seccomp_rule_add_array(self._context, action, number, len(comparisons), array)
        if failed:
            raise OSError(-failed, f"seccomp rule for {call}")

    def load(self) -> None:
        if failed := self._library.seccomp_load(self._context):
            raise OSError(-failed, "seccomp_load")


def settings(name: str) -> list[str]:
    """Values of a setting of the unit, in order."""
    lines = SERVICE.read_text().splitlines()
    return [line.split("=", 1)[1] for line in lines if line.startswith(f"{name}=")]


def allowed_calls() -> set[str]:
    """SystemCallFilter= resolved: an allow list, then what later lines with ~ take away."""
    allowed: set[str] = set()
    for value in settings("SystemCallFilter"):
        calls = {call for word in value.lstrip("~").split() for call in _expanded(word)}
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    # systemd always adds these, else not even the command could be started (systemd.exec(5)).
    return allowed | _expanded("@default") | {"execve", "exit", "exit_group", "rt_sigreturn"}


def _expanded(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    done = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True)
    words = [line.split()[0] for line in done.stdout.splitlines()[1:] if line.strip()]
    return {call for each in words if not each.startswith("#") for call in _expanded(each)}


def lay_on() -> None:
    """Put this process, and all it starts, under the rules."""
    library = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2")
    assert settings("SystemCallErrorNumber") == ["EPERM"]
    calls, families = allowed_calls(), {_FAMILIES[each] for each in settings("RestrictAddressFamilies")[0].split()}

    # Two filters: the stricter answer wins, and a rule may not repeat the default of its filter.
    details = Filter(library, _ALLOW)
    refuse = _ERRNO | errno.EPERM
    if settings("MemoryDenyWriteExecute") == ["yes"]:
        details.rule(refuse, "mmap", (2, _MASKED_EQUAL, _WRITE_EXEC, _WRITE_EXEC))
        details.rule(refuse, "mprotect", (2, _MASKED_EQUAL, _EXEC, _EXEC))
        details.rule(refuse, "pkey_mprotect", (2, _MASKED_EQUAL, _EXEC, _EXEC))
        details.rule(refuse, "shmat", (2, _MASKED_EQUAL, _SHM_EXEC, _SHM_EXEC))
    if settings("RestrictNamespaces") == ["yes"]:
        details.rule(refuse, "setns")
        for flag in _NAMESPACES:
            details.rule(refuse, "unshare", (0, _MASKED_EQUAL, flag, flag))
            details.rule(refuse, "clone", (0, _MASKED_EQUAL, flag, flag))
    for family in set(range(46)) - families:
        details.rule(_ERRNO | errno.EAFNOSUPPORT, "socket", (0, _EQUAL, family, 0))
    details.load()

    listed = Filter(library, refuse)
    for call in calls:
        listed.rule(_ALLOW, call)
    listed.load()


if __name__ == "__main__":
    lay_on()
    os.execvp(sys.argv[1], sys.argv[1:])
