"""What a document calls itself: the kind that its heading names and the number that it announces as its own.

On folded text (`page.fold`). French first, then English and German: the languages that invoices here are written in.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum

from relay.facturx.page_text import DATE, PageText
from relay.inspection import CREDIT_NOTES

MAX_LINES = 400
SHORT_LINE = 10
"""Words of a line whose capitals may be a heading."""


class Heading(StrEnum):
    """Kinds of documents as far as they matter here. OTHER: no invoice at all."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit-note"
    DEPOSIT = "deposit"
    OTHER = "other"


DEPOSITS = frozenset({"386", "500"})

_OF = r"(?: d'? ?| de | )"
_CREDIT = (
    rf"(?:factures?{_OF})?avoirs?\b|notes? de credit\b|credit (?:note|memo)\b|(?:storno|gut)(?:schrift|rechnung)\b"
)
_DEPOSIT = (
    rf"(?:(?:factures?|demandes?){_OF})?acomptes?\b|(?:factures?|demandes?){_OF}provisions?\b|prepayment\b"
    r"|(?:deposit|advance) (?:invoice|payment)\b|down payment\b|(?:anzahlung|abschlag)s?(?:s?rechnung)?\b"
)
_DUNNING = (
    r"(?:lettre de )?relances?\b|(?:lettre de )?rappels?\b(?! ?:(?!.*factur))"
    r"|(?:[0-9](?:er|e|eme|nd)?|premier|deuxieme|second|dernier) "
    r"(?:rappel|avis|relance)\b|(?:avis|mise) (?:de |en )?(?:non.paiement|demeure|retard)|impayes?\b|mahnung\b"
    r"|zahlungserinnerung\b|(?:payment |final |overdue )?reminder\b|(?:final|overdue) notice\b|dunning\b"
)
_PROFORMA = r"(?:factures? |invoices? )?pro ?-?forma\b|proforma.?rechnung\b"
_ABOUT = (
    r"(?!(?:adresses?|arrete|conditions?|copie|dates?|devise|duplicata|echeance|emission|lignes?|montant|n[o°.]*|net|nr"
    r"|num(?:ero)?|objet|original|paiement|periode|ref(?:erence)?s?|reglement|total|type)\b)[a-z]{3,20}"
    r" (?:a|au|aux|de|du|des|d'|sur) ?(?:la |les |l'|votre |notre |vos )?(?:factures?|invoices?)\b"
)
_OTHER = (
    r"devis\b(?! ?:)|offres? (?:de prix|commerciale)|proposition commerciale|quot(?:e|ation)\b|estimate\b|angebot\b"
    r"|bons? de commande\b(?! ?:)"
    r"|(?:bon|bordereau|bulletin|note|avis|preuve|confirmation|certificat)s? (?:de |d'? ?)"
    r"(?:livraison|commandes?\b(?! ?:)|reception|expedition|enlevement|retour|intervention|travail"
    r"|transport|remise|paiement|virement|preparation|passage|depot)"
    r"|(?:commande|livraison|reception)s?\b(?= *(?:n[o°]|#|$))|bons? a payer|bons? pour accord"
    r"|ordre de (?:service|mission)"
    r"|bordereaux?\b|delivery (?:note|slip)|packing (?:list|slip)|lieferschein\b|auftragsbestatigung\b|bestellung\b"
    r"|(?:purchase |sales |work )?orders?\b(?= *(?:n[o°]|#|[0-9]|confirm|acknowl|$))"
    r"|order confirmation|liste de colisage"
    r"|attestations?\b|certificats?\b|certificates?\b|bescheinigung\b|je soussigne|nous soussignes"
    r"|releves?\b|(?:account |bank )?statements?\b|kontoauszug\b|etat (?:de|des|recapitulatif)|recapitulatif"
    r"|recap\b|journal d|balance (?:agee|client)|grand livre|echeancier|extrait de compte"
    r"|(?:feuilles?|fiches?|comptes?.rendus?|rapports?|suivis?|proces.verba(?:l|ux)|pv) (?:de |d'? ?)"
    r"|compte rendu|time ?sheets?\b|stundenzettel\b|annexes?\b|appendix\b|attachment\b|anlage\b"
    r"|recus?\b(?= *(?:n[o°]|de |:|$))|quittances?\b|receipts?\b|quittung\b|justificatifs?\b|ticket de caisse"
    r"|accuses? de|avis d|remittance|payment advice|ordre de virement|mandat\b|contrats?\b(?! ?:)|contract\b|vertrag\b"
    r"|conventions?\b|conditions (?:generales|particulieres)|general terms|terms and conditions|cgv\b|notices? "
    r"|(?:talon|coupon|papillon|titre interbancaire|tip)\b|note de (?:frais|debit|service)|lettre de (?:voiture|change)"
    r"|plans? de |tableaux? d|decompte|autorisation d|acte de |photos?\b|details? (?:de|du|des)\b|reclamation|litige"
    r"|contestation|pieces? justificatives?|ticket\b|situation d|extrait\b|k-?bis\b|garantie\b|dossier\b|synthese"
    rf"|{_ABOUT}"
    r"|cmr\b|courrier\b|demande de (?:prix|paiement|devis|reglement)|courriel\b"
)
_INVOICE = (
    r"factures?\b|facturation\b|autofactur\w*|(?:tax |commercial |sales )?invoices?\b|\w*rechnung(?:skorrektur)?\b"
    r"|notes? d'? ?honoraires|memoire de travaux|bill\b"
)

_LEAD = r"^[^a-z0-9]*(?:(?:votre|notre|vos|nos|la|le|l'|your|our|ihre|unsere|duplicata|copie|copy|original)\W+){0,2}"
_KINDS = (
    (Heading.OTHER, re.compile(rf"{_LEAD}(?:{_PROFORMA}|{_DUNNING})")),
    (Heading.CREDIT_NOTE, re.compile(rf"{_LEAD}(?:{_CREDIT})")),
    (Heading.DEPOSIT, re.compile(rf"{_LEAD}(?:{_DEPOSIT})")),
    (Heading.OTHER, re.compile(rf"{_LEAD}(?:{_OTHER})")),
    (Heading.INVOICE, re.compile(rf"{_LEAD}(?:{_INVOICE})")),
)
_SEPARATOR = re.compile(r" [-|•*/] ")
_NO_REFERENCE = "".join(
    rf"(?<!\b{word} )"
    for word in (
        "n[°o]",
        "no[.]",
        "ref",
        "ref[.]",
        "num",
        "selon",
        "suivant",
        "votre",
        "vos",
        "sur",
        "au",
        "du",
        "par",
        "de",
        "la",
        "en",
    )
)
_TITLES = tuple(
    (kind, re.compile(rf"{_NO_REFERENCE}\b(?:{names})"))
    for kind, names in (
        (Heading.OTHER, f"{_PROFORMA}|{_DUNNING}"),
        (Heading.CREDIT_NOTE, _CREDIT),
        (Heading.DEPOSIT, _DEPOSIT),
        (Heading.OTHER, _OTHER),
        (Heading.INVOICE, _INVOICE),
    )
)
_WITHIN = re.compile(rf"\b(?:{_PROFORMA}|{_DUNNING}|recu\b)")
_ANYWHERE = re.compile(rf"\b(?:{_CREDIT}|{_DEPOSIT}|{_PROFORMA}|{_DUNNING}|{_OTHER})")
_DUNNED = re.compile(
    rf"{_LEAD}(?:{_PROFORMA}|{_DUNNING})(?! soit)|\b(?:nous vous rappelons|reste(?:nt)? impaye|demeure(?:nt)? impaye"
    r"|sauf erreur (?:ou omission )?de notre part|ne (?:vaut|valent|constitue) pas (?:une )?facture"
    r"|n'est pas une facture|(?:is|as) not an? (?:tax )?invoice|nous avons bien recu votre (?:reglement|paiement)"
    r"|(?:atteste|attestons|certifie|certifions|soussigne[es]*)\b|veuillez trouver|vous trouverez|ci-joint"
    r"|n'(?:avons|ai) (?:pas|toujours pas|a ce jour pas) recu"
    r"|(?:pas|jamais) (?:ete )?(?:reglee?s?|payee?s?|honoree?s?)\b"
    r"|sauf (?:oubli|erreur)|(?:reste|restant|solde) du\b|nous constatons|nous contestons"
    r"|madame, ?monsieur|cordialement"
    r"|please find|we have not received|outstanding|bitte uberweisen sie umgehend|mit freundlichen)"
    r"|^(?:objet|subject|concerne|re|tr|fwd?|betreff) ?:.*(?:factur|invoice|rechnung)"
    r"|^(?:de|from|von|envoye|sent) ?:.*@"
)

_LABEL = r"(?:n[°o.]+|no\b|nr\b|num(?:ero|ber)?\b|ref(?:erence)?\b|id\b|[#:.\-–|])"
_TITLE = rf"(?:{_CREDIT}|{_DEPOSIT}|{_PROFORMA}|{_INVOICE})(?: (?:client|commerciale|fournisseur|de vente|originale?))?"
_ANNOUNCED = re.compile(rf"{_LEAD}(?:{_TITLE}) *(?:\([^)]*\) *)?(?:{_LABEL} *){{0,4}}(?P<rest>[^ ].*)$")
_LABELLED = re.compile(
    r"(?:\bn[°o.]+ *|\bno |\bnum(?:ero)? *)(?:de +)?(?:la +)?(?:facture|avoir) *:? *(?P<a>\S.*)$"
    r"|\binvoice +(?:no\b|number\b|num\b|nr\b|#)[.: #]*(?P<b>\S.*)$"
    r"|\b(?:rechnungs-? ?(?:nummer|nr\b))[.: ]*(?P<c>\S.*)$"
)


def kind_of(page: PageText, names: Collection[str] = ()) -> Heading | None:
    """By the first line in which the name of a kind of document stands at the start, after a dash, or in capitals.

    None when there is no such line. names: folded, of the parties; what stands behind one stands at the start.
    """
    capitals = page.capitals or ("",) * len(page.lines)
    named = "|".join(re.escape(each) for each in names)
    head = re.compile(rf"^(?:{named})\b(?: (?:s\.?a\.?(?:s|rl|su)?|eurl|gmbh|ltd)\b)?[^a-z0-9]*" if named else r"(?!)")
    lines = ((head.sub("", line), caps) for line, caps in zip(page.lines[:MAX_LINES], capitals, strict=False))
    return next((kind for line, caps in lines if (kind := _kind(line, caps)) is not None), None)


def kind_of_type(type_code: str | None) -> Heading:
    """What an invoice of this type (BT-3) is headed."""
    if type_code in CREDIT_NOTES:
        return Heading.CREDIT_NOTE
    return Heading.DEPOSIT if type_code in DEPOSITS else Heading.INVOICE


def dunning(page: PageText) -> frozenset[str]:
    """The sentences and headings, wherever they stand, with which a document says that it is no invoice."""
    return frozenset(match.group() for line in page.lines for match in _DUNNED.finditer(line))


def names_another(page: PageText, kinds: Collection[Heading]) -> bool:
    """Is a kind of document that is none of `kinds` named anywhere, in whatever connection?"""
    own = [pattern for kind, pattern in ((Heading.CREDIT_NOTE, _CREDIT), (Heading.DEPOSIT, _DEPOSIT)) if kind in kinds]
    found = (match.group() for line in page.lines for match in _ANYWHERE.finditer(line))
    return any(not any(re.match(pattern, each) for pattern in own) for each in found)


def announced(page: PageText) -> tuple[str, ...]:
    """The numbers that lines of the form `Facture n° F-1` give the document, each with what follows it."""
    return tuple(_numbers((_ANNOUNCED,), page.lines[:MAX_LINES]))


def labelled(page: PageText) -> tuple[str, ...]:
    """What stands behind `N° de facture`, `Invoice number` and the like, anywhere."""
    return tuple(_numbers((_LABELLED,), page.lines[:MAX_LINES]))


def begins_with(rest: str, number: str) -> bool:
    """Does `rest` begin with this number (folded), and not with a longer one? Blanks do not count."""
    wanted, place = "".join(number.split()), 0
    for at, character in enumerate(rest):
        if place == len(wanted):
            return not re.match(r"[a-z0-9]|[-/_.][a-z0-9]", rest[at:])
        if character == " ":
            continue
        if character != wanted[place]:
            return False
        place += 1
    return bool(wanted) and place == len(wanted)


def _kind(line: str, capitals: str) -> Heading | None:
    for piece in _SEPARATOR.split(line):
        for kind, pattern in _KINDS:
            if pattern.match(piece):
                return Heading.OTHER if kind is not Heading.OTHER and _WITHIN.search(line) else kind
    if len(line.split()) > SHORT_LINE:
        return None
    found = ((match.start(), kind) for kind, pattern in _TITLES if (match := pattern.search(capitals)))
    return min(found, default=(0, None))[1]


def _numbers(patterns: Sequence[re.Pattern[str]], lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        for pattern in patterns:
            match = pattern.search(line)
            rest = next((each for each in match.groupdict().values() if each), "") if match else ""
            first = rest.split(" ")[0]
            if any(each.isdigit() for each in first) and not _says_no_number(rest):
                yield rest


def _says_no_number(rest: str) -> bool:
    """A date, a page, an amount."""
    return DATE.match(rest) is not None or re.match(r"[0-9]{1,3} ?(?:/|sur|of) ?[0-9]{1,3}\b", rest) is not None
