"""Hybrid invoices with their originals in the layouts that programs print, and documents that only mention an invoice.

`ORIGINALS`: each is removed beside its Factur-X. `OTHERS`: none ever is. All of it is synthetic.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pikepdf
from pikepdf import Dictionary, Name, Pdf

from relay.demo.sample_pdf import facturx_pdf, plain_pdf
from relay.demo.samples import invoice_xml, siret_of, vat_of
from relay.facturx.inspect import inspect
from relay.inspection import Candidate, Options
from relay.mime.parser import parse
from relay.model import Action, Envelope, Recipient
from relay.routing.decision import Decision, decide
from relay.routing.directory import Directory
from tests.support import mails
from tests.support.decisions import RECEIVED, terms

SELLER, CLIENT, STRANGER = "552100554", "732829320", "356000000"
NARROW = "\N{NARROW NO-BREAK SPACE}"
NBSP = "\N{NO-BREAK SPACE}"
HYBRID = "FACTURE\n(document hybride)"


@dataclass(frozen=True)
class Bill:
    """An invoice to draw. Amounts in cents, printed by `money`; the date as the layout prints it."""

    number: str = "F-2026-117"
    type_code: str = "380"
    profile: str = "en16931"
    name: str = "Moulins Durand SA"
    without: int = 102880
    vat: int = 20576
    issued: str = "20261127"

    @property
    def total(self) -> int:
        return self.without + self.vat

    def xml(self) -> bytes:
        made = invoice_xml(
            self.number,
            type_code=self.type_code,
            profile=self.profile,
            seller_siren=SELLER,
            buyer_siren=CLIENT,
            seller_name=self.name,
            buyer_name="Boulangerie Martin",
            issued=self.issued,
        )
        for old, new in ((b">240.00<", self.total), (b">40.00<", self.vat), (b">200.00<", self.without)):
            made = made.replace(old, f">{new // 100}.{new % 100:02d}<".encode())
        return made


def money(cents: int, group: str = " ", point: str = ",") -> str:
    return f"{cents // 100:,}".replace(",", group) + f"{point}{cents % 100:02d}"


def sums(bill: Bill, group: str = " ", point: str = ",", unit: str = " €", before: str = "") -> list[str]:
    amounts = (bill.without, bill.vat, bill.total)
    labels = ("Total HT", "TVA 20 %", "Total TTC")
    return [
        f"{label} : {before}{money(cents, group, point)}{unit}" for label, cents in zip(labels, amounts, strict=True)
    ]


def spaced(digits: str) -> str:
    return " ".join(digits[at : at + 3] for at in range(0, 9, 3)) + (" " + digits[9:] if len(digits) > 9 else "")


HEAD = ("MOULINS DURAND", "2 rue du Port 35000 Rennes", f"SIREN {spaced(SELLER)}")
BUYER = ("Boulangerie Martin", f"SIRET {siret_of(CLIENT)}", "1 rue du Four 75001 Paris")


def page(
    lines: Sequence[str], *, glyphs: bool = False, rotate: int = 0, shuffled: bool = False, pages: int = 1
) -> bytes:
    """A PDF of these lines. glyphs: each placed by itself. shuffled: drawn in another order than they are read."""
    pdf = Pdf.new()
    narrow = "begincmap 1 begincodespacerange <00> <FF> endcodespacerange\n"
    narrow += "2 beginbfrange <20> <7E> <0020> <A0> <FF> <00A0> endbfrange\n"
    narrow += "2 beginbfchar <80> <20AC> <81> <202F> endbfchar endcmap"
    font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Courier, Encoding=Name.WinAnsiEncoding)
    font.ToUnicode = pdf.make_stream(narrow.encode())
    resources = Dictionary(Font=Dictionary(F1=pdf.make_indirect(font)))
    size = -(-len(lines) // pages)
    for start in range(0, len(lines), size):
        places = list(enumerate(lines[start : start + size]))
        drawn = places[1::2] + places[::2] if shuffled else places
        content = b"".join(_line(row, text, glyphs) for row, text in drawn)
        leaf = Dictionary(Type=Name.Page, MediaBox=[0, 0, 595, 842], Resources=resources, Rotate=rotate)
        leaf.Contents = pdf.make_stream(content)
        pdf.pages.append(pikepdf.Page(pdf.make_indirect(leaf)))
    out = io.BytesIO()
    pdf.save(out, deterministic_id=True)
    return out.getvalue()


def _line(row: int, text: str, glyphs: bool) -> bytes:
    pieces = [(at, each) for at, each in enumerate(text) if each != " "] if glyphs else [(0, text)]
    return b"".join(
        b"BT /F1 10 Tf 1 0 0 1 %d %d Tm <%s> Tj ET\n"
        % (
            40 + 6 * at,
            800 - 16 * row,
            piece.replace(NARROW, "\x81").replace("€", "\x80").encode("latin-1").hex().encode(),
        )
        for at, piece in pieces
    )


def stripped(facturx: bytes) -> bytes:
    """The same pages without XML and XMP: the PDF that the platform makes the Factur-X from."""
    with pikepdf.open(io.BytesIO(facturx)) as pdf:
        for key in ("/Names", "/AF", "/Metadata"):
            if key in pdf.Root:
                del pdf.Root[key]
        out = io.BytesIO()
        pdf.save(out, deterministic_id=True)
    return out.getvalue()


@dataclass(frozen=True)
class Hybrid:
    """A Factur-X and the PDF that is its original."""

    facturx: bytes
    original: bytes
    names: tuple[str, str] = ("facture.pdf", "piece.pdf")


def _of(bill: Bill, lines: Sequence[str], **how: object) -> Hybrid:
    return Hybrid(facturx_pdf(bill.xml(), text=HYBRID), page(lines, **how))  # type: ignore[arg-type]


def _same_pages(bill: Bill, lines: Sequence[str]) -> Hybrid:
    made = facturx_pdf(bill.xml(), text="\n".join(lines))
    return Hybrid(made, stripped(made))


def _scan(names: tuple[str, str], bill: Bill) -> Hybrid:
    return Hybrid(facturx_pdf(bill.xml(), text=HYBRID), plain_pdf(""), names)


B = Bill()
CREDIT = replace(B, type_code="381", number="AV-2026-9")
DEPOSIT = replace(B, type_code="386", number="AC-2026-4")
FREE = replace(B, without=95000, vat=0)
SMALL = replace(B, number="117")
FR = (*HEAD, *BUYER, "FACTURE N° F-2026-117", "Date : 27/11/2026")
LEGAL = (
    "Commande n° C-55 du 02/11/2026",
    "Bon de livraison BL-889",
    "Suivant devis D-2026-12",
    "Farine T65, sac 2 514,40 1 028,80",
    "Acompte verse : 0,00",
    "Pénalités de retard : trois fois le taux légal, sans qu'un rappel soit nécessaire.",
    "Indemnité forfaitaire pour frais de recouvrement : 40,00 €. Frais de relance : néant.",
    "SA au capital de 50 000,00 € - RCS Rennes 552 100 554 - N° TVA FR96 552 100 554",
    "Conditions générales de vente au verso. IBAN FR76 3000 4000 0300 0000 0000 143",
)

LINE = "F-2026-117 du 27/11/2026"
ORIGINALS: dict[str, Callable[[], Hybrid]] = {
    "blank between thousands": lambda: _of(B, [*FR, *sums(B)]),
    "no-break space between thousands": lambda: _of(B, [*FR, *sums(B, NBSP, unit=NBSP + "€")]),
    "narrow no-break space between thousands": lambda: _of(B, [*FR, *sums(B, NARROW, unit=NARROW + "€")]),
    "dot between thousands": lambda: _of(B, [*FR, *sums(B, ".")]),
    "nothing between thousands": lambda: _of(B, [*FR, *sums(B, "")]),
    "English amounts": lambda: _of(B, [*FR, *sums(B, ",", ".")]),
    "apostrophe between thousands": lambda: _of(B, [*FR, *sums(B, "'", ".")]),
    "currency before": lambda: _of(B, [*FR, *sums(B, unit="", before="EUR ")]),
    "no currency": lambda: _of(B, [*FR, *sums(B, unit="")]),
    "whole euros": lambda: _of(FREE, [*FR, "Total HT 950 €", "TVA non applicable, art. 293 B du CGI", "Net 950 €"]),
    "no VAT": lambda: _of(FREE, [*FR, "TVA non applicable, art. 293 B du CGI", "Net à payer 950,00 €"]),
    "date in words": lambda: _of(B, [*HEAD, "Facture F-2026-117 du 27 novembre 2026", *sums(B)]),
    "date with dots and two digits": lambda: _of(B, [*HEAD, "Facture F-2026-117", "Le 27.11.26", *sums(B)]),
    "date with hyphens": lambda: _of(B, [*HEAD, "Facture F-2026-117", "Le 27-11-2026", *sums(B)]),
    "ISO date": lambda: _of(B, [*HEAD, "Facture F-2026-117", "Date 2026-11-27", *sums(B)]),
    "English": lambda: _of(B, [*HEAD, "INVOICE F-2026-117", "November 27, 2026", *sums(B, ",", ".")]),
    "English, day first": lambda: _of(B, [*HEAD, "Invoice No. F-2026-117", "27th November 2026", *sums(B, ",", ".")]),
    "German": lambda: _of(B, [*HEAD, "Rechnung Nr. F-2026-117", "27. November 2026", *sums(B, ".")]),
    "first of the month": lambda: _of(
        replace(B, issued="20261201"), [*HEAD, "Facture F-2026-117", "1er décembre 2026", *sums(B)]
    ),
    "seller by SIRET": lambda: _of(B, [f"SIRET {spaced(siret_of(SELLER))}", *FR[3:], *sums(B)]),
    "seller by VAT number": lambda: _of(B, [f"TVA FR {vat_of(SELLER)[2:4]} {spaced(SELLER)}", *FR[3:], *sums(B)]),
    "seller by name": lambda: _of(B, ["Moulins DURAND", *FR[3:], *sums(B)]),
    "seller by name with accents": lambda: _of(
        replace(B, name="Épicerie Générale & Fils SARL"), ["EPICERIE GENERALE ET FILS", *FR[2:], *sums(B)]
    ),
    "each glyph by itself": lambda: _of(B, [*FR, *sums(B)], glyphs=True),
    "turned by 90 degrees": lambda: _of(B, [*FR, *sums(B)], rotate=90),
    "turned upside down": lambda: _of(B, [*FR, *sums(B)], rotate=180),
    "drawn in another order": lambda: _of(B, [*FR, *sums(B)], shuffled=True),
    "two pages": lambda: _of(B, [*FR, *LEGAL, *sums(B)], pages=2),
    "legal mentions and references": lambda: _of(B, [*FR, *LEGAL, *sums(B)]),
    "labels in a row, values below": lambda: _of(
        B,
        [
            *HEAD,
            "FACTURE",
            "Numéro Date Client",
            "F-2026-117 27/11/2026 C-12",
            "HT TVA TTC",
            "1 028,80 205,76 1 234,56",
        ],
    ),
    "number of three digits": lambda: _of(SMALL, [*HEAD, "Facture n° 117", "27/11/2026", *sums(B)]),
    "part paid": lambda: _of(B, [*FR, *sums(B), "Acompte reçu 234,56 €", "Net à payer 1 000,00 €"]),
    "total with VAT only": lambda: _of(
        B, ["MOULINS DURAND", "Facture F-2026-117 du 27/11/2026", "Total TTC 1 234,56 EUR"]
    ),
    "credit note": lambda: _of(CREDIT, [*HEAD, "AVOIR AV-2026-9", "du 27/11/2026", *sums(B, before="-")]),
    "credit note, another heading": lambda: _of(
        CREDIT, [*HEAD, "Facture d'avoir n° AV-2026-9", "27/11/2026", *sums(B)]
    ),
    "prepayment invoice": lambda: _of(DEPOSIT, [*HEAD, "FACTURE D'ACOMPTE AC-2026-4", "27/11/2026", *sums(B)]),
    "corrected invoice": lambda: _of(
        replace(B, type_code="384"), [*HEAD, "FACTURE RECTIFICATIVE F-2026-117", "27/11/2026", *sums(B)]
    ),
    "self-billed": lambda: _of(replace(B, type_code="389"), [*HEAD, "Autofacture F-2026-117", "27/11/2026", *sums(B)]),
    "profile MINIMUM": lambda: _of(replace(B, profile="minimum"), [*FR, *sums(B)]),
    "profile BASIC WL": lambda: _of(replace(B, profile="basicwl"), [*FR, *sums(B)]),
    "title behind the seller": lambda: _of(B, ["Moulins Durand FACTURE", "N° F-2026-117", "Date 27/11/2026", *sums(B)]),
    "order before the title": lambda: _of(B, [*HEAD, "Commande : C-55", f"Facture {LINE}", *sums(B)]),
    "terms before the title": lambda: _of(
        B, [*HEAD, "Conditions de règlement : 30 jours", f"FACTURE {LINE}", *sums(B)]
    ),
    "prepayment deducted": lambda: _of(B, [*HEAD, f"Facture {LINE}", "Acompte du 01/11/2026 : 100,00", *sums(B)]),
    "marked as paid": lambda: _of(B, [*HEAD, f"FACTURE ACQUITTÉE {LINE}", *sums(B)]),
    "paid on the day": lambda: _of(B, [*HEAD, f"FACTURE {LINE}", *sums(B), "Payée le 27/11/2026 par CB"]),
    "clause on delay": lambda: _of(
        B, [*HEAD, f"FACTURE {LINE}", *sums(B), "En cas de retard de paiement, pénalités. Relance facturée 15,00 €"]
    ),
    "fees": lambda: _of(B, [*HEAD, "NOTE D'HONORAIRES N° F-2026-117", "Paris, le 27 novembre 2026", *sums(B)]),
    "delivery note named": lambda: _of(
        B, [*HEAD, "Facture N° F-2026-117", "BL N° 889", "Date facture 27/11/2026", *sums(B)]
    ),
    "amounts in a row": lambda: _of(B, [*HEAD, f"Facture {LINE}", "Total HT TVA TTC", "1028,80 205,76 1234,56"]),
    "VAT table": lambda: _of(
        B,
        [
            *HEAD,
            f"Facture {LINE}",
            "Base HT 1 028,80 Taux 20,00% TVA 205,76",
            "Net à payer TTC : 1 234,56 €",
            "Total TTC 1 234,56 €",
        ],
    ),
    "amount in words": lambda: _of(
        B, [*HEAD, f"Facture {LINE}", *sums(B), "Arrêtée la présente facture à mille deux cent trente-quatre euros"]
    ),
    "reference to repeat": lambda: _of(
        B, [*HEAD, f"Facture {LINE}", "Rappeler la référence F-2026-117 lors du paiement", *sums(B)]
    ),
    "recalled mention": lambda: _of(B, [*HEAD, f"Facture {LINE}", *sums(B), "Rappel : TVA acquittée sur les débits"]),
    "certificate named": lambda: _of(
        B, [*HEAD, f"Facture {LINE}", *sums(B), "Attestation TVA réduite remise le 02/11/2026"]
    ),
    "annex named": lambda: _of(B, [*HEAD, f"Facture {LINE}", *sums(B), "Annexe : relevé d'heures"]),
    "replaced invoice named": lambda: _of(B, [*HEAD, f"Facture {LINE}", "Remplace la facture F-2026-101", *sums(B)]),
    "credit note deducted": lambda: _of(B, [*HEAD, f"Facture {LINE}", "Avoir AV-12 déduit : 0,00", *sums(B)]),
    "labels with colons": lambda: _of(
        B, [*HEAD, "FACTURE", "Numéro : F-2026-117", "Date d'émission : 27/11/2026", *sums(B)]
    ),
    "delivery address first": lambda: _of(
        B,
        [
            "Boulangerie Martin",
            "Livraison : Boulangerie Martin 75001 Paris",
            "Moulins Durand",
            f"Facture {LINE}",
            *sums(B),
        ],
    ),
    "delivered to": lambda: _of(B, ["Livré à :", "Boulangerie Martin", "Moulins Durand", f"Facture {LINE}", *sums(B)]),
    "delivery address in capitals": lambda: _of(
        B, [*HEAD, "ADRESSE DE LIVRAISON", "BOULANGERIE MARTIN", f"FACTURE {LINE}", *sums(B)]
    ),
    "order in capitals": lambda: _of(
        B, [*HEAD, "VOTRE COMMANDE : C-55", "N° BON DE COMMANDE : C-5", f"FACTURE {LINE}", *sums(B)]
    ),
    "contract named": lambda: _of(B, [*HEAD, "Contrat : 4711", f"Facture {LINE}", *sums(B)]),
    "quote named": lambda: _of(B, [*HEAD, "Devis : D-12", f"Facture {LINE}", *sums(B)]),
    "duplicate": lambda: _of(B, ["DUPLICATA", *FR, *sums(B)]),
    "same pages": lambda: _same_pages(B, [*FR, *LEGAL, *sums(B)]),
    "same pages, the seller a picture": lambda: _same_pages(B, [*BUYER, "Facture F-2026-117 27/11/2026", *sums(B)]),
    "same pages, prepayment as 380": lambda: _same_pages(
        B, [*HEAD, "FACTURE D'ACOMPTE F-2026-117", "27/11/2026", *sums(B)]
    ),
    "scan named after the number": lambda: _scan(("F-2026-117_facturx.pdf", "F-2026-117.pdf"), B),
    "scan named after the supplier": lambda: _scan(("Facture Durand.pdf", "facture durand (1).PDF"), B),
    "scan named original": lambda: _scan(("2026-11 farine.pdf", "original_2026-11 farine.pdf"), B),
}

OTHERS: dict[str, Sequence[str]] = {
    "time sheet": ["RELEVE D'HEURES - annexe", "Joint à la facture F-2026-117", "12 h à 16,67 EUR", "Signature :"],
    "time sheet with all facts": [*HEAD, "Feuille de temps", "Facture F-2026-117 27/11/2026", *sums(B)],
    "delivery note": ["BON DE LIVRAISON BL-889", "Facture F-2026-117", "12 sacs de farine", "Reçu le : ____"],
    "delivery note with prices": [*HEAD, "Bon de livraison BL-889", f"Facture {LINE}", *sums(B)],
    "delivery note, seller in the same line": [
        "MOULINS DURAND - BON DE LIVRAISON BL-889",
        f"Facture {LINE}",
        *sums(B),
    ],
    "credit note": [*HEAD, "AVOIR AV-2026-9", "Annule et remplace la facture F-2026-117", "27/11/2026", *sums(B)],
    "credit note of the same number": [*HEAD, f"Avoir {LINE}", *sums(B)],
    "reminder": [*HEAD, "RELANCE", f"Facture {LINE}", *sums(B)],
    "second reminder": [*HEAD, "2ème rappel", f"Facture {LINE}", *sums(B)],
    "reminder, the invoice first": [*HEAD, f"Facture {LINE} - RELANCE N° 2", *sums(B)],
    "reminder as a letter": [*HEAD, f"Objet : facture {LINE}", "Nous vous rappelons que reste dû :", *sums(B)],
    "unpaid": [*HEAD, f"Facture {LINE}", *sums(B), "Sauf erreur de notre part, ce montant reste impayé."],
    "formal notice": [*HEAD, "MISE EN DEMEURE", f"Facture {LINE}", *sums(B)],
    "English reminder": [*HEAD, "Payment reminder", f"Invoice {LINE}", *sums(B)],
    "German reminder": [*HEAD, "Mahnung", f"Rechnung {LINE}", *sums(B)],
    "quote": [*HEAD, "DEVIS D-2026-12", f"Facture {LINE}", *sums(B)],
    "quote of the same number": [*HEAD, f"Devis {LINE}", *sums(B)],
    "pro forma": [*HEAD, f"FACTURE PRO FORMA {LINE}", *sums(B)],
    "pro forma, one word": [*HEAD, f"Facture proforma {LINE}", *sums(B)],
    "prepayment": ["FACTURE D ACOMPTE F-2026-090", "Voir facture de solde F-2026-117"],
    "prepayment of the same number": [*HEAD, f"Facture d'acompte {LINE}", *sums(B)],
    "order": [*HEAD, "BON DE COMMANDE C-55", f"Facture {LINE}", *sums(B)],
    "order confirmation": [*HEAD, "Confirmation de commande C-55", f"Facture {LINE}", *sums(B)],
    "certificate": ["ATTESTATION", "12 rue de Rivoli, 75001 Paris", "facture F-2026-117"],
    "certificate as a letter": [*HEAD, "Nous certifions avoir livré", f"Facture {LINE}", *sums(B)],
    "receipt": [*HEAD, "REÇU DE PAIEMENT", f"Facture {LINE}", *sums(B)],
    "receipt as a letter": [*HEAD, f"Facture {LINE}", "Nous avons bien reçu votre règlement.", *sums(B)],
    "remittance": [*HEAD, "Avis de virement", f"Facture {LINE}", *sums(B)],
    "payment slip": ["MOULINS DURAND", "Coupon à joindre", f"Facture {LINE}", "Total TTC 1 234,56 EUR"],
    "payment slip, the invoice first": [
        "MOULINS DURAND",
        "Facture F-2026-117 du 27/11/2026",
        "Total TTC 1 234,56 EUR",
        "A détacher et à retourner avec votre chèque",
    ],
    "account statement": [*HEAD, "Relevé de compte", f"Facture {LINE}", *sums(B)],
    "list of invoices": [
        *HEAD,
        "Factures du mois",
        "F-2026-116 100,00",
        "F-2026-117 27/11/2026 1 234,56",
        "Total 1 334,56",
    ],
    "several invoices": [
        *HEAD,
        "Factures",
        *(f"F-2026-11{n} 27/11/2026" for n in (6, 7)),
        *sums(B),
        "Total TTC 2 468,91",
    ],
    "terms of sale": ["Conditions générales de vente", "La facture F-2026-117 est soumise aux présentes."],
    "another seller": ["GARAGE LEBLANC", f"SIREN {spaced(STRANGER)}", "Facture F-2026-117 du 27/11/2026", *sums(B)],
    "another seller without identifier": ["GARAGE LEBLANC", "Facture F-2026-117 du 27/11/2026", *sums(B)],
    "another seller of the same name": [
        "MOULINS DURAND",
        f"RCS Paris {spaced(STRANGER)}",
        "Facture F-2026-117 du 27/11/2026",
        *sums(B),
    ],
    "another invoice": [*HEAD, "Facture B-2026-555 du 03/11/2026", "Total TTC 99,00 EUR"],
    "another invoice that names ours": [*HEAD, "Facture F-2026-118 du 27/11/2026", "suite à F-2026-117", *sums(B)],
    "a longer number": [*HEAD, "Facture F-2026-1170 du 27/11/2026", *sums(B)],
    "a number with a suffix": [*HEAD, "Facture F-2026-117-B du 27/11/2026", *sums(B)],
    "another total": [*HEAD, "Facture F-2026-117 du 27/11/2026", *sums(replace(B, without=90000, vat=18000))],
    "a total ten times as high": [
        *HEAD,
        "Facture F-2026-117 du 27/11/2026",
        *sums(replace(B, without=1028800, vat=205760)),
    ],
    "a total with more thousands": [*HEAD, "Facture F-2026-117 du 27/11/2026", "HT 1 028,80 TVA 205,76 TTC 21 234,56"],
    "another VAT": [*HEAD, "Facture F-2026-117 du 27/11/2026", "HT 1 028,80 € TVA 0,00 € TTC 1 234,56 €"],
    "another date": [*HEAD, "Facture F-2026-117 du 26/11/2026", *sums(B)],
    "no date": [*HEAD, "Facture F-2026-117", *sums(B)],
    "the number only": ["F-2026-117"],
    "the number and the total": ["Facture F-2026-117", "Total 1 234,56"],
    "log of an intervention": [*HEAD, "Fiche d'intervention", f"Facture {LINE}", *sums(B)],
    "packing list": [*HEAD, "Packing list", f"Invoice {LINE}", *sums(B)],
    "contract": [*HEAD, "CONTRAT DE MAINTENANCE", f"Facture {LINE}", *sums(B)],
    "delivery note, the seller before it": ["Moulins Durand  Bon de livraison", f"Facture {LINE}", *sums(B)],
    "reminder, the seller before it": ["Moulins Durand Relance client", f"Facture {LINE}", *sums(B)],
    "reminder, polite": [
        *HEAD,
        "Madame, Monsieur,",
        "A ce jour, et sauf oubli de votre part, nous n'avons pas reçu le règlement de la",
        f"facture {LINE}.",
        *sums(B),
    ],
    "reminder, matter of fact": [
        *HEAD,
        f"Objet : votre facture {LINE}",
        "Nous constatons que la facture citée en objet n'est toujours pas réglée.",
        *sums(B),
    ],
    "covering letter, headed": [
        *HEAD,
        "Courrier d'accompagnement",
        f"Veuillez trouver ci-joint la facture {LINE}",
        *sums(B),
    ],
    "covering letter": [
        *HEAD,
        "Madame, Monsieur,",
        f"Veuillez trouver ci-joint notre facture {LINE}, d'un montant de :",
        *sums(B),
        "Cordialement",
    ],
    "due dates": [*HEAD, "ÉCHÉANCIER", f"Facture {LINE}", *sums(B)],
    "payment plan": [*HEAD, "Plan de paiement", f"Facture {LINE}", *sums(B)],
    "table of due dates": [*HEAD, "Tableau d'échéances", f"Facture {LINE}", *sums(B)],
    "final account": [*HEAD, "Décompte définitif", f"Facture {LINE}", *sums(B)],
    "direct debit mandate": [*HEAD, "Autorisation de prélèvement", f"Facture {LINE}", *sums(B)],
    "warranty": [*HEAD, "CERTIFICAT DE GARANTIE", f"Facture {LINE}", *sums(B)],
    "assignment of a claim": [*HEAD, "Acte de cession de créance", f"Facture {LINE}", *sums(B)],
    "subrogation receipt": [*HEAD, "Quittance subrogative", f"Facture {LINE}", *sums(B)],
    "photographs": [*HEAD, "Photos du chantier", f"Facture {LINE}", *sums(B)],
    "details of hours": [*HEAD, "Détail des heures", f"Facture {LINE}", *sums(B)],
    "annex to the invoice": [*HEAD, "Annexe à la facture F-2026-117 du 27/11/2026", *sums(B)],
    "supporting document": [*HEAD, "Pièce justificative", f"Facture {LINE}", *sums(B)],
    "complaint": [*HEAD, "Réclamation", f"Facture {LINE}", *sums(B)],
    "contestation": [*HEAD, "Contestation de facture", f"Facture {LINE}", *sums(B)],
    "payment approval": [*HEAD, "Bon à payer", f"Facture {LINE}", *sums(B)],
    "card slip": [*HEAD, "Ticket CB", f"Facture {LINE}", *sums(B)],
    "transfer order": [*HEAD, "Ordre de virement", f"Facture {LINE}", *sums(B)],
    "printed message": [
        "De : compta@durand.fr",
        "Objet : Facture F-2026-117",
        "Envoyé : 27/11/2026",
        "Moulins Durand",
        *sums(B),
    ],
    "third reminder": [*HEAD, "3e rappel avant contentieux", f"Facture {LINE}", *sums(B)],
    "friendly reminder": [*HEAD, "Lettre de rappel amiable", f"Facture {LINE}", *sums(B)],
    "journal": [*HEAD, "Journal", "F-2026-117 27/11/2026", *sums(B)],
    "last notice": [*HEAD, "DERNIER AVIS AVANT POURSUITES", f"Facture {LINE}", *sums(B)],
    "English statement of account": [*HEAD, "STATEMENT OF ACCOUNT", f"Invoice {LINE}", *sums(B)],
    "purchase order": [*HEAD, "PURCHASE ORDER 55", f"Invoice {LINE}", *sums(B)],
    "debit note": [*HEAD, "NOTE DE DÉBIT", f"Facture {LINE}", *sums(B)],
    "acknowledgement": [*HEAD, "Accusé de réception", f"Facture {LINE}", *sums(B)],
    "quote with the number in brackets": [*HEAD, "Devis n° D-12 (facture F-2026-117)", "27/11/2026", *sums(B)],
    "progress statement": [*HEAD, "SITUATION DE TRAVAUX N° 3", f"Facture {LINE}", *sums(B)],
    "company register extract": ["Extrait Kbis", "Moulins Durand", f"Facture {LINE}", *sums(B)],
    "bank details": [*HEAD, "RELEVÉ D'IDENTITÉ BANCAIRE", f"Facture {LINE}", *sums(B)],
    "social security certificate": [*HEAD, "Attestation de vigilance", f"Facture {LINE}", *sums(B)],
    "amount that remains due": ["MOULINS DURAND", f"Facture {LINE}", "Reste dû 1 234,56 €"],
    "request for payment": [
        "MOULINS DURAND",
        f"Facture {LINE}",
        "Total TTC 1 234,56 €",
        "Merci de régler sous huitaine",
    ],
}


def removed(parts: Sequence[tuple[str, bytes]], *, button: bool = False, always_paired: bool = False) -> list[str]:
    """Names of the documents that the relay removes from a message with these PDFs."""
    decision = decided(
        mails.mail([mails.text(), *(mails.pdf(pdf, name) for name, pdf in parts)]), button, always_paired
    )
    return [each.filename for plan in decision.plans for each in plan.documents if each.action is Action.REMOVE]


def decided(raw: bytes, button: bool = False, always_paired: bool = False) -> Decision:
    """The decision on a raw message to Boulangerie Martin, its documents really checked (level structure)."""
    message = parse(raw)
    candidates = [
        Candidate(raw[each.body[0] : each.body[1]], each.encoding, each.filename or "", each.media_type)
        for each in message.attachments
    ]
    reports = inspect(candidates, Options(level="structure"))
    said = {"clients": {"martin": {"original_pdf": button}}, "check": {"always_paired": always_paired}}
    directory = Directory(terms(said))
    envelope = Envelope("platform@jefacture.com", (Recipient("martin@export.test"),))
    return decide(envelope, message, reports, directory, queue_id="Q1", arrived=0.0, received=RECEIVED)
