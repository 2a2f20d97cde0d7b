"""What is read of a party: each identifier × its scheme × how it is written; in CII and UBL, of seller and buyer."""

import pytest

from relay.facturx.invoice import Invoice, read
from relay.facturx.xml import parse
from relay.inspection import Finding, Party

SIREN, SIRET, VAT = "732829320", "73282932000074", "FR44732829320"
UNKEYED, UNKEYED_SIRET = "732829321", "73282932100012"
OTHER, OTHER_SIRET, OTHER_VAT = "552100554", "55210055400013", "FR96552100554"

NS = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
}
UBL = "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
UBL_MORE = (
    'xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"'
    ' xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"'
)

Rows = list[tuple[str, str, str]]
"""(place, scheme, value): place is legal, global, id, tax or address."""

ONE = [
    # place, scheme, value, SIREN and SIRET that it tells
    ("legal", "0002", SIREN, SIREN, None),
    ("legal", "0002", "732 829 320", SIREN, None),
    ("legal", "0002", "732\u00a0829\u202f320", SIREN, None),
    ("legal", "0002", UNKEYED, UNKEYED, None),
    ("legal", "0002", SIRET, SIREN, SIRET),
    ("legal", "0002", "732 829 320 00074", SIREN, SIRET),
    ("legal", "0009", SIRET, SIREN, SIRET),
    ("legal", "", SIREN, SIREN, None),
    ("legal", "", "732 829 320", SIREN, None),
    ("legal", "", SIRET, SIREN, SIRET),
    ("legal", "", UNKEYED, None, None),
    ("legal", "", UNKEYED_SIRET, None, None),
    ("legal", "", "RCS Rennes 732829320", None, None),
    ("legal", "0088", SIREN, None, None),
    ("legal", "0060", SIREN, None, None),
    ("legal", "0002", "73282932", None, None),
    ("legal", "0002", "7328293200007", None, None),
    ("legal", "0002", "٧٣٢٨٢٩٣٢٠", None, None),
    ("legal", "SIREN", SIREN, SIREN, None),
    ("global", "0002", SIREN, SIREN, None),
    ("global", "0009", SIRET, SIREN, SIRET),
    ("global", "0009", "732 829 320 00074", SIREN, SIRET),
    ("global", "0225", SIREN, SIREN, None),
    ("global", "0231", SIREN, SIREN, None),
    ("global", "0088", "3012345678900", None, None),
    ("global", "0088", SIREN, None, None),
    ("global", "0088", SIRET, None, None),
    ("global", "", SIREN, None, None),
    ("id", "", "C-1234", None, None),
    ("id", "", SIREN, None, None),
    ("id", "", SIRET, SIREN, SIRET),
    ("id", "", "73282932000075", None, None),
    ("id", "0009", SIRET, SIREN, SIRET),
    ("address", "0002", SIREN, SIREN, None),
    ("address", "0009", SIRET, SIREN, SIRET),
    ("address", "0225", SIREN, SIREN, None),
    ("address", "0225", SIRET, SIREN, SIRET),
    ("address", "0225", "732 829 320", SIREN, None),
    ("address", "0225", f"{SIREN}_{SIRET}", SIREN, SIRET),
    ("address", "0225", f"{SIREN}_{SIRET}_SERVICE7", SIREN, SIRET),
    ("address", "0225", f"{SIREN}_compta", SIREN, None),
    ("address", "0225", f"{SIREN}_", SIREN, None),
    ("address", "0225", f"_{SIREN}", None, None),
    ("address", "0225", f"{SIREN}_{OTHER_SIRET}", SIREN, None),
    ("address", "9957", VAT, SIREN, None),
    ("address", "9957", "fr 44 732 829 320", SIREN, None),
    ("address", "9957", SIREN, None, None),
    ("address", "9930", "DE732829320", None, None),
    ("address", "EM", "compta@732829320.example", None, None),
    ("address", "", SIREN, None, None),
    ("tax", "VA", VAT, SIREN, None),
    ("tax", "VA", "fr44 732829320", SIREN, None),
    ("tax", "VA", "44732829320", SIREN, None),
    ("tax", "VA", "45732829320", None, None),
    ("tax", "VA", "DE732829320", None, None),
    ("tax", "VA", SIREN, None, None),
    ("tax", "FC", VAT, SIREN, None),
    ("tax", "FC", SIREN, SIREN, None),
    ("tax", "FC", SIRET, SIREN, None),
    ("tax", "FC", UNKEYED, None, None),
    ("tax", "FC", "201/113/40209", None, None),
]
CASES = [pytest.param(*row, id="-".join(row[:3])) for row in ONE]


def party_of(rows: Rows, syntax: str, side: str) -> Party:
    content = (cii if syntax == "cii" else ubl)(rows, side).encode()
    root = parse(content)
    assert not isinstance(root, Finding)
    invoice: Invoice = read(root, content)
    mine, other = (invoice.seller, invoice.buyer) if side == "seller" else (invoice.buyer, invoice.seller)
    assert other == Party("Autre")
    return mine


def cii(rows: Rows, side: str) -> str:
    forms = {
        "legal": "<ram:SpecifiedLegalOrganization><ram:ID{}>{}</ram:ID></ram:SpecifiedLegalOrganization>",
        "global": "<ram:GlobalID{}>{}</ram:GlobalID>",
        "id": "<ram:ID{}>{}</ram:ID>",
        "tax": "<ram:SpecifiedTaxRegistration><ram:ID{}>{}</ram:ID></ram:SpecifiedTaxRegistration>",
        "address": "<ram:URIUniversalCommunication><ram:URIID{}>{}</ram:URIID></ram:URIUniversalCommunication>",
    }
    mine = "".join(forms[place].format(_scheme(scheme), value) for place, scheme, value in rows)
    names = ("SellerTradeParty", "BuyerTradeParty")
    this, that = names if side == "seller" else names[::-1]
    return (
        f'<rsm:CrossIndustryInvoice xmlns:rsm="{NS["rsm"]}" xmlns:ram="{NS["ram"]}"><rsm:SupplyChainTradeTransaction>'
        f"<ram:ApplicableHeaderTradeAgreement><ram:{this}>{mine}</ram:{this}><ram:{that}><ram:Name>Autre</ram:Name>"
        f"</ram:{that}></ram:ApplicableHeaderTradeAgreement></rsm:SupplyChainTradeTransaction>"
        "</rsm:CrossIndustryInvoice>"
    )


def ubl(rows: Rows, side: str) -> str:
    identification = "<cac:PartyIdentification><cbc:ID{}>{}</cbc:ID></cac:PartyIdentification>"
    forms = {
        "legal": "<cac:PartyLegalEntity><cbc:CompanyID{}>{}</cbc:CompanyID></cac:PartyLegalEntity>",
        "global": identification,
        "id": identification,
        "address": "<cbc:EndpointID{}>{}</cbc:EndpointID>",
    }
    tax = (
        "<cac:PartyTaxScheme><cbc:CompanyID>{1}</cbc:CompanyID><cac:TaxScheme><cbc:ID>{0}</cbc:ID></cac:TaxScheme>"
        "</cac:PartyTaxScheme>"
    )
    mine = "".join(
        tax.format({"VA": "VAT", "FC": "LOC"}[scheme], value)
        if place == "tax"
        else forms[place].format(_scheme(scheme), value)
        for place, scheme, value in rows
    )
    names = ("AccountingSupplierParty", "AccountingCustomerParty")
    this, that = names if side == "seller" else names[::-1]
    other = "<cac:PartyName><cbc:Name>Autre</cbc:Name></cac:PartyName>"
    return (
        f'<Invoice xmlns="{UBL}" {UBL_MORE}><cac:{this}><cac:Party>{mine}</cac:Party></cac:{this}>'
        f"<cac:{that}><cac:Party>{other}</cac:Party></cac:{that}></Invoice>"
    )


def _scheme(scheme: str) -> str:
    return f' schemeID="{scheme}"' if scheme else ""


@pytest.mark.parametrize("side", ["seller", "buyer"])
@pytest.mark.parametrize("syntax", ["cii", "ubl"])
@pytest.mark.parametrize(("place", "scheme", "value", "siren", "siret"), CASES)
def test_identifier_of_a_party_names_its_siren(
    place: str, scheme: str, value: str, siren: str | None, siret: str | None, syntax: str, side: str
) -> None:
    found = party_of([(place, scheme, value)], syntax, side)
    assert (found.siren, found.siret) == (siren, siret)
    assert [each.siren for each in found.identifiers] == ([siren] if siren else [])


TERMS = [
    ("seller", "legal", "BT-30 (0002)", "0002", SIREN),
    ("seller", "global", "BT-29 (0009)", "0009", SIRET),
    ("seller", "tax", "BT-31 (VA)", "VA", VAT),
    ("seller", "tax", "BT-32 (FC)", "FC", SIREN),
    ("seller", "address", "BT-34 (0225)", "0225", SIREN),
    ("buyer", "legal", "BT-47", "", SIREN),
    ("buyer", "global", "BT-46 (0231)", "0231", SIREN),
    ("buyer", "tax", "BT-48 (VA)", "VA", VAT),
    ("buyer", "address", "BT-49 (9957)", "9957", VAT),
]


@pytest.mark.parametrize(("side", "place", "term", "scheme", "value"), TERMS)
def test_identifier_is_named_by_its_business_term_and_scheme(
    side: str, place: str, term: str, scheme: str, value: str
) -> None:
    (found,) = party_of([(place, scheme, value)], "cii", side).identifiers
    assert str(found) == term


MIXED = [
    # the identifiers of one party, the SIRENs they tell (the surest first), its SIRET
    ([("tax", "VA", OTHER_VAT), ("legal", "0002", SIREN)], [SIREN, OTHER], None),
    ([("address", "0225", OTHER), ("global", "0009", SIRET)], [SIREN, OTHER], SIRET),
    ([("address", "0009", OTHER_SIRET), ("tax", "VA", VAT)], [SIREN, OTHER], OTHER_SIRET),
    ([("global", "0009", OTHER_SIRET), ("legal", "0002", SIREN), ("address", "0225", SIRET)], [SIREN, OTHER], SIRET),
    ([("global", "0088", "3012345678900"), ("global", "0009", SIRET)], [SIREN], SIRET),
    ([("global", "0231", OTHER), ("global", "0002", SIREN)], [SIREN, OTHER], None),
    ([("tax", "FC", OTHER), ("tax", "VA", VAT)], [SIREN, OTHER], None),
    ([("legal", "0002", SIREN), ("legal", "", SIREN), ("tax", "VA", VAT), ("address", "0225", SIREN)], [SIREN], None),
    ([("id", "", "C-1234"), ("address", "9957", VAT)], [SIREN], None),
]


@pytest.mark.parametrize("syntax", ["cii", "ubl"])
@pytest.mark.parametrize(("rows", "sirens", "siret"), MIXED)
def test_all_identifiers_of_a_party_are_read(rows: Rows, sirens: list[str], siret: str | None, syntax: str) -> None:
    found = party_of(rows, syntax, "buyer")
    assert (list(found.sirens), found.siren, found.siret) == (sirens, sirens[0], siret)
