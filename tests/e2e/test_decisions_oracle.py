"""Random messages of many clients through the whole daemon, real documents, the real check: each address gets what it
must and nothing else, octet for octet. What must arrive is known from how each message is made.
"""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from tests.support.configured_stage import ConfiguredStage
from tests.support.decisions import terms
from tests.support.oracle import RULES, Made, clients, mail
from tests.support.real_mail import RealMail, real

SESSIONS = 4
SETTLED = {"delivered", "held", "withheld"}

Documents = Counter[tuple[str, str, str]]
"""(address, file name, sha256) -> how often."""


@pytest.mark.parametrize(
    ("firms", "number_of", "mails", "seconds"),
    [
        pytest.param(5, 25, 200, 120, id="25 clients, 200 mails"),
        pytest.param(25, 500, 2000, 900, id="500 clients, 2000 mails", marks=pytest.mark.slow),
    ],
)
async def test_each_address_receives_what_it_must_and_nothing_else(
    firms: int, number_of: int, mails: int, seconds: float, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if mails > 200 and "slow" not in request.config.getoption("-m"):
        pytest.skip("the long form: run with -m slow")
    chance = random.Random(2026)
    everyone = clients(chance, firms, number_of)
    made = [mail(number, chance, everyone) for number in range(mails)]
    sent = [real(number, each.row["mail"]) for number, each in enumerate(made)]
    wanted = expected(made, sent)
    receiver = Receiver()
    await receiver.start()
    stage = ConfiguredStage(tmp_path, receiver.port)
    stage.take(replace(terms(RULES), clients={client.key: client for client in everyone}))
    try:
        assert await stage.start(), stage.log.read_text("utf-8")
        await hand_over(stage, sent)
        relayed = sum(bool(each.expected) for each in made)
        assert await receiver.wait(relayed, seconds)
        await stage.logged("delivered", seconds, times=relayed)  # the next hop has them before the spool knows it
        states = Counter(
            line["state"] for line in await stage.command("queue", "list", "--all", "--limit", str(10 * mails))
        )
    finally:
        code = await stage.stop()
        await receiver.close()
    came = Counter(
        (each.recipient, name, digest) for each in receiver.arrivals for digest, name in each.documents().items()
    )
    assert came - wanted == Counter(), "extra, or at a wrong address"
    assert wanted - came == Counter(), "missing"
    assert set(states) <= SETTLED
    assert states["delivered"] == len(receiver.arrivals)
    assert code == 0


def expected(made: list[Made], sent: list[RealMail]) -> Documents:
    return Counter(
        (address, name, mail.documents[name])
        for each, mail in zip(made, sent, strict=True)
        for address, name in each.expected
    )


async def hand_over(stage: ConfiguredStage, sent: list[RealMail]) -> None:
    """All messages in some sessions at once; each must be taken."""
    batches = [[(each.recipients, each.raw) for each in sent[start::SESSIONS]] for start in range(SESSIONS)]
    replies = await asyncio.gather(*(asyncio.to_thread(stage.submit_all, batch) for batch in batches))
    refused = [reply for batch in replies for reply in batch if reply.code != 250]
    assert not refused, refused[:3]
