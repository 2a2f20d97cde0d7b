"""`python -m tests.support.sandbox_attempts LAYERS PLACES NAME…`: tries what a worker must not do, in its sandbox.

LAYERS: `none`; `landlock` or `seccomp` alone; `all`, as a worker has it. PLACES: JSON, what the test has prepared.
Prints one JSON object: for each name "done", or the name of the error. Some attempts end the process.
"""

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from errno import errorcode
from typing import Any

from relay.checker import landlock, sandbox, seccomp, system_calls

PLACES: dict[str, Any] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {**system_calls.FATAL, "pidfd_open": (434, 434), "setuid": (105, 146), "memfd_create": (319, 279)}


def call(name: str, *arguments: Any) -> int:
    number = NUMBERS[name][os.uname().machine == "aarch64"]
    result = LIBC.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return int(result)


def connect(family: int, address: Any) -> None:
    with socket.socket(family) as ours:
        ours.connect(address)


def bind() -> None:
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))


def use_the_socket_of_the_test(address: Any) -> None:
    """A descriptor that is there already: what Landlock alone keeps from the network."""
    PLACES["sockets"].pop().connect(address)


def fork() -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def append() -> None:
    os.close(os.open(PLACES["file"], os.O_WRONLY | os.O_APPEND))


def create() -> None:
    os.close(os.open(PLACES["folder"] + "/new", os.O_WRONLY | os.O_CREAT))


def read(path: str) -> None:
    with open(path, "rb") as file:
        assert file.read(1)


def execute_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def make_memory_executable() -> None:
    page = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 5):
        raise OSError(ctypes.get_errno(), "mprotect")


def limit_the_daemon() -> None:
    resource.prlimit(os.getppid(), resource.RLIMIT_CPU, resource.prlimit(os.getppid(), resource.RLIMIT_CPU))


def signal_the_daemon_by_a_descriptor() -> None:
    fcntl.fcntl(PLACES["sockets"][0], fcntl.F_SETOWN, os.getppid())


def read_the_memory_of_the_daemon() -> None:
    address, octets = PLACES["memory"], ctypes.create_string_buffer(6)

    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    ours, theirs = Piece(ctypes.addressof(octets), 6), Piece(address, 6)
    one = ctypes.c_ulong(1)
    call("process_vm_readv", os.getppid(), ctypes.byref(ours), one, ctypes.byref(theirs), one, ctypes.c_ulong(0))
    assert octets.raw == b"secret"


def run_a_thread() -> None:
    ran: list[int] = []
    thread = threading.Thread(target=ran.append, args=(1,))
    thread.start()
    thread.join()
    assert ran


def map_received_memory() -> None:
    """By the channel, as a request might come."""
    channel = PLACES["channel"]
    _, (descriptor,), _, _ = socket.recv_fds(channel, 1, 1)
    with mmap.mmap(descriptor, 6, prot=mmap.PROT_READ) as memory:
        assert memory[:] == b"mapped"
    os.close(descriptor)


def import_what_is_not_loaded() -> None:
    import wave  # noqa: F401


REFUSED: dict[str, Callable[[], object]] = {
    "connect to a port": lambda: connect(socket.AF_INET, ("127.0.0.1", PLACES["port"])),
    "connect to a port over IPv6": lambda: connect(socket.AF_INET6, ("::1", PLACES["port6"])),
    "connect to a UNIX socket": lambda: connect(socket.AF_UNIX, PLACES["unix"]),
    "connect to an abstract socket": lambda: connect(socket.AF_UNIX, "\0" + PLACES["abstract"]),
    "connect a socket that it has": lambda: use_the_socket_of_the_test(("127.0.0.1", PLACES["port"])),
    "bind a port": bind,
    "read a file": lambda: read(PLACES["file"]),
    "read the environment of the daemon": lambda: read(f"/proc/{os.getppid()}/environ"),
    "list a directory": lambda: os.listdir(PLACES["folder"]),
    "look for a file": lambda: os.stat(PLACES["file"]),
    "create a file": create,
    "append to a file": append,
    "truncate a file": lambda: os.truncate(PLACES["file"], 3),
    "link a file": lambda: os.link(PLACES["file"], PLACES["folder"] + "/linked"),
    "make a symbolic link": lambda: os.symlink("x", PLACES["folder"] + "/symbolic"),
    "make a directory": lambda: os.mkdir(PLACES["folder"] + "/made"),
    "change a mode": lambda: os.chmod(PLACES["file"], 0o644),
    "rename a file": lambda: os.rename(PLACES["file"] + ".b", PLACES["file"] + ".c"),
    "remove a file": lambda: os.unlink(PLACES["file"] + ".d"),
    "fork": fork,
    "signal the daemon": lambda: os.kill(os.getppid(), 0),
    "signal the daemon by a descriptor": signal_the_daemon_by_a_descriptor,
    "get a descriptor of the daemon": lambda: call("pidfd_open", os.getppid(), 0),
    "limit the daemon": limit_the_daemon,
    "slow the daemon down": lambda: os.sched_setaffinity(os.getppid(), os.sched_getaffinity(os.getppid())),
    "map memory to execute": execute_memory,
    "make memory executable": make_memory_executable,
    "make a file in memory": lambda: call("memfd_create", b"x", 0),
    "change its user": lambda: call("setuid", os.getuid()),
}
"""By seccomp, with EPERM."""

FATAL: dict[str, Callable[[], object]] = {
    "execute a program": lambda: os.execv("/bin/true", ["true"]),
    "trace": lambda: call("ptrace", *map(ctypes.c_long, (0, 0, 0, 0))),
    "read the memory of the daemon": read_the_memory_of_the_daemon,
    "enter a namespace": lambda: call("unshare", 0),
    "call the x32 ABI": lambda: LIBC.syscall(ctypes.c_long(0x40000000 | 39)),
    **{name: lambda name=name: call(name, *map(ctypes.c_long, (-1, 0, 0, 0, 0)))  # type: ignore[misc]
       for name in ("bpf", "keyctl", "userfaultfd", "io_uring_setup", "mount")},
}  # fmt: skip
"""By seccomp, with SIGSYS. Without it some of them fail too, for another reason; what counts is that it lives on."""

ALLOWED: dict[str, Callable[[], object]] = {
    "run a thread": run_a_thread,
    "map received memory": map_received_memory,
    "read the clock": lambda: os.times(),
    "allocate memory": lambda: bytearray(64 * 1024 * 1024),
    "signal itself": lambda: signal.raise_signal(signal.SIGCONT),
    "limit its own CPU": lambda: resource.setrlimit(resource.RLIMIT_CPU, (1000, resource.RLIM_INFINITY)),
}


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errorcode[error.errno or 0]
    except ImportError as error:
        return type(error).__name__
    return "done"


def main(layers: str, places: str, *names: str) -> None:
    PLACES.update(json.loads(places))
    PLACES["sockets"] = [socket.socket() for _ in range(2)]
    PLACES["channel"] = socket.socket(fileno=0)
    known = {**REFUSED, **FATAL, **ALLOWED, "import": import_what_is_not_loaded}
    if layers == "all":
        sandbox.apply_limits(os.getppid())
        sandbox.enter()
    elif layers != "none":
        LIBC.prctl(38, 1, 0, 0, 0)
        assert landlock.restrict() if layers == "landlock" else seccomp.install(os.getpid())
    print(json.dumps({name: outcome(known[name]) for name in names}))


if __name__ == "__main__":
    main(*sys.argv[1:])
