"""What operators ordered, in the daemon's log."""

import asyncio

from relay.observability.events import InternalError, Observe, OperatorActed
from relay.spool.port import Spool, SpoolError

POLL_SECONDS = 1.0
RETRY_SECONDS = 60.0


async def log_operator_actions(spool: Spool, observe: Observe) -> None:
    """Log each action of an operator once, oldest first, those given while no daemon ran too; until cancelled."""
    while True:
        try:
            await log_new_actions(spool, observe)
        except SpoolError as error:
            observe(InternalError("operator actions", error))
            await asyncio.sleep(RETRY_SECONDS)
        await asyncio.sleep(POLL_SECONDS)


async def log_new_actions(spool: Spool, observe: Observe) -> None:
    """Log what is not logged yet. Raises SpoolError.

    Only what is in the log is struck off: a crash between the two logs a line twice, and loses none.
    """
    while actions := await spool.operator_actions():
        for action in actions:
            observe(OperatorActed(action.queue_id, action.event))
        await spool.operator_actions_logged([action.id for action in actions])
