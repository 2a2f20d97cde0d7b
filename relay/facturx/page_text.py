"""The text of a PDF's pages as a reader takes it: lines, words, amounts and dates, however they are printed."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property

MAX_CHARACTERS = 100_000
"""Of a text that is compared; an invoice of 20 pages has some 60,000."""

_LINE_END_HYPHEN = re.compile("[\ufffe\x02\xad]\\s*")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−"), "-") | dict.fromkeys(map(ord, "’‘ʼ`´"), "'")

_GROUPED = r"[0-9]{1,3}(?:(?P<group>[ .,'])[0-9]{3})(?:(?P=group)[0-9]{3}){0,3}"
AMOUNT = re.compile(
    rf"(?<![0-9.,'])(?P<units>{_GROUPED}|[0-9]{{1,12}})(?P<point>[.,])(?P<cents>[0-9]{{2}})"
    r"(?![0-9])(?![.,][0-9])(?! ?%)"
)
_CURRENCY = r"(?:€|\$|£|eur(?:os?)?\b|usd\b|gbp\b|chf\b)"
_WHOLE = re.compile(
    rf"(?<![0-9.,'])(?P<after>[0-9]{{1,3}}(?:[ .,'][0-9]{{3}}){{1,3}}|[0-9]{{1,9}}) ?{_CURRENCY}"
    rf"|{_CURRENCY} ?(?P<before>[0-9]{{1,3}}(?:[ .,'][0-9]{{3}}){{1,3}}|[0-9]{{1,9}})(?![0-9]|[.,][0-9])"
)

_MONTHS = (
    ("janvier", "january", "januar"),
    ("fevrier", "february", "februar"),
    ("mars", "march", "maerz", "marz"),
    ("avril", "april"),
    ("mai", "may"),
    ("juin", "june", "juni"),
    ("juillet", "july", "juli"),
    ("aout", "august"),
    ("septembre", "september"),
    ("octobre", "october", "oktober"),
    ("novembre", "november"),
    ("decembre", "december", "dezember"),
)
_YEAR = r"(?:19|20)[0-9]{2}"
_OUTSIDE = r"(?<![0-9])(?<![0-9][./-])"
_END = r"(?![0-9])(?![./-][0-9])"
DATE = re.compile(
    rf"{_OUTSIDE}(?P<y1>{_YEAR})[./-](?P<m1>[01]?[0-9])[./-](?P<d1>[0-3]?[0-9]){_END}"
    rf"|{_OUTSIDE}(?P<y2>{_YEAR})(?P<m2>[01][0-9])(?P<d2>[0-3][0-9]){_END}"
    rf"|{_OUTSIDE}(?P<d3>[0-3]?[0-9]) ?[./-] ?(?P<m3>[0-3]?[0-9]) ?[./-] ?(?P<y3>{_YEAR}|[0-9]{{2}}){_END}"
    rf"|{_OUTSIDE}(?P<d4>[0-3]?[0-9])(?:er|st|nd|rd|th|\.)? ?(?P<m4>[a-z]{{3,9}})\.?,? (?P<y4>{_YEAR}|[0-9]{{2}}){_END}"
    rf"|(?<![a-z])(?P<m5>[a-z]{{3,9}})\.? (?P<d5>[0-3]?[0-9])(?:st|nd|rd|th)?,? (?P<y5>{_YEAR}){_END}"
)

_WORD = re.compile(r"[^\W_]+")
_FIGURE = re.compile(r"[^\s]*[0-9][^\s]*")


def fold(text: str) -> str:
    """Compatibility forms made plain (NBSP, ligatures, full width), without accents and letter case; same lines."""
    return _plain(text).casefold()


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", _LINE_END_HYPHEN.sub("-", text)).translate(_DASHES)
    return "".join(each for each in decomposed if not unicodedata.combining(each))


@dataclass(frozen=True)
class PageText:
    """Folded text. lines: each without blanks at its ends and between words more than one; none empty.

    capitals: the same lines with `~` for each word that has a small letter; headings are often set in capitals.
    """

    lines: tuple[str, ...]
    capitals: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> "PageText":
        """Of a text as it was read, its first MAX_CHARACTERS."""
        raw = [words for line in _plain(text[:MAX_CHARACTERS]).splitlines() if (words := line.split())]
        capitals = (" ".join("~" if each != each.upper() else each.casefold() for each in words) for words in raw)
        return cls(tuple([" ".join(words).casefold() for words in raw]), tuple(capitals))

    @cached_property
    def flat(self) -> str:
        return "\n".join(self.lines)

    @cached_property
    def words(self) -> "Counter[str]":
        """Letters and digits, without punctuation."""
        return Counter(_WORD.findall(self.flat))

    @cached_property
    def figures(self) -> frozenset[str]:
        """What holds a digit, between blanks, without punctuation at its ends."""
        return frozenset(each.strip(".,:;()[]€$£'\"*") for each in _FIGURE.findall(self.flat))

    @cached_property
    def amounts(self) -> frozenset[Decimal]:
        """All amounts with two decimals, without their signs, by the longest reading."""
        return frozenset(value for value, _ in amounts(self.flat))

    @cached_property
    def whole(self) -> frozenset[Decimal]:
        """Amounts without decimals that stand beside a currency."""
        found = ((match["after"] or match["before"]) for match in _WHOLE.finditer(self.flat))
        return frozenset(Decimal("".join(each for each in one if each.isdigit())) for one in found)

    @cached_property
    def split(self) -> frozenset[Decimal]:
        """The other readings of `2 100,00`, where the blank may separate two numbers: 100.00."""
        return frozenset(each for _, others in amounts(self.flat) for each in others)

    @cached_property
    def dates(self) -> frozenset[str]:
        """As YYYY-MM-DD; day before month where both may be."""
        return frozenset(date for match in DATE.finditer(self.flat) if (date := iso(match)))

    @cached_property
    def squeezed(self) -> str:
        """The text without any blank."""
        return "".join(self.flat.split())


def amounts(text: str) -> Iterator[tuple[Decimal, tuple[Decimal, ...]]]:
    """Each amount with two decimals, and what it is when blanks in it separate numbers."""
    for match in AMOUNT.finditer(text):
        units, group, point, cents = match["units"], match["group"], match["point"], match["cents"]
        if group == point:
            continue
        pieces = units.split(" ") if group == " " else [units]
        whole_number = "".join(each for each in units if each.isdigit())
        tails = ["".join(pieces[at:]) for at in range(1, len(pieces))]
        others = tuple(Decimal(f"{tail}.{cents}") for tail in tails if not tail.startswith("0"))
        yield Decimal(f"{whole_number}.{cents}"), others


def iso(match: re.Match[str]) -> str | None:
    """YYYY-MM-DD of a match of DATE; None when there is no such day."""
    for way in "12345":
        if match[f"y{way}"]:
            year, month, day = match[f"y{way}"], _month(match[f"m{way}"]), int(match[f"d{way}"])
            break
    else:
        return None
    if month is None:
        return None
    if month > 12 >= day and way == "3":
        month, day = day, month
    try:
        return date(int(year) if len(year) == 4 else 2000 + int(year), month, day).isoformat()
    except ValueError:
        return None


def _month(text: str) -> int | None:
    if text.isdigit():
        return int(text)
    named = (place for place, names in enumerate(_MONTHS, 1) if any(name.startswith(text) for name in names))
    return next(named, None)


MAX_PAGES = 20
MAX_EXTRACTED = 200_000
SHORT = 4


def load() -> None:
    """Load PDFium and the codec of its texts. Raises ImportError."""
    import pypdfium2

    assert pypdfium2
    "".encode("utf-16-le")


def of_pdf(data: bytes) -> str | None:
    """The text of the first 20 pages; None when the PDF cannot be read that way."""
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
    except (pypdfium2.PdfiumError, ValueError):
        return None
    parts: list[str] = []
    try:
        for place in range(min(len(pdf), MAX_PAGES)):
            page = pdf[place]
            reader = page.get_textpage()
            parts.append(
                reader.get_text_range(0, min(reader.count_chars(), MAX_EXTRACTED)) if reader.count_chars() else ""
            )
            reader.close()
            page.close()
            if sum(map(len, parts)) > MAX_EXTRACTED:
                break
    except (pypdfium2.PdfiumError, ValueError):
        return None
    finally:
        pdf.close()
    return "\n".join(parts)


def mentions(text: str, numbers: Iterable[str]) -> tuple[str, ...]:
    """Those of `numbers` that stand in `text` as words of their own; letter case and spacing do not count.

    A number shorter than 4 characters counts only behind a word that announces one: "12" stands in every document.
    """
    flat = " ".join(text.split())
    return tuple(sorted({number for number in numbers if number.strip() and _pattern(number.strip()).search(flat)}))


def _pattern(number: str) -> re.Pattern[str]:
    word = r"\s*".join(re.escape(piece) for piece in number.split())
    announced = r"(?:facture|invoice|avoir|rechnung|n°|nº|no\.?|num[ée]ro)\W{0,8}(?:n°|nº|no\.?)?\W{0,4}"
    head = announced if len(number) < SHORT else r"(?<![0-9A-Za-z])(?<![0-9A-Za-z][-/_.])"
    return re.compile(rf"{head}{word}(?![0-9A-Za-z])(?![-/_.][0-9A-Za-z])", re.IGNORECASE)
