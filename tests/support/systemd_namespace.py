"""Runs a command in the file system, as the user and without the rights of systemd/agiris-relay.service; needs root.

    python -m tests.support.systemd_namespace [--write DIRECTORY]... COMMAND...

Laid on as systemd does it: ProtectSystem=strict, ProtectHome=, PrivateTmp=, PrivateDevices=, PrivateIPC=, ProtectProc=
with ProcSubset=, ProtectControlGroups=, ProtectKernelTunables=, a user without capabilities in a PrivateUsers=, the
limits, and then the system call rules of tests.support.systemd_sandbox. --write: what StateDirectory= would be.
The Python that runs the tests, and the tests, are seen where they are, even below /root or /tmp.
"""

import argparse
import ctypes
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

from tests.support import systemd_sandbox

USER = 64_321
"""Nobody's number: what belongs to another user is out of reach."""
SEEN = (Path(__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix))
COVERED = ("/tmp", "/var/tmp", "/home", "/root", "/run/user")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_NEWNS, _NEWIPC, _NEWUSER = 0x00020000, 0x08000000, 0x10000000
_BIND, _REC, _PRIVATE, _NOSUID, _NOEXEC = 4096, 16384, 1 << 18, 2, 8
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _RDONLY = 442, -100, 0x8000, 1
_CAPBSET_DROP, _SET_NO_NEW_PRIVS, _SET_MDWE = 24, 38, 65
_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


def _checked(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    words = [None if each is None else each.encode() for each in (source, target, kind, options)]
    _checked(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mount {target}")


def read_only(path: str, on: bool) -> None:
    """path: on: with all below it."""
    attributes = _Attributes(set=_RDONLY if on else 0, clear=0 if on else _RDONLY)
    where, flags = path.encode(), _AT_RECURSIVE if on else 0
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _checked(_libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, where, flags, ctypes.byref(attributes), size), f"mode of {path}")


def lay_on(writable: list[Path]) -> None:
    """Give this process a file system of its own, with the unit's view of it."""
    _checked(_libc.unshare(_NEWNS | _NEWIPC), "unshare")
    mount("none", "/", flags=_REC | _PRIVATE)
    held = {path.resolve(): os.open(path, os.O_PATH) for path in (*SEEN, *writable)}
    for place in filter(os.path.isdir, COVERED):
        mode = "1777" if "tmp" in place else "0755"
        mount("tmpfs", place, "tmpfs", _NOSUID, f"mode={mode}")
    for path, descriptor in held.items():
        path.mkdir(parents=True, exist_ok=True)
        mount(f"/proc/self/fd/{descriptor}", str(path), flags=_BIND | _REC)
    _devices()
    mount("proc", "/proc", "proc", _NOSUID | _NOEXEC, "hidepid=invisible,subset=pid")
    read_only("/", True)
    for open_to_all in ("/tmp", "/var/tmp", "/proc", *map(str, writable)):
        read_only(open_to_all, False)
    os.chdir(SEEN[0])


def _devices() -> None:
    numbers = {name: os.stat(f"/dev/{name}").st_rdev for name in DEVICES}
    mount("tmpfs", "/dev", "tmpfs", _NOSUID | _NOEXEC, "mode=0755")
    for name, number in numbers.items():
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, number)
        os.chmod(f"/dev/{name}", 0o666)
    os.symlink("/proc/self/fd", "/dev/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"/dev/{name}")


def become_user() -> None:
    """A user without capabilities, in a namespace that knows but it and root."""
    reported, tell = os.pipe()
    outside, helper = os.getpid(), os.fork()
    if helper == 0:
        os.read(reported, 1)
        for what in ("uid_map", "gid_map"):
            Path(f"/proc/{outside}/{what}").write_text(f"0 0 1\n{USER} {USER} 1\n")
        os._exit(0)
    os.setgroups([])
    _checked(_libc.unshare(_NEWUSER), "unshare of users")
    os.write(tell, b".")
    assert os.waitpid(helper, 0)[1] == 0
    for descriptor in (reported, tell):
        os.close(descriptor)
    for capability in range(41):
        _checked(_libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0), f"capability {capability}")
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    _checked(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = int(systemd_sandbox.settings("LimitNOFILE")[0])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    _libc.prctl(_SET_MDWE, 1, 0, 0, 0)  # newer systemd lays it on beside the filter; unknown before Linux 6.3


def can_be_tried() -> bool:
    """Is this root, with the right to mount and to make namespaces?"""
    return (
        os.geteuid() == 0
        and not subprocess.run(
            ["unshare", "--mount", "--ipc", "--user", "true"], capture_output=True, check=False
        ).returncode
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path, action="append", default=[])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    for folder in arguments.write:
        os.chown(folder, USER, USER)
    lay_on(arguments.write)
    become_user()
    systemd_sandbox.lay_on()
    os.execvp(arguments.command[0], arguments.command)
