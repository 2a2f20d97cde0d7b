"""What a document is to the client, and which of the client's addresses it goes to.

By the client's SIREN in the invoice, never by direction (DESIGN §7): seller (BT-30) is a sale, buyer (BT-47) a
purchase. Self-billed invoices (389, 261, …) obey the same rule: the buyer wrote it, the seller still sells.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from relay.export.directory import digits, folded_key
from relay.export.terms import Addresses, Client, Kinds
from relay.mail.message import Message
from relay.model import Role
from relay.reason import Reason
from relay.report import Party, Report

CREDIT_NOTES = frozenset({"381", "261", "262", "396", "502", "503"})
SELF_BILLED = frozenset({"389", "261", "471", "473", "500", "501", "502"})

WORDS = {
    "purchase": Role.PURCHASE,
    "purchases": Role.PURCHASE,
    "achat": Role.PURCHASE,
    "achats": Role.PURCHASE,
    "sale": Role.SALE,
    "sales": Role.SALE,
    "vente": Role.SALE,
    "ventes": Role.SALE,
    "statement": Role.STATEMENT,
    "statements": Role.STATEMENT,
    "releve": Role.STATEMENT,
    "releves": Role.STATEMENT,
}


@dataclass(frozen=True, slots=True)
class NoRole:
    """The client is no party of the invoice, or both."""

    reason: Reason
    detail: str


def role_in(report: Report, client: Client) -> Role | NoRole:
    """The client's role in the invoice. UNKNOWN when the client's SIREN is not configured or the XML was not read."""
    siren = digits(client.siren) or digits(client.siret)[:9]
    if not siren or _unread(report):
        return Role.UNKNOWN
    seller, buyer = _is(report.seller, siren), _is(report.buyer, siren)
    if seller and buyer:
        return _by_establishment(report, client) or NoRole(Reason.BOTH_PARTIES, siren)
    if seller:
        return Role.SALE
    if buyer:
        return Role.PURCHASE
    parties = [digits(party.siren) or party.country or "?" for party in (report.seller, report.buyer)]
    return NoRole(Reason.WRONG_CLIENT, f"{parties[0]}, {parties[1]} ≠ {siren}")


def _unread(report: Report) -> bool:
    return report.number is None and report.seller == Party() and report.buyer == Party()


def _is(party: Party, siren: str) -> bool:
    return siren in (digits(party.siren), digits(party.siret)[:9])


def _by_establishment(report: Report, client: Client) -> Role | None:
    """Two establishments of one company: the SIRET tells, if the client's is that of one party only."""
    siret = digits(client.siret)
    seller, buyer = (bool(siret) and digits(party.siret) == siret for party in (report.seller, report.buyer))
    if seller == buyer:
        return None
    return Role.SALE if seller else Role.PURCHASE


def role_of_mail(client: Client, recipients: Iterable[str], message: Message, kinds: Kinds) -> Role:
    """What all documents of the mail without a Factur-X are, told by its recipient, then by a header; else UNKNOWN."""
    if client.kinds:
        listed = {folded_key(address): role for address, role in client.kinds.items()}
        found = {listed.get(folded_key(address)) for address in recipients} - {None}
        if len(found) == 1:
            return found.pop() or Role.UNKNOWN
    if not kinds.header:
        return Role.UNKNOWN
    return WORDS.get(_plain(message.root.first(kinds.header) or ""), Role.UNKNOWN)


def is_statement(name: str, kinds: Kinds) -> bool:
    """Is a file of this name a bank statement?"""
    return any(fnmatchcase(_plain(name), _plain(pattern)) for pattern in kinds.statement_names)


def _plain(text: str) -> str:
    """Without case, accents and outer space."""
    letters = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(each for each in letters if not unicodedata.combining(each))


@dataclass(frozen=True, slots=True)
class Address:
    """Where a document goes: `to`, or None and the reason. `kind`: the key of `agiris_address` that was used."""

    to: str | None
    kind: str
    fallback: bool = False
    reason: Reason | None = None


def address_for(addresses: Addresses, role: Role, credit_note: bool = False) -> Address:
    """The client's address for this role. A credit note without its own address goes with purchases or sales, a
    statement to the only address there is.

    A document of unknown role goes only where nothing can go wrong: when all the addresses given are one and the same.
    """
    if credit_note and role in (Role.SALE, Role.PURCHASE) and addresses.credit_notes:
        return Address(addresses.credit_notes, "credit_notes")
    if role is Role.UNKNOWN:
        return _only(addresses)
    match role:
        case Role.SALE:
            kind, to = "sales", addresses.sales
        case Role.PURCHASE:
            kind, to = "purchases", addresses.purchases
        case Role.STATEMENT:
            kind, to = "statements", addresses.statements
    if to:
        return Address(to, kind, fallback=credit_note)
    if role is Role.STATEMENT and (only := _only(addresses)).to:
        return Address(only.to, kind, fallback=True)
    return Address(None, kind, fallback=credit_note, reason=Reason.NO_ADDRESS)


def _only(addresses: Addresses) -> Address:
    given = (addresses.purchases, addresses.sales, addresses.credit_notes, addresses.statements)
    distinct = {each for each in given if each}
    if len(distinct) == 1:
        return Address(distinct.pop(), "any")
    return Address(None, "any", reason=Reason.UNKNOWN_KIND if distinct else Reason.NO_ADDRESS)
