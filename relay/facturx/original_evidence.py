"""Is a plain PDF the original of a Factur-X? What its text says for and against it; the decision is not taken here.

A number by itself proves nothing: delivery notes, reminders and credit notes hold it too. Hence the whole of what an
invoice states (EN 16931 BT-1, BT-2, BG-4, BT-109, BT-110, BT-112), what the document calls itself, and how much its
text is that of the Factur-X's own pages.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import islice

from lxml import etree

from relay.facturx import headings, page_text, pdf
from relay.facturx.document import invoices
from relay.facturx.headings import Heading
from relay.facturx.invoice import Invoice, amount
from relay.facturx.invoice import read as read_invoice
from relay.facturx.page_text import AMOUNT, DATE, PageText, fold, iso
from relay.facturx.xml import parse
from relay.inspection import Finding, Report, Term, TextEvidence

MAX_COMPARISONS = 100
"""In one message; each takes about a millisecond, and what is not compared is not removed."""

MAX_NODES = 20_000
ALIKE = 0.9

_COMPARED = 20_000
_WORD = re.compile(r"[^\W_]+")
_FORMS_TEXT = """
sa sas sasu sarl eurl sci snc scp scop scea gaec gie ei eirl selarl selas gmbh ag kg ohg ug co ltd llc plc inc bv nv
spa srl sl bvba
"""
_FORMS = frozenset(_FORMS_TEXT.split())
_LABELS_TEXT = """
a au aux by cher client clients code compte date de des devise document du eur euro euros facture factures for from
ht in invoice la le les montant mr mme n net nr no numero number of original originale page payer pour par prix
quantite qte rcs reference ref seller siren siret societe sous sur t taux tax taxe taxes tel the to total totals
totaux ttc tva un une unitaire vat vendeur votre vous rechnung nummer netto brutto betrag gesamt gesamtbetrag ust
mwst avoir credit note acompte echeance due fournisseur acheteur emetteur destinataire adresse designation
"""
_LABELS = frozenset(_LABELS_TEXT.split())
_REGISTERED = re.compile(r"\b(?:siren|siret|rcs|r\.c\.s\.?)\b[^0-9\n]{0,30}([0-9][0-9 .]{7,18}[0-9])(?![0-9])")
_FRENCH_VAT = re.compile(r"(?<![a-z0-9])fr ?[0-9a-z]{2} ?([0-9]{3}[ .]?[0-9]{3}[ .]?[0-9]{3})(?![0-9])")
_TOTAL = re.compile(
    r"\b(?:total|montant|net) (?:general |global |de la facture )?(?:ttc|a payer|toutes taxes)"
    r"|\btotal general\b|\bttc\b"
    r"|\b(?:grand total|amount due|total due|due payable|total payable)\b"
    r"|\b(?:gesamtbetrag|bruttosumme|rechnungsbetrag|zahlbetrag|endbetrag)\b"
    r"|^total(?: (?:eur|euros?|€))? *:?(?= *[€$£]? ?[0-9])"
)
_PARTIAL = re.compile(r"report|sous.total|unitaire|remise|\bpu\b|escompte|deja|verse|acompte")


@dataclass(frozen=True)
class StatedInvoice:
    """What the XML of one Factur-X states, and the text of the document's own pages.

    amounts: by the terms that an original states too. by_rate: the amounts of each VAT rate, for a total that is not
    printed. totals: with VAT and due. names, identifiers: of the seller; others: identifiers of the buyer.
    """

    digest: str
    invoice: Invoice
    root: etree._Element
    page: PageText
    amounts: Mapping[Term, Decimal]
    by_rate: Mapping[Term, frozenset[Decimal]]
    totals: frozenset[Decimal]
    names: tuple[str, ...]
    identifiers: frozenset[str]
    others: frozenset[str]

    @cached_property
    def number(self) -> str:
        return fold(self.invoice.number or "").strip()

    @cached_property
    def kinds(self) -> frozenset[Heading]:
        """What the original may be headed: as the type of the invoice is, or as the pages of the Factur-X are."""
        kinds = {headings.kind_of_type(self.invoice.type_code), headings.kind_of(self.page, self.names)}
        return frozenset(kind for kind in kinds if kind is not None and kind is not Heading.OTHER)

    @cached_property
    def all_amounts(self) -> frozenset[Decimal]:
        """Every amount of the XML, as far as MAX_NODES."""
        return _amounts(node for node in self._nodes() if str(node.tag).endswith("Amount"))

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word of the XML, as far as MAX_NODES."""
        return frozenset(word for node in self._nodes() for word in _WORD.findall(fold(node.text or "")))

    def _nodes(self) -> Iterator[etree._Element]:
        return islice(self.root.iter("*"), MAX_NODES)


def stated_by_facturx(report: Report, content: bytes) -> StatedInvoice | None:
    """None when the pages do not open, or the XML cannot be read: then nothing can be the original of this document."""
    own = page_text.of_pdf(content)
    opened = pdf.read(content) if own is not None else None
    if own is None or not isinstance(opened, pdf.Container):
        return None
    first = next(iter(invoices(opened)), None)
    if first is None or first.invoice is None or not isinstance(first.root, etree._Element):
        return None
    return _stated(report, first.root, first.invoice, PageText.of(own))


def stated_by_xml(report: Report, content: bytes) -> StatedInvoice | None:
    """The same of an invoice that came as bare XML, which has no pages. None when the XML cannot be read."""
    root = parse(content)
    return None if isinstance(root, Finding) else _stated(report, root, read_invoice(root, content), PageText.of(""))


def _stated(report: Report, root: etree._Element, invoice: Invoice, page: PageText) -> StatedInvoice:
    totals = invoice.totals
    known = {Term.WITH_VAT: totals.with_vat, Term.WITHOUT_VAT: totals.without_vat, Term.VAT: totals.vat}
    seller, buyer = root.find(".//{*}SellerTradeParty"), root.find(".//{*}BuyerTradeParty")
    taxes = root.findall("./{*}SupplyChainTradeTransaction/{*}ApplicableHeaderTradeSettlement/{*}ApplicableTradeTax")
    return StatedInvoice(
        report.sha256,
        invoice,
        root,
        page,
        {term: abs(Decimal(value)) for term, value in known.items() if value is not None},
        {
            Term.VAT: _amounts(tax.find("./{*}CalculatedAmount") for tax in taxes),
            Term.WITHOUT_VAT: _amounts(tax.find("./{*}BasisAmount") for tax in taxes),
        },
        frozenset(abs(Decimal(value)) for value in (totals.with_vat, totals.due) if value is not None),
        _names(seller),
        _identifiers(seller),
        _identifiers(buyer),
    )


def compare(page: PageText, other: StatedInvoice) -> TextEvidence:
    """The evidence that `page`, the text of a plain PDF, gives of being the original of `other`."""
    holds = dict(_terms(page, other))
    named = headings.announced(page)
    announced = bool(other.number and named) and headings.begins_with(named[0], other.number)
    figures = page.amounts == other.page.amounts and page.dates == other.page.dates
    return TextEvidence(
        other.digest,
        similarity(page, other.page),
        tuple(term for term, stands in holds.items() if stands),
        tuple(term for term, stands in holds.items() if not stands),
        tuple(_contradicted(page, other, holds)),
        bool(page.amounts) and figures and page.figures == other.page.figures,
        bool(page.words) and page.words == other.page.words,
        announced,
        announced and not headings.names_another(page, other.kinds) and _nothing_else(page, other),
    )


def similarity(one: PageText, other: PageText) -> float:
    """0 to 1: the share of common words, or of common groups of three characters where glyphs are set apart.

    The order does not count: programs write the same page in different orders.
    """
    if not one.words or not other.words:
        return 0.0
    by_words = _dice(one.words, other.words)
    if by_words >= ALIKE:
        return round(by_words, 3)
    return round(max(by_words, _dice(_groups(one.squeezed), _groups(other.squeezed))), 3)


def _dice(one: "Counter[str]", other: "Counter[str]") -> float:
    return 2 * (one & other).total() / (one.total() + other.total() or 1)


def _groups(squeezed: str) -> "Counter[str]":
    part = squeezed[:_COMPARED]
    return Counter(map("".join, zip(part, part[1:], part[2:], strict=False)))


def _terms(page: PageText, other: StatedInvoice) -> Iterator[tuple[Term, bool]]:
    """Each term that the invoice states: does the page state it?"""
    if other.number:
        yield Term.NUMBER, bool(page_text.mentions(page.flat, [other.number]))
    yield Term.KIND, headings.kind_of(page, other.names) in other.kinds
    if other.invoice.issued:
        yield Term.DATE, other.invoice.issued in page.dates
    if other.names or other.identifiers:
        yield Term.SELLER, _identified(page, other.identifiers) or any(_named(page, name) for name in other.names)
    for term, value in other.amounts.items():
        read = page.amounts | page.whole
        if term is Term.WITH_VAT:  # `12 240,00` is no 240.00
            yield term, value in read
        elif value:
            rates = other.by_rate[term]
            yield term, value in read | page.split or (bool(rates) and rates <= read | page.split)


def _contradicted(page: PageText, other: StatedInvoice, holds: Mapping[Term, bool]) -> Iterator[Term]:
    """Terms for which the page states something else, unless the Factur-X's own pages state the same."""
    for term, said in _says_else(page, other, holds):
        own = dict(_says_else(other.page, other, dict(_terms(other.page, other)))) if other.page.lines else {}
        if own.get(term) != said:
            yield term


def _says_else(page: PageText, other: StatedInvoice, holds: Mapping[Term, bool]) -> Iterator[tuple[Term, object]]:
    """Terms for which the page states something else than the XML, and what."""
    if other.number and (numbers := _other_numbers(page, other.number, bool(holds.get(Term.NUMBER)))):
        yield Term.NUMBER, numbers
    kind, dunning = headings.kind_of(page, other.names), headings.dunning(page)
    if dunning or (kind is not None and kind not in other.kinds):
        yield Term.KIND, (kind, dunning)
    if page.dates and holds.get(Term.DATE) is False:
        yield Term.DATE, page.dates
    if parties := _other_sellers(page, other, bool(holds.get(Term.SELLER))):
        yield Term.SELLER, parties
    if other.totals and (totals := _other_totals(page, other.totals)):
        yield Term.WITH_VAT, totals


def _other_numbers(page: PageText, number: str, stands: bool) -> tuple[str, ...]:
    """The numbers that the document announces as its own; else its numbers of the same series, or those it labels."""
    named = headings.announced(page)
    others = tuple(each for each in named if not headings.begins_with(each, number))
    if named:
        series = _series(number)
        return others if others[:1] == named[:1] else tuple(each for each in others if series.match(each))
    if not stands:
        return headings.labelled(page)
    if number.isdigit():
        return ()
    return tuple(sorted({each for each in _series(number).findall(page.flat) if each != number}))


def _series(number: str) -> "re.Pattern[str]":
    """Numbers like this one, with other digits."""
    shape = "".join("[0-9]" if each.isdigit() else re.escape(each) for each in number)
    return re.compile(rf"(?<![0-9a-z]){shape}(?![0-9a-z])")


def _other_sellers(page: PageText, other: StatedInvoice, stands: bool) -> frozenset[str]:
    """SIRENs on the page that belong to neither party, where none of the seller's is there."""
    if not stands and not other.identifiers:
        return frozenset()
    if _identified(page, other.identifiers):
        return frozenset()
    digits = [re.sub(r"\D", "", match[1]) for match in _REGISTERED.finditer(page.flat)]
    digits += [re.sub(r"\D", "", match[1]) for match in _FRENCH_VAT.finditer(page.flat)]
    sirens = {each[:9] for each in digits if len(each) in (9, 14)}
    known = {each for each in other.identifiers if len(each) == 9 and each.isdigit()}
    return frozenset(sirens - other.others) if known else frozenset()


def _other_totals(page: PageText, totals: frozenset[Decimal]) -> frozenset[Decimal]:
    """The amounts on the lines that are labelled as the total with VAT, when none of these is the invoice's."""
    lines = [line for line in page.lines if _TOTAL.search(line) and not _PARTIAL.search(line)]
    labelled = PageText(tuple(lines))
    read = labelled.amounts | labelled.whole | labelled.split
    return frozenset() if read & totals else read


def _nothing_else(page: PageText, other: StatedInvoice) -> bool:
    """Is every figure one of the XML's, and every word one of the XML's or a label?"""
    if not page.amounts <= other.all_amounts:
        return False
    rest = AMOUNT.sub(" ", page.flat)
    rest = DATE.sub(lambda match: " " if iso(match) == other.invoice.issued else match.group(), rest)
    known = other.words | _LABELS
    unknown = [word for word in _WORD.findall(rest) if word not in known]
    return not unknown


def _identified(page: PageText, identifiers: Iterable[str]) -> bool:
    return any(_identifier(each).search(page.flat) for each in identifiers)


@lru_cache(maxsize=256)
def _identifier(identifier: str) -> "re.Pattern[str]":
    """As printed: in groups, a SIREN also inside a SIRET or a French VAT number."""
    spaced = r"[ .\-]?".join(map(re.escape, identifier))
    if len(identifier) == 9 and identifier.isdigit():
        before = r"(?:(?<![0-9])|(?<=\bfr[0-9a-z]{2})|(?<=\bfr[0-9a-z]{2} )|(?<=\bfr [0-9a-z]{2} ))"
        return re.compile(rf"{before}{spaced}(?:(?![0-9])|(?= ?[0-9]{{3}} ?[0-9]{{2}}(?![0-9])))")
    return re.compile(rf"(?<![0-9a-z]){spaced}(?![0-9a-z])")


def _named(page: PageText, name: str) -> bool:
    """The words of the name, one after the other; where glyphs are set apart, its letters."""
    words = r"[^a-z0-9]{1,3}".join(map(re.escape, name.split()))
    return re.search(rf"(?<![a-z0-9]){words}(?![a-z0-9])", page.flat) is not None


def _names(party: etree._Element | None) -> tuple[str, ...]:
    """The names of a party without its legal form, folded; none that is shorter than three characters."""
    if party is None:
        return ()
    nodes = [*party.findall("./{*}Name"), *party.findall("./{*}SpecifiedLegalOrganization/{*}TradingBusinessName")]
    bare = (" ".join(word for word in _WORD.findall(fold(node.text or "")) if word not in _FORMS) for node in nodes)
    return tuple(dict.fromkeys(name for name in bare if len(name) >= 3))


def _identifiers(party: etree._Element | None) -> frozenset[str]:
    """Those that a document prints, folded and without blanks, and the SIREN within them."""
    if party is None:
        return frozenset()
    paths = ("GlobalID", "SpecifiedLegalOrganization/{*}ID", "SpecifiedTaxRegistration/{*}ID")
    nodes = [node for path in paths for node in party.findall(f"./{{*}}{path}")]
    nodes += party.findall("./{*}URIUniversalCommunication/{*}URIID")
    found = {"".join(fold(node.text or "").split()).split("_")[0] for node in nodes}
    sirens = {each[:9] for each in found if re.fullmatch(r"[0-9]{14}", each)}
    sirens |= {each[-9:] for each in found if re.fullmatch(r"fr[0-9a-z]{2}[0-9]{9}", each)}
    return frozenset(each for each in found | sirens if 8 <= len(each) <= 40)


def _amounts(nodes: Iterable[etree._Element | None]) -> frozenset[Decimal]:
    values = (amount((node.text or "").strip()) for node in nodes if node is not None)
    return frozenset(abs(Decimal(value)) for value in values if value is not None)
