"""Does a PDF's text name an invoice number? By pypdfium2, bounded in pages and characters."""

import re
from collections.abc import Iterable

MAX_PAGES = 20
MAX_CHARACTERS = 200_000
SHORT = 4


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
                reader.get_text_range(0, min(reader.count_chars(), MAX_CHARACTERS)) if reader.count_chars() else ""
            )
            reader.close()
            page.close()
            if sum(map(len, parts)) > MAX_CHARACTERS:
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
