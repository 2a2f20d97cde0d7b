"""Options and fixtures of the fault tests (tests/README.md, "Fault injection").

pytest tests/fault                                  the short form, as in CI
pytest tests/fault --kills 300 --cuts 50            the long form
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.daemon_process import CONNECTIONS, IN_FLIGHT, DaemonProcess, NextHopProcess, wait_until
from tests.support.message_ledger import Balance, Kill, Ledger, balance

DEFAULTS = {"kills": 15, "cuts": 5, "queued": 1000}
MEANING = {"kills": "kill -9 under load, each", "cuts": "power cuts", "queued": "messages queued before the restart"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fault programme")
    for name, meaning in MEANING.items():
        group.addoption(f"--{name}", type=int, help=f"{meaning} (or FAULT_{name.upper()}; {DEFAULTS[name]})")


def amount(request: pytest.FixtureRequest, name: str) -> int:
    # pytest takes the options of this file only when tests/fault is named on its command line.
    given = request.config.getoption(f"--{name}", default=None)
    return int(given if given is not None else os.environ.get(f"FAULT_{name.upper()}", DEFAULTS[name]))


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return amount(request, "kills")


@pytest.fixture
def cuts(request: pytest.FixtureRequest) -> int:
    return amount(request, "cuts")


@pytest.fixture
def queued(request: pytest.FixtureRequest) -> int:
    return amount(request, "queued")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print one line past pytest's capture."""

    def speak(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end=" ", flush=True)

    return speak


@pytest.fixture
def next_hops(tmp_path: Path) -> Iterator[Callable[..., NextHopProcess]]:
    """Make next hops, all noting in one journal."""
    made: list[NextHopProcess] = []

    def make(faults: float = 0.0, seed: int = 1, port: int = 0, pace: float = 0.0) -> NextHopProcess:
        made.append(NextHopProcess(tmp_path / "arrivals.jsonl", faults, seed, port, pace))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def next_hop(next_hops: Callable[..., NextHopProcess]) -> NextHopProcess:
    return next_hops()


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """Make rigs; whatever still runs at the end is killed."""
    made: list[DaemonProcess] = []

    def make(next_hop: int, **how: object) -> DaemonProcess:
        folder = tmp_path / f"daemon-{len(made)}"
        folder.mkdir()
        made.append(DaemonProcess(folder, next_hop, **how).prepare())  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()
    for each in made:
        assert "Traceback" not in (each.log.read_text("utf-8", "replace") if each.log.exists() else "")


@pytest.fixture
def daemon(daemons: Callable[..., DaemonProcess], next_hop: NextHopProcess) -> DaemonProcess:
    return daemons(next_hop.port)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def need(*tools: str, root: bool = False) -> None:
    """Skip the test, with the reason, when a tool or the privilege is missing."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if root and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture(name="need")
def need_fixture() -> Callable[..., None]:
    return need


WAITING = ("--state", "queued", "--state", "active", "--state", "deferred")


def settle(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, kills: Sequence[Kill] = (), seconds: float = 120
) -> Balance:
    """Wait until nothing is left to deliver and close the ledger. No crash may have left anything for a person."""

    def idle() -> bool:
        return not daemon.command("queue", "list", *WAITING, "--limit", "1")

    wait_until(idle, seconds, lambda: f"the queue does not run empty:\n{daemon.tail()}")
    held = {each["queue_id"]: str(each["reason"]) for each in daemon.command("queue", "list", "--state", "held")}
    assert "unsettled" not in held.values(), f"held though nothing is wrong with them: {held}"
    return balance(ledger, next_hop.arrivals(), kills, held)


@pytest.fixture(name="settle")
def settle_fixture() -> Callable[..., Balance]:
    return settle


def check(found: Balance, tmp_path: Path) -> None:
    """All five figures 0, and for each kill no more duplicates than deliveries in flight."""
    (tmp_path / "notes.txt").write_text("\n".join(found.notes), encoding="utf-8")
    assert found.clean, "\n".join(found.notes[:20])
    assert found.mails > 0
    assert found.dup_window <= CONNECTIONS * found.kills, f"{found.dup_window} duplicates in {found.kills} kills"
    assert found.worst_kill <= IN_FLIGHT, f"{found.worst_kill} duplicates in one kill"


@pytest.fixture(name="check")
def check_fixture(tmp_path: Path) -> Callable[[Balance], None]:
    return lambda found: check(found, tmp_path)
