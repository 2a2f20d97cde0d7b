"""A spool that is not empty when the daemon starts."""

import asyncio
import os
import time
from collections.abc import Callable

from relay.model import Disposition, Plan
from relay.reasons import Reason
from relay.spool.open import open_spool
from tests.bench.contenders.ours import Ours
from tests.bench.load import proc, sender
from tests.bench.load.bench import Bench, Load, sending
from tests.bench.load.result import Result, percentile
from tests.bench.load.template import Template, token
from tests.support import spool_messages

AT_ONCE = 256
FRESH = 50
DRAIN_SECONDS = 20.0
TO = "00000000@agiris.example"


def held(many: int, mail: Template) -> Callable[[Ours], None]:
    """So many held messages, put in before the start."""
    waiting = spool_messages.plan(TO, disposition=Disposition.HOLD, reason=Reason.BY_OPERATOR, dossier="00000000")
    return lambda ours: fill(ours, many, mail, os.urandom(3).hex(), waiting)


def fill(ours: Ours, many: int, mail: Template, run: str, waiting: Plan) -> None:
    """Store `many` messages of `run` by the spool's own API."""

    async def store() -> None:
        spool = open_spool(f"sqlite://{ours.rig.database.resolve()}")
        for first in range(0, many, AT_ONCE):
            raws = (bytes(mail.mail(token(run, serial))) for serial in range(first, min(many, first + AT_ONCE)))
            mails = (spool_messages.mail(waiting, raw=raw, at=time.time()) for raw in raws)
            stored = await asyncio.gather(*map(spool.store, mails))
            assert not any(each.duplicate for each in stored)
        await spool.close()

    asyncio.run(store())


def drained(many: int, mail: Template, level: str) -> tuple[Result, float]:
    """Start on `many` queued messages; the result, and the seconds of the start.

    rate: of deliveries in at most DRAIN_SECONDS. Times: of FRESH messages that come meanwhile, which must overtake.
    """
    run = os.urandom(3).hex()
    with Bench() as bench:
        bench.begin(run, Load("a", (mail,), many + FRESH, 1), original=False)
        waiting = spool_messages.plan(TO, dossier="00000000")
        with Ours(bench.port, level, before=lambda ours: fill(ours, many, mail, run, waiting)) as ours:
            began, before = time.monotonic(), proc.tree((ours.rig.pid,))
            task = sender.Task(ours.rig.smtp, run, FRESH, 5, (mail,), rate=10.0, first=many)
            with sending(task) as senders:
                senders.go()
                sent = senders.report()
                load = Load("a", (mail,), many + FRESH, 1, idle=5)
                bench.wait_all(load, began + DRAIN_SECONDS)
                used = sum(proc.tree((ours.rig.pid,)).values()) - sum(before.values())
            peak, started = proc.peak(ours.rig.pid), ours.started_in
        found = bench.end()
    result = Result("ours", "a", 1, many, arrived=len(found.times), main=peak)
    result.doubled, result.damaged = found.doubled, len(found.damaged)
    result.missing = FRESH - len(sent.accepted)
    result.later, result.refused = dict(sent.later), dict(sent.refused)
    old = [at for serial, at in found.times.items() if serial < many]
    result.rate = len(old) / (max(old, default=began + DRAIN_SECONDS) - began)
    result.accept_rate = len(sent.accepted) / (FRESH / task.rate)
    accepted = [at - sent.began[serial] for serial, at in sent.accepted.items()]
    whole = [found.times[serial] - at for serial, at in sent.began.items() if serial in found.times]
    result.accept_p50, result.accept_p99 = percentile(accepted, 0.5), percentile(accepted, 0.99)
    result.whole_p50, result.whole_p99 = percentile(whole, 0.5), percentile(whole, 0.99)
    result.cpu = 1000 * used / max(1, result.arrived)
    return result, started
