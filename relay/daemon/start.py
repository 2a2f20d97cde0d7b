"""Bringing up what can fail for a reason that an operator can fix: each failure a sentence and an exit code."""

import asyncio
import errno
import os

from relay.checker import CheckerPool
from relay.observability.events import MessageCorrupt, Observe, SelfTested, SpoolOpened
from relay.observability.http import Http
from relay.observability.systemd import denied
from relay.settings.settings import Settings
from relay.smtpd import BindError, ListenerConfigError, SmtpServer
from relay.spool.open import open_spool
from relay.spool.port import Spool, SpoolError, SpoolNewer

SELF_TEST_PAUSE = 15.0
"""Seconds between two self-tests while the engine has not passed one."""

OK, IO_ERROR, TRY_LATER, CONFIG_FAULT = 0, 74, 75, 78
"""Exit codes of sysexits(3)."""


class StartError(Exception):
    """Why the daemon cannot run, for a person, and the exit code."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code = code


async def open_the_spool(settings: Settings, observe: Observe) -> Spool:
    """The spool of `settings`, locked for us. Raises StartError."""
    try:
        spool = await asyncio.to_thread(open_spool, settings.spool, ceiling=settings.retry.ceiling)
    except SpoolNewer as error:
        raise StartError(CONFIG_FAULT, str(error)) from error
    except (SpoolError, ValueError) as error:
        if isinstance(error.__cause__, PermissionError):
            raise StartError(TRY_LATER, f"{error}: {denied(str(error.__cause__.filename))}") from error
        raise StartError(TRY_LATER, str(error)) from error
    for notice in getattr(spool, "notices", ()):
        observe(MessageCorrupt(notice))
    stats = await spool.stats()
    observe(SpoolOpened({state.value: number for state, number in stats.by_state.items()}))
    return spool


async def start_workers(settings: Settings, observe: Observe) -> CheckerPool:
    """The worker processes, their engine tested. Raises StartError."""
    check = settings.terms.check
    pool = CheckerPool(check.workers, check.timeout, observe)
    try:
        await pool.start()
    except OSError as error:
        raise StartError(TRY_LATER, f"no worker process can be started: {error.strerror or error}") from error
    observe(SelfTested(pool.self_test))
    return pool


async def repeat_self_test(pool: CheckerPool, observe: Observe, pause: float = SELF_TEST_PAUSE) -> None:
    """Test the engine every `pause` seconds until it passes: one slow start must not leave the daemon unready."""
    while pool.self_test is not None:
        await asyncio.sleep(pause)
        observe(SelfTested(await pool.run_self_test()))


async def listen(settings: Settings, smtp_server: SmtpServer, http: Http | None) -> None:
    """Open every port, HTTP first: no message is accepted by a daemon that cannot start. Raises StartError."""
    try:
        if http is not None:
            await http.start()
        await smtp_server.start()
    except BindError as error:
        raise StartError(TRY_LATER, _not_bound("listen", str(error.listener), error)) from error
    except OSError as error:
        assert settings.http is not None
        raise StartError(TRY_LATER, _not_bound("http", str(settings.http), error)) from error
    except ListenerConfigError as error:
        raise StartError(CONFIG_FAULT, *error.faults) from error


def _not_bound(key: str, address: str, error: OSError) -> str:
    """The address that cannot be had, why, and how to fix it. key: of relay.yaml."""
    port = address.rpartition(":")[2]
    fixes = {
        errno.EADDRINUSE: f"stop what holds the port (ss -ltnp 'sport = :{port}' shows it), or change",
        errno.EACCES: "grant CAP_NET_BIND_SERVICE (systemd/port-25.conf), or change",
        errno.EADDRNOTAVAIL: "this machine has no such address: change",
    }
    number = error.errno or 0
    why = os.strerror(number) if number in errno.errorcode else str(error.strerror or error)
    fix = fixes.get(number, "change")
    return f"cannot listen on {address}: {why}. Fix: {fix} {key} in relay.yaml"
