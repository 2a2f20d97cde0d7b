"""The service's side of systemd: sd_notify(3) and the watchdog, without a library.

Debian 12 has systemd 252: no Type=notify-reload, so RELOADING=1 is answered by READY=1 (sd_notify(3)).
Outside systemd (no NOTIFY_SOCKET) everything here does nothing.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping

from relay.ops.events import Event
from relay.ops.log import event_log
from relay.ops.privacy import escape


class Systemd:
    """What the service manager is told. Each message answers whether it was handed over; a failure harms nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_interval = _watchdog_interval(environ)

    def ready(self, status: str = "") -> bool:
        """READY=1: started, or done with reloading."""
        return self._send("READY=1", *_status(status))

    def reloading(self, status: str = "") -> bool:
        """RELOADING=1; must be followed by `ready`, whether or not the reload succeeded."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", *_status(status))

    def stopping(self, status: str = "") -> bool:
        return self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> bool:
        """The line `systemctl status` shows."""
        return self._send(*_status(text))

    def extend(self, seconds: float) -> bool:
        """Start or stop takes up to `seconds` more (EXTEND_TIMEOUT_USEC)."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def alive(self) -> bool:
        return self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> bool:
        if not self._address or not lines:
            return False
        # "@name" is the abstract namespace, whose names begin with NUL (unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)  # a manager that does not read must not stop the event loop
                channel.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False
        return True


class Watchdog:
    """Pings systemd at half the interval it asks for, but only while `progress()` is true.

    When it is not, nothing is sent: systemd kills and restarts the service (WatchdogSec=), the spool keeps the mails.
    """

    def __init__(
        self,
        systemd: Systemd,
        progress: Callable[[], bool],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._systemd, self._progress, self._sleep = systemd, progress, sleep
        self._stalled = False

    async def run(self) -> None:
        """Ping until cancelled. Returns at once when systemd asked for no watchdog."""
        interval = self._systemd.watchdog_interval
        if interval is None:
            return
        while True:
            self.beat()
            await self._sleep(interval / 2)

    def beat(self) -> bool:
        """One ping, if there is progress; whether it was sent. The first stall in a row is logged."""
        if self._progress():
            self._stalled = False
            return self._systemd.alive()
        if not self._stalled:
            self._stalled = True
            event_log(Event.STALLED, text="the watchdog is not fed; systemd will restart the service")
        return False


def _status(text: str) -> tuple[str, ...]:
    # A line break in it would be another message.
    return (f"STATUS={escape(text)}",) if text else ()


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Seconds, of WATCHDOG_USEC, if it is meant for this process (sd_watchdog_enabled(3))."""
    micros, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not micros.isdecimal() or int(micros) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(micros) / 1_000_000
