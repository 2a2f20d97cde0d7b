"""The digest from the real daemon: once, also after a restart."""

import time
from collections.abc import Callable

from relay.demo.receiver import Receiver
from relay.demo.stage import CHECK_YAML, Stage
from relay.model import Disposition
from relay.reasons import Reason
from relay.spool.open import open_spool
from tests.support.spool_messages import mail, plan


async def seed(stage: Stage) -> None:
    """A message of two days ago: before a firm's first message there is no digest."""
    spool = open_spool(f"sqlite://{stage.folder.resolve()}/spool.db")
    withheld = plan(disposition=Disposition.WITHHOLD, reason=Reason.NOT_SHARED, firm="cabinet-demo", dossier="00012345")
    await spool.store(mail(withheld, at=time.time() - 48 * 3600))
    await spool.close()


async def test_the_operator_gets_one_digest_whatever_restarts(stages: Callable[..., Stage], receiver: Receiver) -> None:
    stage = stages(receiver.port, more=CHECK_YAML + "digest: daily\nlanguage: fr\n")
    await seed(stage)
    assert await stage.start(), stage.log.read_text(encoding="utf-8")
    assert await receiver.wait(1, 60)
    (arrived,) = receiver.arrivals
    assert arrived.recipient == "exploitation@cabinet.example"
    assert arrived.sender in ("", "<>")  # the null sender, as aiosmtpd writes it
    kinds = [part.get_content_type() for part in arrived.message.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "text/html"]
    await stage.logged("delivered")
    assert await stage.stop() == 0
    assert await stage.start()
    assert await stage.stop() == 0
    assert len(receiver.arrivals) == 1
