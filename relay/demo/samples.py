"""Documents of our own making, for the demo, the self-test and the tests: invoices in CII, Factur-X and plain PDFs.

All of it is synthetic; nothing is copied from a published sample. The same arguments give the same bytes.
"""

from xml.sax.saxutils import escape

from relay.demo.sample_pdf import encrypted_pdf, facturx_pdf, original_pdf, original_text, plain_pdf
from relay.facturx.invoice import BY_NAME

__all__ = [
    "BUYER_SIREN",
    "CLIENT_SIREN",
    "OTHER_SIREN",
    "encrypted_pdf",
    "facturx_pdf",
    "invoice_xml",
    "original_pdf",
    "original_text",
    "plain_pdf",
    "siret_of",
    "vat_of",
]

CLIENT_SIREN = "732829320"
BUYER_SIREN = "356000000"
OTHER_SIREN = "552100554"

CREDIT_NOTES = frozenset({"381", "261", "262", "396", "502", "503"})

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<rsm:CrossIndustryInvoice xmlns:rsm="urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"'
    ' xmlns:ram="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"'
    ' xmlns:qdt="urn:un:unece:uncefact:data:standard:QualifiedDataType:100"'
    ' xmlns:udt="urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100">'
)

_NOTES = (
    ("PMD", "Pénalités de retard : trois fois le taux d'intérêt légal."),
    ("PMT", "Indemnité forfaitaire pour frais de recouvrement : 40 euros."),
    ("AAB", "Pas d'escompte pour paiement anticipé."),
)


def invoice_xml(
    number: str = "FA-2026-0001",
    *,
    type_code: str = "380",
    profile: str = "en16931",
    seller_siren: str = CLIENT_SIREN,
    buyer_siren: str = BUYER_SIREN,
    seller_name: str = "Menuiserie Dupont SARL",
    buyer_name: str = "Librairie Martin SAS",
    issued: str = "20261102",
    wrong_total: bool = False,
    precedes: str = "FA-2026-0000",
) -> bytes:
    """A CII invoice (EN 16931, French seller and buyer) that no rule finds fault with.

    number: BT-1. type_code: BT-3. profile: minimum | basicwl | basic | en16931 | extended. issued: BT-2 as YYYYMMDD.
    wrong_total: total with VAT one euro too high: BR-CO-15. precedes: BT-25, on credit notes only.
    """
    minimum = profile == "minimum"
    parts = [
        _HEAD,
        _context(profile),
        _document(number, type_code, issued, notes=not minimum),
        "<rsm:SupplyChainTradeTransaction>",
        _line() if profile in ("basic", "en16931", "extended") else "",
        "<ram:ApplicableHeaderTradeAgreement>",
        _party("SellerTradeParty", seller_siren, seller_name, minimum=minimum, seller=True),
        _party("BuyerTradeParty", buyer_siren, buyer_name, minimum=minimum, seller=False),
        "</ram:ApplicableHeaderTradeAgreement>",
        "<ram:ApplicableHeaderTradeDelivery>",
        "" if minimum else _event("ActualDeliverySupplyChainEvent", "OccurrenceDateTime", issued),
        "</ram:ApplicableHeaderTradeDelivery>",
        _settlement(minimum, issued, precedes if type_code in CREDIT_NOTES else None, wrong_total),
        "</rsm:SupplyChainTradeTransaction></rsm:CrossIndustryInvoice>",
    ]
    return "".join(parts).encode()


def vat_of(siren: str) -> str:
    """The French VAT number of a SIREN: key = (12 + 3 × SIREN mod 97) mod 97."""
    return f"FR{(12 + 3 * (int(siren) % 97)) % 97:02d}{siren}"


def siret_of(siren: str) -> str:
    """A SIRET of that SIREN: establishment 0001 and the digit that makes it pass Luhn."""
    head = siren + "0001"
    total = 0
    for place, digit in enumerate(reversed(head)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return head + str(-total % 10)


def _context(profile: str) -> str:
    return (
        "<rsm:ExchangedDocumentContext>"
        "<ram:BusinessProcessSpecifiedDocumentContextParameter><ram:ID>B1</ram:ID>"
        "</ram:BusinessProcessSpecifiedDocumentContextParameter>"
        f"<ram:GuidelineSpecifiedDocumentContextParameter><ram:ID>{BY_NAME[profile].urn}</ram:ID>"
        "</ram:GuidelineSpecifiedDocumentContextParameter></rsm:ExchangedDocumentContext>"
    )


def _document(number: str, type_code: str, issued: str, *, notes: bool) -> str:
    lines = "".join(
        f"<ram:IncludedNote><ram:Content>{escape(text)}</ram:Content><ram:SubjectCode>{code}</ram:SubjectCode>"
        "</ram:IncludedNote>"
        for code, text in (_NOTES if notes else ())
    )
    return (
        f"<rsm:ExchangedDocument><ram:ID>{escape(number)}</ram:ID><ram:TypeCode>{type_code}</ram:TypeCode>"
        f"<ram:IssueDateTime>{_date(issued)}</ram:IssueDateTime>{lines}</rsm:ExchangedDocument>"
    )


def _line() -> str:
    return (
        "<ram:IncludedSupplyChainTradeLineItem>"
        "<ram:AssociatedDocumentLineDocument><ram:LineID>1</ram:LineID></ram:AssociatedDocumentLineDocument>"
        "<ram:SpecifiedTradeProduct><ram:Name>Étagère en chêne</ram:Name></ram:SpecifiedTradeProduct>"
        "<ram:SpecifiedLineTradeAgreement><ram:NetPriceProductTradePrice><ram:ChargeAmount>100.00</ram:ChargeAmount>"
        "</ram:NetPriceProductTradePrice></ram:SpecifiedLineTradeAgreement>"
        '<ram:SpecifiedLineTradeDelivery><ram:BilledQuantity unitCode="C62">2</ram:BilledQuantity>'
        "</ram:SpecifiedLineTradeDelivery>"
        "<ram:SpecifiedLineTradeSettlement><ram:ApplicableTradeTax><ram:TypeCode>VAT</ram:TypeCode>"
        "<ram:CategoryCode>S</ram:CategoryCode><ram:RateApplicablePercent>20.00</ram:RateApplicablePercent>"
        "</ram:ApplicableTradeTax><ram:SpecifiedTradeSettlementLineMonetarySummation>"
        "<ram:LineTotalAmount>200.00</ram:LineTotalAmount></ram:SpecifiedTradeSettlementLineMonetarySummation>"
        "</ram:SpecifiedLineTradeSettlement></ram:IncludedSupplyChainTradeLineItem>"
    )


def _party(tag: str, siren: str, name: str, *, minimum: bool, seller: bool) -> str:
    legal = f'<ram:SpecifiedLegalOrganization><ram:ID schemeID="0002">{siren}</ram:ID></ram:SpecifiedLegalOrganization>'
    vat = f'<ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">{vat_of(siren)}</ram:ID></ram:SpecifiedTaxRegistration>'
    if minimum:
        address = "<ram:PostalTradeAddress><ram:CountryID>FR</ram:CountryID></ram:PostalTradeAddress>"
        return f"<ram:{tag}><ram:Name>{escape(name)}</ram:Name>{legal}{address + vat if seller else ''}</ram:{tag}>"
    return (
        f'<ram:{tag}><ram:GlobalID schemeID="0009">{siret_of(siren)}</ram:GlobalID><ram:Name>{escape(name)}</ram:Name>'
        f"{legal}<ram:PostalTradeAddress><ram:PostcodeCode>35000</ram:PostcodeCode>"
        "<ram:LineOne>1 rue de la Paix</ram:LineOne><ram:CityName>Rennes</ram:CityName>"
        "<ram:CountryID>FR</ram:CountryID></ram:PostalTradeAddress><ram:URIUniversalCommunication>"
        '<ram:URIID schemeID="0225">'
        f"{siren}</ram:URIID></ram:URIUniversalCommunication>{vat}</ram:{tag}>"
    )


def _settlement(minimum: bool, issued: str, precedes: str | None, wrong_total: bool) -> str:
    total = "241.00" if wrong_total else "240.00"
    sums = (
        f'<ram:TaxBasisTotalAmount>200.00</ram:TaxBasisTotalAmount><ram:TaxTotalAmount currencyID="EUR">40.00'
        f"</ram:TaxTotalAmount><ram:GrandTotalAmount>{total}</ram:GrandTotalAmount>"
        f"<ram:DuePayableAmount>{total}</ram:DuePayableAmount>"
    )
    middle = ""
    if not minimum:
        sums = "<ram:LineTotalAmount>200.00</ram:LineTotalAmount>" + sums
        middle = (
            "<ram:ApplicableTradeTax><ram:CalculatedAmount>40.00</ram:CalculatedAmount><ram:TypeCode>VAT</ram:TypeCode>"
            "<ram:BasisAmount>200.00</ram:BasisAmount><ram:CategoryCode>S</ram:CategoryCode>"
            "<ram:RateApplicablePercent>20.00</ram:RateApplicablePercent></ram:ApplicableTradeTax>"
            + _event("SpecifiedTradePaymentTerms", "DueDateDateTime", _a_month_later(issued))
        )
    earlier = (
        f"<ram:InvoiceReferencedDocument><ram:IssuerAssignedID>{escape(precedes)}</ram:IssuerAssignedID>"
        f'<ram:FormattedIssueDateTime><qdt:DateTimeString format="102">{issued}</qdt:DateTimeString>'
        "</ram:FormattedIssueDateTime></ram:InvoiceReferencedDocument>"
        if precedes and not minimum
        else ""
    )
    return (
        "<ram:ApplicableHeaderTradeSettlement><ram:InvoiceCurrencyCode>EUR</ram:InvoiceCurrencyCode>"
        f"{middle}<ram:SpecifiedTradeSettlementHeaderMonetarySummation>{sums}"
        f"</ram:SpecifiedTradeSettlementHeaderMonetarySummation>{earlier}</ram:ApplicableHeaderTradeSettlement>"
    )


def _event(tag: str, inner: str, day: str) -> str:
    return f"<ram:{tag}><ram:{inner}>{_date(day)}</ram:{inner}></ram:{tag}>"


def _date(day: str) -> str:
    return f'<udt:DateTimeString format="102">{day}</udt:DateTimeString>'


def _a_month_later(day: str) -> str:
    year, month = int(day[:4]), int(day[4:6])
    year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return f"{year:04d}{month:02d}{min(int(day[6:]), 28):02d}"
