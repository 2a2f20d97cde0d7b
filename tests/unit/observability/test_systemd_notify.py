"""sd_notify as a test socket sees it, and the watchdog."""

import asyncio
import os
import socket

import pytest

from relay.observability.log import capture
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.observability.systemd import Systemd, Watchdog

observe = Observer(Metrics()).observe


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A socket that stands for systemd: (Systemd, read)."""
    name = f"@agiris-{os.getpid()}-{id(request)}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name[1:] if name.startswith("@") else name)
        channel.settimeout(5)

        def read():
            return channel.recv(4096).decode().split("\n")

        yield Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000"}), read


def test_start_reload_and_stop_as_systemd_hears_them(manager):
    systemd, read = manager
    assert systemd.ready("2 doors, 10 clients")
    assert read() == ["READY=1", "STATUS=2 doors, 10 clients"]
    systemd.reloading()
    first, second = read()
    assert first == "RELOADING=1" and second.startswith("MONOTONIC_USEC=") and second[15:].isdecimal()
    systemd.ready("the reload failed: relay.yaml:3")
    assert read()[0] == "READY=1"
    systemd.stopping("draining")
    assert read() == ["STOPPING=1", "STATUS=draining"]


def test_a_status_cannot_smuggle_a_message(manager):
    systemd, read = manager
    systemd.status("bad\nSTOPPING=1")
    assert read() == ["STATUS=bad\\x0aSTOPPING=1"]


def test_outside_systemd_nothing_is_said():
    systemd = Systemd({})
    assert systemd.watchdog_interval is None
    assert not systemd.ready() and not systemd.alive() and not systemd.status("")


def test_a_manager_that_is_gone_harms_nothing(tmp_path):
    assert Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready() is False


def test_a_manager_that_does_not_read_does_not_block(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "full"))
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "full")})
        assert not all(systemd.alive() for _ in range(10_000))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_interval_is_read_if_meant_for_us(environ, expected):
    assert Systemd(environ).watchdog_interval == expected


def test_the_watchdog_is_fed_only_while_there_is_progress(manager):
    systemd, read = manager
    progress = True
    watchdog = Watchdog(systemd, lambda: progress, observe)
    with capture() as records:
        assert watchdog.beat() and read() == ["WATCHDOG=1"]
        progress = False
        assert not watchdog.beat() and not watchdog.beat()
        progress = True
        assert watchdog.beat() and read() == ["WATCHDOG=1"]
    assert [each["event"] for each in records] == ["stalled"]


async def test_the_watchdog_beats_at_half_the_interval(manager):
    systemd, read = manager
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Watchdog(systemd, lambda: True, observe, sleep).run()
    assert slept == [15.0] * 3
    assert [read() for _ in range(3)] == [["WATCHDOG=1"]] * 3


async def test_without_an_interval_the_watchdog_ends_at_once():
    await asyncio.wait_for(Watchdog(Systemd({}), lambda: True, observe).run(), 5)
