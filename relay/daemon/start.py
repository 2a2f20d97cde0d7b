"""Bringing up what can fail for a reason that an operator can mend: each failure a sentence and an exit code."""

import asyncio
import os

from relay.daemon.witness import Witness
from relay.ops.events import Event
from relay.ops.http import Http
from relay.ops.log import event_log
from relay.settings.settings import Settings
from relay.smtpd import Door, PostFault
from relay.spool.open import open_spool
from relay.spool.port import Spool, SpoolError
from relay.workers import Pool

OK, IO_ERROR, TRY_LATER, CONFIG_FAULT = 0, 74, 75, 78
"""Exit codes of sysexits(3)."""


class NotStarted(Exception):
    """Why the daemon cannot run, for a person, and the exit code."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code = code


async def open_the_spool(settings: Settings) -> Spool:
    """The spool of `settings`, locked for us. Raises NotStarted."""
    try:
        spool = await asyncio.to_thread(open_spool, settings.spool, ceiling=settings.retry.ceiling)
    except (SpoolError, ValueError) as error:
        raise NotStarted(TRY_LATER, str(error)) from error
    for notice in getattr(spool, "notices", ()):
        event_log(Event.MAIL_CORRUPT, text=notice)
    stats = await spool.stats()
    event_log(Event.SPOOL_OPENED, deliveries={state.value: number for state, number in stats.by_state.items()})
    return spool


async def start_workers(settings: Settings, witness: Witness) -> Pool:
    """The worker processes, their engine tested. Raises NotStarted."""
    check = settings.terms.check
    pool = Pool(check.workers, check.timeout, on_event=witness.worker)
    try:
        await pool.start()
    except OSError as error:
        raise NotStarted(TRY_LATER, f"no worker process can be started: {error.strerror or error}") from error
    witness.self_test(pool.self_test)
    return pool


async def listen(settings: Settings, door: Door, http: Http | None) -> None:
    """Open every port, SMTP and HTTP. Raises NotStarted."""
    try:
        await door.start()
        if http is not None:
            await http.start()
    except OSError as error:
        addresses = ", ".join(str(listener) for listener in settings.listen)
        why = os.strerror(error.errno) if error.errno else str(error)
        raise NotStarted(TRY_LATER, f"cannot listen ({addresses}; http {settings.http}): {why}") from error
    except PostFault as error:
        raise NotStarted(CONFIG_FAULT, str(error)) from error
