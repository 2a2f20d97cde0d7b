"""The service's side of systemd: sd_notify(3), the watchdog, the user the service runs as."""

import asyncio
import errno
import grp
import os
import pwd
import shlex
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from relay.observability.events import Observe, Stalled
from relay.observability.privacy import escape


class Systemd:
    """Notifications to the service manager. Each returns whether it was handed over; a failure harms nothing."""

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

    When it is not, nothing is sent: systemd kills and restarts the service (WatchdogSec=), the spool keeps the
    messages.
    """

    def __init__(
        self,
        systemd: Systemd,
        progress: Callable[[], bool],
        observe: Observe,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._systemd, self._progress, self._observe, self._sleep = systemd, progress, observe, sleep
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
            self._observe(Stalled("the watchdog is not fed; systemd will restart the service"))
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


SERVICE_USER = "agiris-relay"
"""`User=` of the unit."""

DENIED = os.strerror(errno.EACCES)
"""How a fault of the configuration says that a file is closed to the user who reads it."""


def current_user() -> str:
    """Name of the user whose permissions are in force, or the number when it has no name."""
    return _name(os.geteuid())


def assumed_user(wanted: str | None) -> str:
    """As whom `config check` reads: `wanted`; for root the service's user if there is one; else the current user."""
    if wanted is not None:
        return wanted
    return SERVICE_USER if os.geteuid() == 0 and _exists(SERVICE_USER) else current_user()


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Have the permissions of user `name` for a while. Raises LookupError, and PermissionError unless root."""
    if name == current_user():
        yield
        return
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise LookupError(f"there is no user {name} on this machine") from None
    groups, group, uid = os.getgroups(), os.getegid(), os.geteuid()
    os.setgroups(sorted({user.pw_gid, *(entry.gr_gid for entry in grp.getgrall() if name in entry.gr_mem)}))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(group)
        os.setgroups(groups)


def denied(path: str | Path) -> str:
    """For the current user who may not use `path`: who owns it, and the command that works."""
    owner = owner_of(Path(path))
    what = f"permission denied for user {current_user()}: {path}"
    if owner == current_user():
        return f"{what}. Fix: give {owner} the right to it with chmod or chown, and to enter its folder"
    command = f"sudo runuser -u {owner} -- {shlex.join(['agiris-relay', *sys.argv[1:]])}"
    return f"{what} (it belongs to user {owner}). Fix: {command}"


def denied_configuration(faults: Iterable[str], path: Path) -> str | None:
    """What to add to `faults` of the configuration at `path` when they come of another user's files; else None."""
    if not any(DENIED in fault for fault in faults) or owner_of(path) == current_user():
        return None
    return denied(path)


def owner_of(path: Path) -> str:
    """The owner of `path`, or of the nearest folder above it that can be seen; for root's the service's user."""
    for folder in (path.absolute(), *path.absolute().parents):
        try:
            uid = folder.stat().st_uid
        except OSError:
            continue
        return SERVICE_USER if uid == 0 and _exists(SERVICE_USER) else _name(uid)
    return SERVICE_USER


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
