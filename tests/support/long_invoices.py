"""Invoices of many lines, right and wrong: for the comparison with the published rules and for the bench.

All of it is synthetic; the same arguments give the same bytes.
"""

import re
from collections.abc import Callable, Mapping

from relay.demo import samples

LINE = re.compile(r"<ram:IncludedSupplyChainTradeLineItem>.*?</ram:IncludedSupplyChainTradeLineItem>", re.DOTALL)
_GROUPED = ("extended", "extended-ctc-fr")


def long_invoice(lines: int, profile: str = "en16931", *, detailed: bool = False, process: str = "B1") -> bytes:
    """A right CII invoice of `lines` lines of 200.00.

    profile: basic | en16931 | extended. detailed: every line has notes, product, price, period, allowance and charge;
    in profile EXTENDED every fourth line is a group of the next three. process: BT-23.
    """
    xml = samples.invoice_xml(profile=profile).decode()
    (line,) = LINE.findall(xml)
    grouped = detailed and profile in _GROUPED
    texts = []
    for number in range(1, lines + 1):
        first = number - (number - 1) % 4
        text = line if not detailed else _DETAILED
        if grouped and number == first and number < lines:
            children = min(3, lines - number)
            text = text.replace(">200.00<", f">{200 * children}.00<").replace(_ID, f"{_ID}{_status('GROUP')}")
        elif grouped and number != first:
            text = text.replace(_ID, f"{_ID}<ram:ParentLineID>{first}</ram:ParentLineID>{_status('DETAIL')}")
        texts.append(text.replace(_ID, f"<ram:LineID>{number}</ram:LineID>"))
    counted = lines - sum(_status("GROUP") in text for text in texts)
    rest = LINE.sub("\0", xml).replace("<ram:ID>B1<", f"<ram:ID>{process}<")
    for each in (200, 40, 240):
        rest = re.sub(rf">{each}\.00<", f">{each * counted}.00<", rest)
    return rest.replace("\0", "".join(texts)).encode()


def _status(code: str) -> str:
    return f"<ram:LineStatusReasonCode>{code}</ram:LineStatusReasonCode>"


_ID = "<ram:LineID>1</ram:LineID>"
_CHARGE = (
    "<ram:SpecifiedTradeAllowanceCharge><ram:ChargeIndicator><udt:Indicator>{}</udt:Indicator></ram:ChargeIndicator>"
    "<ram:ActualAmount>5.00</ram:ActualAmount><ram:ReasonCode>{}</ram:ReasonCode><ram:Reason>accord</ram:Reason>"
    "</ram:SpecifiedTradeAllowanceCharge>"
)
_DATE = '<udt:DateTimeString format="102">{}</udt:DateTimeString>'
_DETAILED = (
    f"<ram:IncludedSupplyChainTradeLineItem><ram:AssociatedDocumentLineDocument>{_ID}<ram:IncludedNote>"
    "<ram:Content>livré</ram:Content></ram:IncludedNote></ram:AssociatedDocumentLineDocument>"
    '<ram:SpecifiedTradeProduct><ram:GlobalID schemeID="0160">3012345678900</ram:GlobalID>'
    "<ram:SellerAssignedID>CH-1</ram:SellerAssignedID><ram:BuyerAssignedID>88</ram:BuyerAssignedID>"
    "<ram:Name>Chaise</ram:Name><ram:Description>Chaise en hêtre</ram:Description><ram:ApplicableProductCharacteristic>"
    "<ram:Description>Couleur</ram:Description><ram:Value>bleu</ram:Value></ram:ApplicableProductCharacteristic>"
    '<ram:DesignatedProductClassification><ram:ClassCode listID="HS">9401</ram:ClassCode>'
    "</ram:DesignatedProductClassification><ram:OriginTradeCountry><ram:ID>FR</ram:ID></ram:OriginTradeCountry>"
    "</ram:SpecifiedTradeProduct><ram:SpecifiedLineTradeAgreement><ram:BuyerOrderReferencedDocument>"
    "<ram:LineID>7</ram:LineID></ram:BuyerOrderReferencedDocument><ram:GrossPriceProductTradePrice>"
    "<ram:ChargeAmount>110.00</ram:ChargeAmount><ram:AppliedTradeAllowanceCharge><ram:ChargeIndicator>"
    "<udt:Indicator>false</udt:Indicator></ram:ChargeIndicator><ram:ActualAmount>10.00</ram:ActualAmount>"
    "</ram:AppliedTradeAllowanceCharge></ram:GrossPriceProductTradePrice><ram:NetPriceProductTradePrice>"
    '<ram:ChargeAmount>100.00</ram:ChargeAmount><ram:BasisQuantity unitCode="C62">1</ram:BasisQuantity>'
    "</ram:NetPriceProductTradePrice></ram:SpecifiedLineTradeAgreement><ram:SpecifiedLineTradeDelivery>"
    '<ram:BilledQuantity unitCode="C62">2</ram:BilledQuantity></ram:SpecifiedLineTradeDelivery>'
    "<ram:SpecifiedLineTradeSettlement><ram:ApplicableTradeTax><ram:TypeCode>VAT</ram:TypeCode><ram:CategoryCode>S"
    "</ram:CategoryCode><ram:RateApplicablePercent>20.00</ram:RateApplicablePercent></ram:ApplicableTradeTax>"
    f"<ram:BillingSpecifiedPeriod><ram:StartDateTime>{_DATE.format('20261001')}</ram:StartDateTime>"
    f"<ram:EndDateTime>{_DATE.format('20261031')}</ram:EndDateTime></ram:BillingSpecifiedPeriod>"
    f"{_CHARGE.format('false', '95')}{_CHARGE.format('true', 'FC')}"
    "<ram:SpecifiedTradeSettlementLineMonetarySummation><ram:LineTotalAmount>200.00</ram:LineTotalAmount>"
    "</ram:SpecifiedTradeSettlementLineMonetarySummation><ram:AdditionalReferencedDocument>"
    "<ram:IssuerAssignedID>FA-1</ram:IssuerAssignedID><ram:TypeCode>130</ram:TypeCode><ram:ReferenceTypeCode>AFL"
    "</ram:ReferenceTypeCode></ram:AdditionalReferencedDocument><ram:ReceivableSpecifiedTradeAccountingAccount>"
    "<ram:ID>707</ram:ID></ram:ReceivableSpecifiedTradeAccountingAccount></ram:SpecifiedLineTradeSettlement>"
    "</ram:IncludedSupplyChainTradeLineItem>"
)


def _last(pattern: str, replacement: str) -> Callable[[bytes], bytes]:
    """Change what matches last."""

    def change(xml: bytes) -> bytes:
        matches = list(re.finditer(pattern.encode(), xml))
        if not matches:
            return xml
        match = matches[-1]
        return xml[: match.start()] + match.expand(replacement.encode()) + xml[match.end() :]

    return change


def _all(pattern: str, replacement: str) -> Callable[[bytes], bytes]:
    return lambda xml: re.sub(pattern.encode(), replacement.encode(), xml)


_LINE_TOTAL = r"<ram:LineTotalAmount>[0-9.]+(</ram:LineTotalAmount></ram:SpecifiedTradeSettlementLine)"
WRONG: Mapping[str, Callable[[bytes], bytes]] = {
    "total": _last(r"(<ram:GrandTotalAmount>)", r"\g<1>1"),
    "line": _last(_LINE_TOTAL, r"<ram:LineTotalAmount>190.999\1"),
    "lines": _all(_LINE_TOTAL, r"<ram:LineTotalAmount>190.999\1"),
    "VAT breakdown": _last(r"(<ram:BasisAmount>)", r"\g<1>1"),
    "VAT rate": _last(r"(<ram:RateApplicablePercent>)20", r"\g<1>10"),
    "category": _last(r"(<ram:CategoryCode>)S", r"\g<1>Z"),
    "categories": _all(r"(<ram:CategoryCode>)S", r"\g<1>O"),
    "names": _all(r"<ram:Name>(?:Chaise|Étagère en chêne)</ram:Name>", "<ram:Name></ram:Name>"),
    "same line identifiers": _all(r"<ram:LineID>[0-9]+</ram:LineID>", "<ram:LineID>1</ram:LineID>"),
    "same parents": _all(r"<ram:ParentLineID>[0-9]+<", "<ram:ParentLineID>1<"),
    "unknown parent": _last(r"(<ram:ParentLineID>)", r"\g<1>x"),
    "group total": _all(r">600\.00<", ">601.00<"),
    "unit": _last(r'unitCode="C62"', 'unitCode="XX"'),
    "seller's VAT number": _all(r'(<ram:ID schemeID="VA">)FR', r"\g<1>"),
    "currency": _all(r">EUR<", ">EURO<"),
    "due date": _all(r"<ram:SpecifiedTradePaymentTerms>.*?</ram:SpecifiedTradePaymentTerms>", ""),
    "no date": _all(r"20261031", "20261399"),
}
"""What is wrong, and how a right invoice of `long_invoice` becomes so; one that has nothing of it stays right."""
