"""The filter as a program: its answer to each call on both architectures, by an interpreter of its instructions."""

import ctypes
import ctypes.util
import itertools

import pytest

from relay.checker.seccomp import ALLOW, ARCHITECTURES, KILL, REFUSE, UNAVAILABLE, Architecture, Instruction, program
from relay.checker.system_calls import ALLOWED, FATAL, INSPECTED, NEWEST, UNKNOWN, Numbers

PROCESS = 4711
NAMED = {**ALLOWED, **INSPECTED, **UNKNOWN, **FATAL}
BOTH = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=[*ARCHITECTURES])


def run(lines: list[Instruction], audit: int, number: int, *arguments: int) -> int:
    """What the kernel would return (net/core/filter.c); struct seccomp_data as 32-bit words."""
    words = {0: number, 4: audit}
    for place, value in enumerate(itertools.islice(itertools.chain(arguments, itertools.repeat(0)), 6)):
        words[16 + 8 * place], words[20 + 8 * place] = value & 0xFFFFFFFF, value >> 32
    loaded = place = 0
    while True:
        line = lines[place]
        place += 1
        match line.code:
            case 0x20:
                loaded = words[line.value]
                continue
            case 0x06:
                return line.value
            case 0x15:
                holds = loaded == line.value
            case 0x25:
                holds = loaded > line.value
            case 0x35:
                holds = loaded >= line.value
            case 0x45:
                holds = bool(loaded & line.value)
            case code:
                raise AssertionError(code)
        place += line.if_true if holds else line.if_false


def answer(architecture: Architecture, name: str, *arguments: int) -> int:
    number = NAMED[name][architecture.column]
    assert number is not None
    return run(program(architecture, PROCESS), architecture.audit, number, *arguments)


def numbers(calls: dict[str, Numbers], architecture: Architecture) -> set[int]:
    return {number for each in calls.values() if (number := each[architecture.column]) is not None}


@BOTH
def test_only_calls_of_the_allow_list_are_allowed_whatever_their_arguments(architecture: Architecture) -> None:
    lines = program(architecture, PROCESS)
    allowed = {number for number in range(NEWEST + 1) if run(lines, architecture.audit, number) == ALLOW}
    # Arguments of 0 are those of a mapping without rights, and of the limits of the process itself.
    wanted = {name: INSPECTED[name] for name in ("mmap", "mprotect", "prlimit64")}
    assert allowed == numbers({**ALLOWED, **wanted}, architecture)


@BOTH
def test_every_other_call_is_refused_killed_or_unavailable(architecture: Architecture) -> None:
    lines = program(architecture, PROCESS)
    for number in range(NEWEST + 1):
        if number in numbers({**ALLOWED, **INSPECTED}, architecture):
            continue
        fatal, unknown = number in numbers(FATAL, architecture), number in numbers(UNKNOWN, architecture)
        wanted = KILL if fatal else UNAVAILABLE if unknown else REFUSE
        assert run(lines, architecture.audit, number) == wanted
    assert run(lines, architecture.audit, NEWEST + 1) == UNAVAILABLE


@BOTH
def test_calls_of_another_architecture_end_the_process(architecture: Architecture) -> None:
    lines = program(architecture, PROCESS)
    i386, arm = 0x40000003, 0x40000028
    others = {each.audit for each in ARCHITECTURES.values()} - {architecture.audit}
    for audit in (i386, arm, *others):
        assert run(lines, audit, 0) == KILL


@BOTH
def test_calls_of_the_x32_abi_end_the_process(architecture: Architecture) -> None:
    lines = program(architecture, PROCESS)
    assert {run(lines, architecture.audit, 0x40000000 | number) for number in (0, 1, 59, 520)} == {KILL}


@BOTH
@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("mmap", (0, 4096, 3), True),
        ("mmap", (0, 4096, 5), False),
        ("mmap", (0, 4096, 7), False),
        ("mprotect", (0, 4096, 3), True),
        ("mprotect", (0, 4096, 4), False),
        ("clone", (0x3D0F00,), True),  # what glibc gives for a thread
        ("clone", (0x01200011,), False),  # and for fork()
        ("clone", (0x3D0F00 | 0x10000000,), False),
        ("clone", (0x3D0F00 | 0x40000000,), False),
        ("tgkill", (PROCESS, 1, 6), True),
        ("tgkill", (PROCESS + 1, 1, 9), False),
        ("prlimit64", (0, 0), True),
        ("prlimit64", (PROCESS + 1, 0), False),
        ("fcntl", (3, 1030), True),
        ("fcntl", (3, 8), False),  # F_SETOWN
        ("fcntl", (3, 15), False),  # F_SETOWN_EX
        ("fcntl", (3, 10), False),  # F_SETSIG
        ("ioctl", (3, 0x5421), True),
        ("ioctl", (3, 0x8901), False),  # FIOSETOWN
        ("ioctl", (3, 0x5412), False),  # TIOCSTI
    ],
)
def test_arguments_are_looked_at(
    architecture: Architecture, name: str, arguments: tuple[int, ...], allowed: bool
) -> None:
    assert answer(architecture, name, *arguments) == (ALLOW if allowed else REFUSE)


@BOTH
def test_no_jump_leaves_the_program_and_none_is_too_far(architecture: Architecture) -> None:
    lines = program(architecture, PROCESS)
    assert len(lines) <= 4096  # BPF_MAXINSNS
    for place, line in enumerate(lines):
        assert max(line.if_true, line.if_false) < min(256, len(lines) - place)


@pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="libseccomp is not installed")
@BOTH
def test_the_numbers_are_those_of_libseccomp(architecture: Architecture) -> None:
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    for name, each in NAMED.items():
        known = library.seccomp_syscall_resolve_name_arch(ctypes.c_uint(architecture.audit), name.encode())
        assert (known if known >= 0 else None) == each[architecture.column], name
