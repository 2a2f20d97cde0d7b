"""The system calls of a worker: a seccomp filter, installed in all threads of the process.

Sources: seccomp(2); Documentation/userspace-api/seccomp_filter.rst of Linux; bpf(4) of FreeBSD for the instructions.

An allow list and not a list of what is forbidden. A worker that has loaded its libraries needs some fifty calls, and
what they do is known: talk over descriptors that are open, take and give back memory, read the clock. A list of
forbidden calls would have to name every call of every kernel to come. What may be missing from an allow list is a call
that a newer C library makes first: it is answered EPERM, or ENOSYS when it is newer than the table, as an older kernel
would, and the library takes the one it took before.

Without libseccomp: Python's binding of it is in no wheel, and the program is as short as the calls that would build it.
"""

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relay.checker.system_calls import ALLOWED, FATAL, INSPECTED, NEWEST, UNKNOWN, Numbers


class Architecture(NamedTuple):
    """audit: AUDIT_ARCH_* of linux/audit.h. column: of relay.checker.system_calls.Numbers. seccomp: its number."""

    audit: int
    column: int
    seccomp: int


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 0, 317),
    "aarch64": Architecture(0xC00000B7, 1, 277),
}

X32 = 0x40000000
"""In the number of a call of the x32 ABI, which the kernel takes from a process of x86_64 too (arch/x86)."""

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, UNAVAILABLE = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_AT_LEAST, _JUMP_SET, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_PROT_EXEC = 0x4
_CLONE_THREAD, _CLONE_NAMESPACES = 0x00010000, 0x7E020080
_F_DUPFD_CLOEXEC, _F_GET_SEALS = 1030, 1034
_F_GETFD, _F_SETFD, _F_GETFL = 1, 2, 3
_FIONBIO = 0x5421


class Instruction(NamedTuple):
    """struct sock_filter of linux/filter.h."""

    code: int
    if_true: int
    if_false: int
    value: int


@dataclass(frozen=True, slots=True)
class Condition:
    """On the lower 32 bits of argument number `argument`: one of `equal`, all of `bits_set`, none of `bits_clear`.

    The kernel looks at no more of these arguments (int, unsigned int), or the bits in question are among them.
    """

    argument: int
    equal: tuple[int, ...] = ()
    bits_set: int = 0
    bits_clear: int = 0


def conditions(process: int) -> dict[str, tuple[Condition, ...]]:
    """What the arguments of the calls of INSPECTED must be, else EPERM. process: the id of this one."""
    no_code = (Condition(2, bits_clear=_PROT_EXEC),)  # all code is loaded, and no library makes any while it runs
    return {
        "mmap": no_code,
        "mprotect": no_code,
        "clone": (Condition(0, bits_set=_CLONE_THREAD, bits_clear=_CLONE_NAMESPACES),),
        "tgkill": (Condition(0, equal=(process,)),),  # abort() and raise()
        "prlimit64": (Condition(0, equal=(0,)),),  # not the limits of the daemon, which has the same user
        # F_SETOWN and FIOSETOWN would let the kernel send signals to the daemon.
        "fcntl": (Condition(1, equal=(_F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC, _F_GET_SEALS)),),
        "ioctl": (Condition(1, equal=(_FIONBIO,)),),
    }


def program(architecture: Architecture, process: int) -> list[Instruction]:
    """The filter for the process of that id. Pure; what it returns for a call is ALLOW, REFUSE, UNAVAILABLE or KILL."""
    column = architecture.column
    lines = [
        Instruction(_LOAD, 0, 0, _ARCH),
        Instruction(_JUMP_EQUAL, 1, 0, architecture.audit),
        _returns(KILL),  # 32-bit calls of the same kernel: their numbers mean something else
        Instruction(_LOAD, 0, 0, _NUMBER),
        *_when(_JUMP_AT_LEAST, X32, [_returns(KILL)]),
    ]
    for number in _numbers(ALLOWED, column):
        lines += _when(_JUMP_EQUAL, number, [_returns(ALLOW)])
    for name, wanted in conditions(process).items():
        for number in _numbers({name: INSPECTED[name]}, column):
            lines += _when(_JUMP_EQUAL, number, _inspect(wanted))
    for number in _numbers(FATAL, column):
        lines += _when(_JUMP_EQUAL, number, [_returns(KILL)])
    for number in _numbers(UNKNOWN, column):
        lines += _when(_JUMP_EQUAL, number, [_returns(UNAVAILABLE)])
    lines += _when(_JUMP_GREATER, NEWEST, [_returns(UNAVAILABLE)])
    return [*lines, _returns(REFUSE)]


def _numbers(calls: dict[str, Numbers], column: int) -> Iterable[int]:
    return (number for each in calls.values() if (number := each[column]) is not None)


def _returns(value: int) -> Instruction:
    return Instruction(_RETURN, 0, 0, value)


def _when(jump: int, value: int, then: Sequence[Instruction]) -> list[Instruction]:
    """`then`, which returns, when the comparison of what is loaded with `value` holds; else what follows."""
    return [Instruction(jump, 0, len(then), value), *then]


def _inspect(wanted: Iterable[Condition]) -> list[Instruction]:
    lines: list[Instruction] = []
    for each in wanted:
        lines.append(Instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * each.argument))  # little-endian: the lower half first
        if each.equal:
            last = len(each.equal)
            lines += [Instruction(_JUMP_EQUAL, last - place, 0, value) for place, value in enumerate(each.equal)]
            lines.append(_returns(REFUSE))
        for place in range(32):
            if each.bits_set >> place & 1:
                lines += [Instruction(_JUMP_SET, 1, 0, 1 << place), _returns(REFUSE)]
        if each.bits_clear:
            lines += _when(_JUMP_SET, each.bits_clear, [_returns(REFUSE)])
    return [*lines, _returns(ALLOW)]


class _Filter(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


_SET_MODE_FILTER, _ALL_THREADS = 1, 1


def install(process: int) -> bool:
    """Lay the filter on all threads of this process, for good; needs no_new_privs. process: its id.

    False, and nothing has changed, where the kernel or the container refuses it, and on an architecture that has no
    column in the table: its numbers would mean other calls.
    """
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    lines = program(architecture, process)
    octets = b"".join(struct.pack("=HBBI", *each) for each in lines)
    prepared = _Filter(len(lines), octets)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(
        libc.syscall(
            ctypes.c_long(architecture.seccomp), ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_ALL_THREADS),
            ctypes.byref(prepared),
        )
        == 0
    )  # fmt: skip
