"""Which plain PDF is the original of which Factur-X: the one that is that invoice, not one that mentions it.

Pairing is the licence to remove, so every doubt leaves a PDF unpaired: it is then kept. The evidence comes from the
check (`TextEvidence`); it is weighed here. What counts, from the strongest to the weakest:

1. alone, beside whatever else: its text is that of the Factur-X's own pages, or it states all that the invoice states:
   number, date, seller and the amounts; and it calls itself no other kind of document, number, seller or total;
2. where nothing else could be the original: its text announces this number as its own, states date, seller and total
   with VAT, and says nothing that the invoice does not; or it has no text (a scan) and the file name of the Factur-X.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from relay.inspection import Report, Term, TextEvidence
from relay.routing.trace_steps import Step

ALIKE = 0.9
"""Similarity from which the text of two documents is nearly the same; figures may not differ at all."""

_MARKS = re.compile(
    r"^(?:(?:factur-?_?x|zugferd|originale?|orig|copie|copy)[\s._-]+)+"
    r"|(?:[\s._-]+(?:factur-?_?x|fx|zugferd|originale?|orig|copie|copy)|\s*\(\d+\))+$"
)
_COMMON_TEXT = """
attachment copie copy doc document documents download export factur facture factures facturx fichier file fx image img
invoice invoices jointe la le ma mail message new note nouveau nouvelle original originale page pdf piece pieces pj
rechnung sans scan scanne scanner titre untitled upload votre vos x zugferd
"""
_COMMON = frozenset(_COMMON_TEXT.split())
_STATED = frozenset({Term.NUMBER, Term.KIND, Term.DATE, Term.SELLER, Term.WITH_VAT})
_UNPROVEN = (
    (Term.KIND, "lacks_kind"),
    (Term.DATE, "lacks_date"),
    (Term.SELLER, "lacks_seller"),
    (Term.WITH_VAT, "lacks_amounts"),
    (Term.WITHOUT_VAT, "lacks_amounts"),
    (Term.VAT, "lacks_amounts"),
)
_OTHERWISE = (
    (Term.KIND, "another_kind"),
    (Term.NUMBER, "another_number"),
    (Term.SELLER, "another_seller"),
    (Term.WITH_VAT, "another_total"),
    (Term.DATE, "another_date"),
)


class HasFacturX(Protocol):
    """An invoice, as far as pairing asks."""

    @property
    def facturx(self) -> int: ...


def pair(
    invoices: Sequence[HasFacturX],
    plain: Sequence[int],
    reports: Sequence[Report],
    names: Sequence[str],
    always_paired: bool = False,
) -> tuple[Mapping[int, tuple[int, ...]], tuple[Step, ...]]:
    """Originals by Factur-X (indexes of the attachments), and the evidence for each and against the others."""
    facturx = [invoice.facturx for invoice in invoices]
    strong, weak = _claims(facturx, plain, reports, names)
    pairs: dict[int, tuple[int, ...]] = {}
    steps: list[Step] = []
    for owner in facturx:
        alone, others = strong.get(owner, []), weak.get(owner, [])
        claimants = alone or others
        if not claimants:
            continue
        same = len({reports[each].sha256 for each in claimants}) == 1
        if same and all(alone or _suffices(each, owner, reports) for each in claimants):
            pairs[owner] = tuple(claimants)
            steps += [_how(owner, each, reports) for each in claimants]
        elif len(claimants) > 1:
            steps.append(Step("several_originals", ", ".join(str(each + 1) for each in claimants)))
    paired = {each for originals in pairs.values() for each in originals}
    only = always_paired and len(facturx) == 1 and len(plain) == 1 and not pairs
    if only and _not_contradicted(plain[0], facturx[0], reports):
        pairs[facturx[0]] = (plain[0],)
        return pairs, (Step("paired_by_setting", f"{plain[0] + 1} → {facturx[0] + 1}"),)
    steps += [step for each in plain if each not in paired for step in _why_not(each, facturx, reports)]
    return pairs, tuple(steps)


def stem(name: str) -> str:
    """A file name without folder, extension, case and what programs add to distinguish copies; "" when nothing is left.

    A name of common words only ("facture.pdf", "scan.pdf") identifies nothing.
    """
    plain = unicodedata.normalize("NFC", name).casefold().replace("\\", "/").rpartition("/")[2]
    plain = re.sub(r"\.[a-z0-9]{1,5}$", "", plain.strip())
    bare = _MARKS.sub("", plain)
    words = re.findall(
        r"[^\W_]+", "".join(c for c in unicodedata.normalize("NFD", bare) if not unicodedata.combining(c))
    )
    return "" if all(word in _COMMON for word in words) else bare


def is_that_invoice(evidence: TextEvidence) -> bool:
    """Is the text by itself proof that the document is the original, whatever else comes with it?"""
    if evidence.contradicted:
        return False
    if set(evidence.found) >= _STATED and not evidence.missing:
        return True
    alike = evidence.similarity >= ALIKE and Term.WITH_VAT in evidence.found
    return Term.NUMBER in evidence.found and evidence.same_figures and (alike or evidence.identical)


def says_nothing_else(evidence: TextEvidence) -> bool:
    """A short document that prints the total with VAT only, and is nothing but this invoice."""
    stated = set(evidence.found) >= _STATED and set(evidence.missing) <= {Term.WITHOUT_VAT, Term.VAT}
    return stated and evidence.announced and evidence.nothing_else and not evidence.contradicted


def _claims(
    facturx: Sequence[int], plain: Sequence[int], reports: Sequence[Report], names: Sequence[str]
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """By Factur-X: the PDFs that are its original by their text alone, and all that could be. One PDF claims one."""
    strong: dict[int, list[int]] = {}
    weak: dict[int, list[int]] = {}
    for index in plain:
        if reports[index].has_text is False:
            mine = stem(names[index])
            owners = [each for each in facturx if mine and stem(names[each]) == mine and _opens(reports[each])]
            _claim(weak, owners, index)
            continue
        of = {each: found for each in facturx if (found := _evidence(index, each, reports)) is not None}
        proven = [each for each, found in of.items() if is_that_invoice(found)]
        possible = [each for each, found in of.items() if {Term.NUMBER, Term.WITH_VAT} <= set(found.found)]
        _claim(strong, proven, index)
        if not proven:
            _claim(weak, [each for each in possible if not of[each].contradicted], index)
    return strong, weak


def _claim(claims: dict[int, list[int]], owners: Sequence[int], index: int) -> None:
    if len(owners) == 1:
        claims.setdefault(owners[0], []).append(index)


def _suffices(index: int, owner: int, reports: Sequence[Report]) -> bool:
    """The weaker evidence, of the only PDF that could be the original."""
    if reports[index].has_text is False:
        return True
    evidence = _evidence(index, owner, reports)
    return evidence is not None and says_nothing_else(evidence)


def _not_contradicted(index: int, owner: int, reports: Sequence[Report]) -> bool:
    """For the operator's word that the platform always pairs: no text, or a text that says nothing else."""
    if reports[index].has_text is False:
        return _opens(reports[owner])
    evidence = _evidence(index, owner, reports)
    return evidence is not None and not evidence.contradicted


def _opens(report: Report) -> bool:
    """Could the pages of this Factur-X be read? What no program can show has no original that may go."""
    return report.has_text is not None


def _evidence(index: int, owner: int, reports: Sequence[Report]) -> TextEvidence | None:
    digest = reports[owner].sha256
    return next((each for each in reports[index].evidence if each.facturx == digest), None)


def _how(owner: int, original: int, reports: Sequence[Report]) -> Step:
    """The step that names the evidence."""
    which = f"{original + 1} → {owner + 1}"
    evidence = _evidence(original, owner, reports)
    if reports[original].has_text is False or evidence is None:
        return Step("paired_by_name", which)
    if not is_that_invoice(evidence):
        return Step("paired_by_total", which)
    if evidence.same_figures and (evidence.identical or evidence.similarity >= ALIKE):
        return Step("paired_by_text", f"{which} ({int(evidence.similarity * 100)} %)")
    amounts = {Term.WITHOUT_VAT, Term.VAT} <= set(evidence.found)
    return Step("paired_by_content" if amounts else "paired_by_stated_amounts", which)


def _why_not(index: int, facturx: Iterable[int], reports: Sequence[Report]) -> Iterable[Step]:
    """Of a PDF that holds the number of an invoice and is not its original: what its text says or lacks."""
    for owner in facturx:
        evidence = _evidence(index, owner, reports)
        if evidence is None or Term.NUMBER not in evidence.found:
            continue
        which = f"{index + 1} → {owner + 1}"
        said = next((code for term, code in _OTHERWISE if term in evidence.contradicted), None)
        lacks = next((code for term, code in _UNPROVEN if term in evidence.missing), None)
        if said or lacks:
            yield Step(said or lacks or "", which)
