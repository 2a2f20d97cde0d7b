"""Logs what operators order by `agiris-relay queue` and `spool`: those are processes of their own, with no log."""

import asyncio

from relay.daemon.witness import Witness
from relay.ops.events import Event
from relay.ops.log import event_log
from relay.spool.port import Spool, SpoolError

POLL_SECONDS = 1.0
RETRY_SECONDS = 60.0


async def log_operator_actions(spool: Spool, witness: Witness) -> None:
    """Log each action of an operator once, oldest first, those given while no daemon ran too; until cancelled."""
    while True:
        try:
            await log_new_actions(spool, witness)
        except SpoolError as error:
            event_log(Event.FAULT, where="operator actions", exception=error)
            await asyncio.sleep(RETRY_SECONDS)
        await asyncio.sleep(POLL_SECONDS)


async def log_new_actions(spool: Spool, witness: Witness) -> None:
    """Log what is not logged yet. Raises SpoolError.

    Only what is in the log is struck off: a crash between the two logs a line twice, and loses none.
    """
    while found := await spool.operator_actions():
        for each in found:
            witness.operator_acted(each.queue_id, each.event)
        await spool.operator_actions_logged([each.id for each in found])
