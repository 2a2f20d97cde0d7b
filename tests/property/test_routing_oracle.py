"""500 clients of 25 firms, 2,000 random messages: what must arrive where is known from how each message was made.

The oracle never asks the code under test: each message is made to have one right answer, and what leaves is compared to
it document for document. Missing 0, extra 0, wrong address 0. Through the daemon: tests/e2e/test_decisions_oracle.py.
"""

import random
from collections import Counter
from dataclasses import replace

from relay.inspection import Party
from relay.model import Action, Disposition
from relay.routing.decision import decide
from relay.routing.directory import Directory
from tests.support import decisions
from tests.support.decisions import RECEIVED, setting, terms
from tests.support.oracle import RULES, Made, clients, mail

FIRMS, CLIENTS, MAILS = 25, 500, 2000


def test_each_address_receives_what_it_must_and_nothing_else() -> None:
    chance = random.Random(2026)
    everyone = list({client.key: client for client in clients(chance, FIRMS, CLIENTS)}.values())
    parties = {f"siren:{client.siren}": Party(client.key, siren=client.siren) for client in everyone}
    directory = Directory(replace(terms(RULES), clients={client.key: client for client in everyone}))
    known = dict(decisions.PARTIES)
    decisions.PARTIES.update(parties)
    try:
        wanted: Counter[tuple[str, str]] = Counter()
        left: Counter[tuple[str, str]] = Counter()
        for number in range(MAILS):
            made = mail(number, chance, everyone)
            wanted.update(made.expected)
            left.update(_left(made, directory))
    finally:
        decisions.PARTIES.clear()
        decisions.PARTIES.update(known)
    assert sum(wanted.values()) > MAILS // 2
    assert left - wanted == Counter()
    assert wanted - left == Counter()


def _left(made: Made, directory: Directory) -> list[tuple[str, str]]:
    case = setting(made.row)
    decision = decide(
        case.envelope, case.message, case.reports, directory, queue_id="Q", arrived=0.0, received=RECEIVED
    )
    assert decision.plans and decision.refusal is None
    return [
        (plan.to[0], document.filename)
        for plan in decision.plans
        if plan.disposition is Disposition.RELAY
        for document in plan.documents
        if document.action is Action.KEEP
    ]
