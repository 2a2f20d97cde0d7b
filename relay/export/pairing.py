"""Which plain PDF is the original of which Factur-X: by the invoice number in its text, or by the stem of its name.

Pairing is the licence to remove, so every doubt leaves a PDF unpaired: it is then kept.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Protocol

from relay.export.steps import Step
from relay.report import Report

_MEANS_NOTHING = re.compile(r".{0,2}|[0-9]{3}|(?:19|20)[0-9]{2}")  # stands in any PDF: an amount, a quantity, a year

_MARKS = re.compile(
    r"^(?:(?:factur-?_?x|zugferd|originale?|orig|copie|copy)[\s._-]+)+"
    r"|(?:[\s._-]+(?:factur-?_?x|fx|zugferd|originale?|orig|copie|copy)|\s*\(\d+\))+$"
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
    """Originals by Factur-X (indexes of the attachments), and how each was told."""
    facturx = [invoice.facturx for invoice in invoices]
    claims: dict[int, list[int]] = {}
    for index in plain:
        if (owner := _owner(index, facturx, reports, names)) is not None:
            claims.setdefault(owner, []).append(index)
    pairs: dict[int, tuple[int, ...]] = {}
    steps: list[Step] = []
    for owner, claimants in claims.items():
        originals = _one(owner, claimants, reports, names)
        if originals:
            pairs[owner] = originals
            steps += [Step(_how(owner, each, reports), f"{each + 1} → {owner + 1}") for each in originals]
        else:
            steps.append(Step("several_originals", ", ".join(str(each + 1) for each in claimants)))
    if always_paired and not claims and len(facturx) == 1 and len(plain) == 1:
        pairs[facturx[0]] = (plain[0],)
        steps.append(Step("paired_by_setting", f"{plain[0] + 1} → {facturx[0] + 1}"))
    return pairs, tuple(steps)


def stem(name: str) -> str:
    """A file name without folder, extension, case and what programs add to tell copies apart; "" tells nothing."""
    plain = unicodedata.normalize("NFC", name).casefold().replace("\\", "/").rpartition("/")[2]
    plain = re.sub(r"\.[a-z0-9]{1,5}$", "", plain.strip())
    bare = _MARKS.sub("", plain)
    return "" if re.fullmatch(r"factur-?_?x|zugferd|originale?|orig|copie|copy|document|", bare) else bare


def mentions(report: Report, number: str | None) -> bool:
    """Does the text of this PDF hold the invoice number, and is it a number that means something?"""
    return number is not None and number in report.mentions and not _MEANS_NOTHING.fullmatch(number.strip())


def _owner(index: int, facturx: Sequence[int], reports: Sequence[Report], names: Sequence[str]) -> int | None:
    """The one Factur-X that this PDF is an original of, or None. The number decides, the stem breaks a tie."""
    by_number = [each for each in facturx if mentions(reports[index], reports[each].number)]
    if len(by_number) == 1:
        return by_number[0]
    by_stem = [each for each in by_number or facturx if stem(names[index]) and stem(names[each]) == stem(names[index])]
    return by_stem[0] if len(by_stem) == 1 else None


def _one(owner: int, claimants: Sequence[int], reports: Sequence[Report], names: Sequence[str]) -> tuple[int, ...]:
    """Of several PDFs that claim one Factur-X the one of the same stem; all when they are one document; else none."""
    if len({reports[each].sha256 for each in claimants}) == 1:
        return tuple(claimants)
    same = [each for each in claimants if stem(names[each]) and stem(names[each]) == stem(names[owner])]
    return (same[0],) if len(same) == 1 else ()


def _how(owner: int, original: int, reports: Sequence[Report]) -> str:
    return "paired_by_number" if mentions(reports[original], reports[owner].number) else "paired_by_name"
