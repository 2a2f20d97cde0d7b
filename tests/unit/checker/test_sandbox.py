"""What a worker cannot do: each tried by a real process, in the sandbox and without it."""

import ctypes
import json
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from relay.checker import landlock, seccomp
from relay.checker.sandbox import Protection
from tests.support.sandbox_attempts import ALLOWED, FATAL, REFUSED

ROOT = Path(__file__).parents[3]
X32 = "call the x32 ABI"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of Linux")

Try = Callable[..., "subprocess.CompletedProcess[str]"]


def _probe() -> set[str]:
    """What this kernel grants, asked of a process of its own: it cannot be given back."""
    code = (
        "import os, json; from relay.checker import sandbox; "
        "held = sandbox.apply_limits(os.getppid()); print(json.dumps([*held, *sandbox.enter()]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


HELD = _probe() if sys.platform == "linux" else set()

needs_seccomp = pytest.mark.skipif(
    Protection.SECCOMP not in HELD,
    reason=f"no seccomp filter on this machine ({platform.machine()}): refused by the kernel or container, or no table",
)
needs_landlock = pytest.mark.skipif(Protection.LANDLOCK not in HELD, reason="the kernel has no Landlock, or it is off")


@pytest.fixture
def attempt(tmp_path: Path) -> Iterator[Try]:
    """Run attempts in layers of the sandbox: nothing they need is missing, so that only the sandbox can stop them."""
    for name in ("file", "file.b", "file.d"):
        (tmp_path / name).write_text("secret")
    (tmp_path / "folder").mkdir()
    listeners = [socket.create_server(("127.0.0.1", 0)), socket.create_server(("::1", 0), family=socket.AF_INET6)]
    for address in (str(tmp_path / "unix"), f"\0relay-{tmp_path}"):
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(address)
        listeners[-1].listen()
    memory = ctypes.create_string_buffer(b"secret")
    places: dict[str, Any] = {
        "file": str(tmp_path / "file"),
        "folder": str(tmp_path / "folder"),
        "port": listeners[0].getsockname()[1],
        "port6": listeners[1].getsockname()[1],
        "unix": str(tmp_path / "unix"),
        "abstract": f"relay-{tmp_path}",
        "memory": ctypes.addressof(memory),
    }

    def run(layers: str, names: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        ours, theirs = socket.socketpair()
        with ours, theirs, open(os.memfd_create("request"), "r+b") as request:
            request.write(b"mapped")
            request.flush()
            socket.send_fds(ours, [b"."], [request.fileno()])
            return subprocess.run(
                [sys.executable, "-m", "tests.support.sandbox_attempts", layers, json.dumps(places), *names],
                cwd=ROOT, stdin=theirs, capture_output=True, text=True, timeout=60,
            )  # fmt: skip

    yield run
    for listener in listeners:
        listener.close()


def outcomes(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    assert done.returncode == 0, (done.returncode, done.stderr)
    return dict(json.loads(done.stdout))


def test_without_the_sandbox_everything_can_be_done(attempt: Try) -> None:
    assert set(outcomes(attempt("none", [*REFUSED, *ALLOWED, "import"])).values()) == {"done"}


@needs_seccomp
def test_in_the_sandbox_it_is_refused(attempt: Try) -> None:
    assert outcomes(attempt("all", [*REFUSED])) == dict.fromkeys(REFUSED, "EPERM")


@needs_seccomp
def test_seccomp_alone_refuses_it(attempt: Try) -> None:
    assert outcomes(attempt("seccomp", [*REFUSED])) == dict.fromkeys(REFUSED, "EPERM")


OF_FILES = (
    "read a file", "list a directory", "create a file", "append to a file", "make a symbolic link",
    "make a directory", "remove a file",
)  # fmt: skip


@needs_landlock
def test_landlock_alone_closes_all_files(attempt: Try) -> None:
    names = [*OF_FILES, "read the environment of the daemon"]
    assert outcomes(attempt("landlock", names)) == dict.fromkeys(names, "EACCES")


@pytest.mark.skipif(landlock.version() < 4, reason="Landlock knows TCP since Linux 6.7")
@needs_landlock
def test_landlock_alone_closes_tcp(attempt: Try) -> None:
    names = ["connect to a port", "connect to a port over IPv6", "connect a socket that it has", "bind a port"]
    assert outcomes(attempt("landlock", names)) == dict.fromkeys(names, "EACCES")


@pytest.mark.skipif(landlock.version() < 6, reason="Landlock knows signals since Linux 6.12")
@needs_landlock
def test_landlock_alone_keeps_signals_from_the_daemon(attempt: Try) -> None:
    names = ["signal the daemon", "connect to an abstract socket"]
    assert outcomes(attempt("landlock", names)) == dict.fromkeys(names, "EPERM")


@pytest.mark.parametrize("name", [each for each in FATAL if each != X32 or platform.machine() == "x86_64"])
@needs_seccomp
def test_what_no_library_does_ends_the_process(attempt: Try, name: str) -> None:
    assert attempt("none", [name]).returncode == 0
    assert attempt("all", [name]).returncode == -signal.SIGSYS


@needs_seccomp
def test_what_a_worker_needs_can_be_done_in_the_sandbox(attempt: Try) -> None:
    assert outcomes(attempt("all", [*ALLOWED])) == dict.fromkeys(ALLOWED, "done")


@needs_seccomp
def test_a_module_that_is_not_loaded_is_not_found(attempt: Try) -> None:
    assert outcomes(attempt("all", ["import"])) == {"import": "ModuleNotFoundError"}


def _seccomp_of_all_threads(pid: int) -> set[str]:
    status = [(each / "status").read_text() for each in Path(f"/proc/{pid}/task").iterdir()]
    assert len(status) > 1, "the thread of SaxonC"
    return {line.split()[1] for text in status for line in text.splitlines() if line.startswith("Seccomp:")}


@needs_seccomp
async def test_a_worker_and_the_thread_of_saxon_are_under_the_filter() -> None:
    from relay.checker import CheckerPool
    from relay.observability.events import Event, WorkerSandboxed, WorkerStarted

    log: list[Event] = []
    pool = CheckerPool(1, 60, observe=log.append)
    await pool.start()
    try:
        (worker,) = (event.pid for event in log if isinstance(event, WorkerStarted))
        assert _seccomp_of_all_threads(worker) == {"2"}
        assert {"CapEff:\t0000000000000000", "NoNewPrivs:\t1"} <= set(
            Path(f"/proc/{worker}/status").read_text().splitlines()
        )
        (told,) = (event for event in log if isinstance(event, WorkerSandboxed))
        assert set(told.protections) == HELD
        assert pool.self_test is None
    finally:
        await pool.close()


def test_an_architecture_without_a_table_gets_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not seccomp.install(os.getpid())
