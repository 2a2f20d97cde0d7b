"""Random clients and messages whose right outcome is known from how they are made, never from the code under test."""

import random
from dataclasses import dataclass
from typing import Any

from relay.routing.policy import Addresses, Client
from tests.support.many_clients import siren

RULES = {"kinds": {"statement_names": ["*-releve.pdf"]}}


@dataclass(frozen=True)
class Made:
    """A message's row, and what must leave: (address, file name) pairs."""

    row: dict[str, Any]
    expected: frozenset[tuple[str, str]]


def clients(chance: random.Random, firms: int, number_of: int) -> list[Client]:
    """Clients of all habits: switches on and off, one address or several."""
    made = []
    for number in range(number_of):
        name = f"c{number}"
        one = f"{name}@agiris.example"
        kinds = Addresses(f"a.{one}", f"v.{one}", chance.choice([None, f"n.{one}"]), f"r.{one}")
        client = Client(
            f"firm{number % firms}",
            str(number // firms if chance.random() < 0.5 else 1000 + number),
            siren=siren(1_000_000 + number),
            share_with_firm=chance.random() > 0.05,
            transmit_documents=chance.random() > 0.05,
            original_pdf=chance.random() < 0.5,
            addresses=chance.choice([Addresses(one, one, one, one), kinds]),
            recipients=(f"{name}@export.test",),
        )
        made.append(client)
    return made


def mail(number: int, chance: random.Random, everyone: list[Client]) -> Made:
    """The `number`-th mail, in the words of the decision table."""
    client = chance.choice(everyone)
    seller, type_code = chance.random() < 0.5, chance.choice(["380", "380", "381", "389"])
    mine, theirs = f"siren:{client.siren}", chance.choice(["stranger", "foreign"])
    invoice = {
        "name": f"{number}-f.pdf",
        "number": f"FA-2026-{number:04d}",
        "type": type_code,
        "seller": mine if seller else theirs,
        "buyer": theirs if seller else mine,
    }
    parts: list[dict[str, Any]] = [{"facturx": invoice}]
    names = {invoice["name"]}
    what = chance.choice(["alone", "pair", "pair", "copy", "annex", "wrong", "stranger", "statement"])
    if what == "pair":
        parts.insert(chance.randrange(2), {"pdf": {"name": f"{number}-o.pdf", "mentions": [f"FA-2026-{number:04d}"]}})
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
