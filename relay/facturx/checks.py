"""Checks of the invoice that need no engine: the XSD, compiled once a profile, and the keys of its identifiers."""

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from lxml import etree
from stdnum import iban
from stdnum.fr import siren, siret, tva

from relay.facturx.invoice import Invoice
from relay.facturx.profiles import Profile, rules_folder
from relay.report import Finding, Party, Severity

MAX_XSD_FINDINGS = 20
_LA_POSTE = "356000000"  # its establishments have no Luhn key

# The clients and their suppliers come again and again.
_is_siren, _is_siret, _is_vat, _is_iban = (lru_cache(4096)(each.is_valid) for each in (siren, siret, tva, iban))

_KINDS = {
    "SCHEMAV_CVC_DATATYPE_VALID_1_2_1": "its value is not of the type asked for",
    "SCHEMAV_CVC_ENUMERATION_VALID": "its value is not in the list of codes",
    "SCHEMAV_CVC_PATTERN_VALID": "its value does not have the form asked for",
    "SCHEMAV_CVC_COMPLEX_TYPE_4": "a required attribute is missing",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1": "an attribute is not allowed",
}


@cache
def _schema(path: str) -> etree.XMLSchema:
    return etree.XMLSchema(file=str(rules_folder() / path))


def xsd(root: etree._Element, profile: Profile) -> list[Finding]:
    """Every breach of the profile's schema, at most 20; the texts name elements, never their values."""
    schema = _schema(profile.xsd)
    if schema.validate(root):
        return []
    seen: dict[str, Finding] = {}
    for entry in schema.error_log:  # type: ignore[attr-defined]
        text = f"{_element(entry.message)}, line {entry.line}: {_what(entry.type_name, entry.message)}"
        seen.setdefault(text, Finding("XSD", Severity.ERROR, "xsd", text))
    return list(seen.values())[:MAX_XSD_FINDINGS]


def identifiers(invoice: Invoice) -> list[Finding]:
    """Check digits of SIREN, SIRET, French VAT and IBAN. Warnings only: official samples fail them too."""
    found = [*_party("seller", invoice.seller), *_party("buyer", invoice.buyer)]
    if any(not _is_iban(each) for each in invoice.ibans):
        found.append(_warning("IBAN-KEY", "an IBAN (BT-84) does not have the right check digits"))
    return found


def _party(role: str, party: Party) -> Iterator[Finding]:
    if party.siren and not _is_siren(party.siren):
        yield _warning("SIREN-KEY", f"the SIREN of the {role} fails its check digit (Luhn)")
    if party.siret and not _is_siret(party.siret) and not party.siret.startswith(_LA_POSTE):
        yield _warning("SIRET-KEY", f"the SIRET of the {role} fails its check digit (Luhn)")
    if party.siret and party.siren and not party.siret.startswith(party.siren):
        yield _warning("SIRET-SIREN", f"the SIRET of the {role} is not one of its SIREN")
    if party.vat and party.vat.startswith("FR") and not _is_vat(party.vat):
        yield _warning("VAT-KEY", f"the VAT number of the {role} fails its key")


def _element(message: str) -> str:
    match = re.match(r"Element '(?:\{[^}]*\})?([^']*)'", message)
    return match.group(1) if match else "document"


def _what(type_name: str, message: str) -> str:
    if type_name == "SCHEMAV_ELEMENT_CONTENT":
        said = re.sub(r"\{[^}]*\}", "", message.partition(": ")[2])
        return re.sub(r"Character content .*", "text is not allowed here", said)
    return _KINDS.get(type_name, type_name.removeprefix("SCHEMAV_").lower().replace("_", " "))


def _warning(rule: str, text: str) -> Finding:
    return Finding(rule, Severity.WARNING, "identifiers", text)
