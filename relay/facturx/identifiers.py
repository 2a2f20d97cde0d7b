"""The identifiers of a party: which SIREN one of them names, by its place in the invoice and its scheme (ISO 6523 ICD,
UNTDID 1153), and their check digits.

Spaces are removed by the caller. Pure, and total: what names no SIREN is None, never an exception.
"""

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from stdnum import iban, luhn
from stdnum.fr import siren as siren_number
from stdnum.fr import siret as siret_number
from stdnum.fr import tva

from relay.inspection import Finding, Identifier, Party, Severity

_DIGITS = re.compile(r"([0-9]{9})(?:[0-9]{5})?")
_VAT = re.compile(r"FR[0-9A-Z]{2}([0-9]{9})")
_VAT_WITHOUT_COUNTRY = re.compile(r"[0-9]{2}([0-9]{9})")
_LA_POSTE = "356000000"  # its establishments have no Luhn key

# The clients and their suppliers come again and again.
_siren_holds, _siret_holds, _vat_holds, _iban_holds = (
    lru_cache(4096)(number.is_valid) for number in (siren_number, siret_number, tva, iban)
)


def load() -> None:
    """Import the modules that the check of an IBAN imports for some countries. Raises ImportError."""
    for path in Path(iban.__file__).parent.glob("*/iban.py"):
        importlib.import_module(f"stdnum.{path.parent.name}.iban")


_OF_DIGITS = frozenset({"0002", "0009", "0225", "0231", "SIREN", "SIRET", "FR:SIRENE", "FR:SIREN", "FR:SIRET"})
"""SIREN, SIRET, French electronic address, single taxable company; the codes before ISO 6523 were of the same form."""

_OF_VAT = frozenset({"9957", "FR:VAT"})
_GROUP = "0231"  # the SIREN of a VAT group, not of its member


class Place(NamedTuple):
    """Where identifiers of a party stand.

    term: business term of EN 16931 ("BT-30"). rank: 0 names the company itself, 1 identifies it, 2 is where its
    messages or taxes go, which may be a parent company's.
    """

    term: str
    rank: int


class Places(NamedTuple):
    """The places of one party. tax: BT-32 of the seller; the buyer has none."""

    registration: Place
    identifier: Place
    vat: Place
    address: Place
    tax: Place


SELLER = Places(Place("BT-30", 0), Place("BT-29", 1), Place("BT-31", 2), Place("BT-34", 2), Place("BT-32", 2))
BUYER = Places(Place("BT-47", 0), Place("BT-46", 1), Place("BT-48", 2), Place("BT-49", 2), Place("FC", 2))

Pairs = Sequence[tuple[str, str]]
"""(scheme, value) as written, values without spaces."""


def identifiers(
    places: Places, *, registrations: Pairs, others: Pairs, taxes: Pairs, addresses: Pairs
) -> tuple[Identifier, ...]:
    """All that name a SIREN, the surest first. taxes: scheme VA or VAT for a VAT number, else a local tax number."""
    known = list[Identifier]()
    _add(known, places.registration, registrations, _registered)
    _add(known, places.identifier, others, _identified)
    _add(known, places.vat, [pair for pair in taxes if _is_vat(pair[0])], _taxed)
    _add(known, places.address, addresses, siren_of)
    _add(known, places.tax, [pair for pair in taxes if not _is_vat(pair[0])], _taxed)
    if len(known) > 1:
        known.sort(key=lambda identifier: identifier.rank)
    return tuple(dict.fromkeys(known))


def siren_of(scheme: str, value: str) -> str | None:
    """The SIREN that an identifier of a known scheme names. An electronic address may have a suffix after `_`."""
    scheme = scheme.upper()
    if scheme in _OF_VAT:
        return _vat(value)
    match = _DIGITS.fullmatch(value.partition("_")[0]) if scheme in _OF_DIGITS else None
    return match.group(1) if match else None


def sirets(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The SIRETs among identifiers of a party: of 14 digits, or the second part of an electronic address."""
    return [
        part
        for scheme, value in pairs
        if (siren := siren_of(scheme, value) or _registered(scheme, value)) is not None
        for part in value.split("_")[:2]
        if _DIGITS.fullmatch(part) and len(part) == 14 and part.startswith(siren)
    ]


def _add(known: list[Identifier], place: Place, pairs: Pairs, read_siren: Callable[[str, str], str | None]) -> None:
    """Those of one place that name a SIREN, to `known`."""
    for scheme, value in pairs:
        siren = read_siren(scheme, value)
        if siren is not None:
            rank = 2 if scheme in (_GROUP, "0225") else place.rank
            known.append(Identifier(siren, place.term, scheme, rank))


def _registered(scheme: str, value: str) -> str | None:
    """A legal registration without a scheme is a SIREN, or a SIRET, if it has its key."""
    if scheme:
        return siren_of(scheme, value)
    match = _DIGITS.fullmatch(value)
    return match.group(1) if match and luhn.is_valid(match.group(1)) else None


def _identified(scheme: str, value: str) -> str | None:
    """An identifier without a scheme may be anything the seller likes, unless it is a whole SIRET with both keys."""
    if scheme:
        return siren_of(scheme, value)
    whole = len(value) == 14 and (siret_number.is_valid(value) or value.startswith(_LA_POSTE))
    return _registered(scheme, value) if whole else None


def _taxed(scheme: str, value: str) -> str | None:
    """A VAT number, as written or without FR if its key is right; a local tax number may be a SIREN or SIRET."""
    if (siren := _vat(value)) is not None:
        return siren
    if not _is_vat(scheme):
        return _registered("", value)
    bare = _VAT_WITHOUT_COUNTRY.fullmatch(value)
    return bare.group(1) if bare and tva.is_valid(value) and luhn.is_valid(bare.group(1)) else None


def _vat(value: str) -> str | None:
    match = _VAT.fullmatch(value.upper())
    return match.group(1) if match else None


def _is_vat(scheme: str) -> bool:
    return scheme.upper() in ("VA", "VAT")


def check_digits(seller: Party, buyer: Party, ibans: Iterable[str]) -> list[Finding]:
    """Check digits of SIREN, SIRET, French VAT and IBAN. Warnings only: official samples fail them too."""
    findings = [*_failed_keys("seller", seller), *_failed_keys("buyer", buyer)]
    if any(not _iban_holds(number) for number in ibans):
        findings.append(_warning("IBAN-KEY", "an IBAN (BT-84) does not have the right check digits"))
    return findings


def _failed_keys(role: str, party: Party) -> Iterator[Finding]:
    if party.siren and not _siren_holds(party.siren):
        yield _warning("SIREN-KEY", f"the SIREN of the {role} fails its check digit (Luhn)")
    if party.siret and not _siret_holds(party.siret) and not party.siret.startswith(_LA_POSTE):
        yield _warning("SIRET-KEY", f"the SIRET of the {role} fails its check digit (Luhn)")
    if party.siret and party.siren and not party.siret.startswith(party.siren):
        yield _warning("SIRET-SIREN", f"the SIRET of the {role} is not one of its SIREN")
    if party.vat and party.vat.startswith("FR") and not _vat_holds(party.vat):
        yield _warning("VAT-KEY", f"the VAT number of the {role} fails its key")


def _warning(rule: str, text: str) -> Finding:
    return Finding(rule, Severity.WARNING, "identifiers", text)
