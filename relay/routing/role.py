"""What a document is to the client, and which of the client's addresses it goes to.

By the client's identifiers in the invoice, never by direction: seller is a sale, buyer a purchase. Self-billed invoices
(389, 261, …) obey the same rule: the buyer wrote it, the seller still sells.

A party may bear several identifiers, and they may disagree (a member of a VAT group bears the group's VAT number, a
subsidiary the electronic address of its parent): its legal registration decides, then its other identifiers of rank 1,
then the rest. A party that bears none is nobody known; it is the client when nothing else is possible."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from fnmatch import fnmatchcase

from relay.inspection import Party, Report
from relay.mime.message import MimeMessage
from relay.model import Role
from relay.reasons import Reason
from relay.routing.directory import digits, folded_key
from relay.routing.policy import Addresses, Client, Kinds

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


FRENCH = frozenset({"FR", "MC", "BL", "GF", "GP", "MF", "MQ", "NC", "PF", "PM", "RE", "TF", "WF", "YT"})
"""Countries (ISO 3166) of which a company can have a SIREN as its only number."""

ELIMINATION = "elimination"
"""In place of an identifier: the other party is someone else, and this one bears no identifier."""


@dataclass(frozen=True, slots=True)
class KnownRole:
    """The client's role. by: the identifier that decides it ("BT-47 (0002)"), ELIMINATION, or "" where none was needed.

    other: the SIREN or VAT number of the other party where the role follows by elimination.
    """

    role: Role
    by: str = ""
    other: str = ""


@dataclass(frozen=True, slots=True)
class NoRole:
    """The client is no party of the invoice, or both, or it is not certain which."""

    reason: Reason
    detail: str


class _Standing(Enum):
    """What a party's identifiers say: the client, someone else, both at once, or nothing."""

    CLIENT = auto()
    OTHER = auto()
    BOTH = auto()
    NOBODY = auto()


def role_in(report: Report, client: Client, addressed: bool = False) -> KnownRole | NoRole:
    """The client's role in the invoice. UNKNOWN when the client's SIREN is not configured or the XML was not read.

    addressed: the client is known by the address or a header field of the message, not by the invoice itself.
    """
    siren = _siren(client)
    if not siren or _unread(report):
        return KnownRole(Role.UNKNOWN)
    seller, buyer = _standing(report.seller, siren), _standing(report.buyer, siren)
    if seller is buyer is _Standing.CLIENT:
        return _by_establishment(report, client) or NoRole(Reason.BOTH_PARTIES, siren)
    if seller is _Standing.CLIENT:
        return KnownRole(Role.SALE, _bearing(report.seller, siren))
    if buyer is _Standing.CLIENT:
        return KnownRole(Role.PURCHASE, _bearing(report.buyer, siren))
    if seller is buyer is _Standing.OTHER:
        return NoRole(Reason.WRONG_CLIENT, f"{_shown(report.seller)}, {_shown(report.buyer)} ≠ {siren}")
    if addressed and seller is _Standing.OTHER and _may_be_french(report.buyer, buyer):
        return KnownRole(Role.PURCHASE, ELIMINATION, _shown(report.seller))
    if addressed and buyer is _Standing.OTHER and _may_be_french(report.seller, seller):
        return KnownRole(Role.SALE, ELIMINATION, _shown(report.buyer))
    return NoRole(Reason.UNIDENTIFIED_PARTY, f"{_shown(report.seller)} → {_shown(report.buyer)}, SIREN {siren}")


def _siren(client: Client) -> str:
    return digits(client.siren) or digits(client.siret)[:9]


def _unread(report: Report) -> bool:
    return report.number is None and report.seller == Party() and report.buyer == Party()


def _standing(party: Party, siren: str) -> _Standing:
    ranks = {each.siren: each.rank for each in reversed(party.identifiers)}  # the surest of each counts
    sirens = party.sirens
    if not sirens:
        return _Standing.OTHER if _has_foreign_vat(party) else _Standing.NOBODY
    if siren not in sirens:
        return _Standing.OTHER
    best = min(ranks.values(), default=0)
    return _Standing.CLIENT if not ranks or ranks.get(siren, 1) <= best else _Standing.BOTH


def _has_foreign_vat(party: Party) -> bool:
    return bool(re.match("(?!FR)[A-Z]{2}", party.vat or ""))


def _may_be_french(party: Party, standing: _Standing) -> bool:
    """May this party, of which no identifier is known, be a client who has a SIREN?"""
    return standing is _Standing.NOBODY and (party.country or "FR") in FRENCH


def _bearing(party: Party, siren: str) -> str:
    return next((str(each) for each in party.identifiers if each.siren == siren), "SIREN")


def _shown(party: Party) -> str:
    """The identifiers of a party for a person of any language: never its name."""
    names = ["/".join(party.sirens), party.vat or "", party.country or "", "?"]
    return next(name for name in names if name)


def _by_establishment(report: Report, client: Client) -> KnownRole | None:
    """Two establishments of one company: the SIRET decides, if the client's is that of one party only."""
    siret = digits(client.siret)
    seller, buyer = (bool(siret) and digits(party.siret) == siret for party in (report.seller, report.buyer))
    if seller == buyer:
        return None
    return KnownRole(Role.SALE if seller else Role.PURCHASE, "SIRET")


def role_of_message(client: Client, recipients: Iterable[str], message: MimeMessage, kinds: Kinds) -> Role:
    """What all documents of the message without a Factur-X are, by its recipient, then by a header; else
    UNKNOWN."""
    if client.kinds:
        listed = {folded_key(address): role for address, role in client.kinds.items()}
        roles = {listed.get(folded_key(address)) for address in recipients} - {None}
        if len(roles) == 1:
            return roles.pop() or Role.UNKNOWN
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
