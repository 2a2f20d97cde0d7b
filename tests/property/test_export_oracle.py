"""500 clients of 25 firms, 2,000 random mails: what must arrive where is known from how each mail was made.

The oracle never asks the code under test: each mail is made to have one right answer, and what leaves is compared with
it document for document. Missing 0, extra 0, wrong address 0.
"""

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from relay.export.directory import Directory
from relay.export.policy import decide
from relay.export.terms import Addresses, Client
from relay.model import Action, Disposition
from relay.report import Party
from tests.support import decisions
from tests.support.decisions import RECEIVED, setting, terms

FIRMS, CLIENTS, MAILS = 25, 500, 2000


@dataclass(frozen=True)
class Made:
    """A mail's row, and what must leave: (address, file name) pairs."""

    row: dict[str, Any]
    expected: frozenset[tuple[str, str]]


def clients(chance: random.Random) -> list[Client]:
    made = []
    for number in range(CLIENTS):
        name = f"c{number}"
        one = f"{name}@agiris.example"
        kinds = Addresses(f"a.{one}", f"v.{one}", chance.choice([None, f"n.{one}"]), f"r.{one}")
        client = Client(
            f"firm{number % FIRMS}",
            str(number // FIRMS if chance.random() < 0.5 else 1000 + number),
            siren=f"{100_000_000 + number}",
            share_with_firm=chance.random() > 0.05,
            transmit_documents=chance.random() > 0.05,
            original_pdf=chance.random() < 0.5,
            addresses=chance.choice([Addresses(one, one, one, one), kinds]),
            recipients=(f"{name}@export.test",),
        )
        made.append(client)
    return made


def mail(number: int, chance: random.Random, everyone: list[Client]) -> Made:
    client = chance.choice(everyone)
    seller, type_code = chance.random() < 0.5, chance.choice(["380", "380", "381", "389"])
    mine, theirs = f"siren:{client.siren}", chance.choice(["stranger", "foreign"])
    invoice = {
        "name": f"{number}-f.pdf",
        "number": f"N-{number}",
        "type": type_code,
        "seller": mine if seller else theirs,
        "buyer": theirs if seller else mine,
    }
    parts: list[dict[str, Any]] = [{"facturx": invoice}]
    names = {invoice["name"]}
    what = chance.choice(["alone", "pair", "pair", "copy", "annex", "wrong", "stranger", "statement"])
    if what == "pair":
        parts.insert(chance.randrange(2), {"pdf": {"name": f"{number}-o.pdf", "mentions": [f"N-{number}"]}})
        names |= {f"{number}-o.pdf"} if client.original_pdf else set()
    if what == "copy":
        parts.append({"facturx": {**invoice, "name": f"{number}-o.pdf"}})
        names |= {f"{number}-o.pdf"} if client.original_pdf else set()
    if what == "annex":
        parts.append({"pdf": {"name": f"{number}-annex.pdf"}})
        names.add(f"{number}-annex.pdf")
    if what == "wrong":
        other = chance.choice([each for each in everyone if each is not client])
        invoice |= {"seller": f"siren:{other.siren}", "buyer": "stranger"}
    if what == "stranger":
        invoice |= {"seller": "stranger", "buyer": "other-stranger"}
    if what == "statement":
        parts, names = [{"pdf": {"name": f"{number}-releve.pdf"}}], {f"{number}-releve.pdf"}
    row = {
        "mail": {"parts": parts, **_addressed(client, chance, by_siren=what not in ("wrong", "stranger", "statement"))}
    }
    silent = what in ("wrong", "stranger") or not (client.share_with_firm and client.transmit_documents)
    to = client.addresses.statements if what == "statement" else _address(client, seller, type_code)
    return Made(row, frozenset() if silent else frozenset((str(to), name) for name in names))


def _addressed(client: Client, chance: random.Random, by_siren: bool) -> dict[str, Any]:
    """To the client's address, with or without a tag, by the header, or (where it can) by the SIREN alone."""
    way = chance.choice(["recipient", "tag", "firm", "header", *(["siren"] if by_siren else [])])
    if way == "recipient":
        return {"to": [client.recipients[0].upper() if chance.random() < 0.2 else client.recipients[0]]}
    if way == "tag":
        return {"to": [client.recipients[0].replace("@", f"+{client.dossier}@")]}
    if way == "firm":
        return {"to": [f"{client.firm}+{client.dossier}@export.test"]}
    header = {"X-Dossier": client.key} if way == "header" else {}
    return {"to": ["box@export.test"], "headers": header}


def _address(client: Client, seller: bool, type_code: str) -> str | None:
    own = client.addresses
    return (own.credit_notes if type_code == "381" else None) or (own.sales if seller else own.purchases)


def test_each_address_receives_what_it_must_and_nothing_else() -> None:
    chance = random.Random(2026)
    everyone = list({client.key: client for client in clients(chance)}.values())
    parties = {f"siren:{client.siren}": Party(client.key, siren=client.siren) for client in everyone}
    rules = {"kinds": {"statement_names": ["*-releve.pdf"]}}
    directory = Directory(replace(terms(rules), clients={client.key: client for client in everyone}))
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
