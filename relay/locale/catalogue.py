"""Sentences for people, in English or French: look-up in the gettext catalogue, plurals, amounts, typography.

English is the source text and needs no catalogue. The French one is read at the first French sentence, once a process.
`pybabel extract` finds a source text where it is an argument of one of the functions below (see README.md).
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gettext import NullTranslations

DOMAIN = "agiris_relay"
FOLDER = Path(__file__).parent


def marked(text: str) -> str:
    """`text` itself: a source text that is translated later, by `translate`."""
    return text


def marked_in(context: str, text: str) -> str:
    """`text` itself: a source text that is translated later, by `translate_in` and the same context."""
    return text


def translate(text: str, language: str, /, **values: object) -> str:
    """The source text in `language` ("en" or "fr"), with `values` in the place of its {names}."""
    return _filled(_french_of(text) if language == "fr" else text, values)


def translate_in(context: str, text: str, language: str, /, **values: object) -> str:
    """As `translate`, of a word whose translation depends on where it stands."""
    return _filled(_french_in(context, text) if language == "fr" else text, values)


def plural(one: str, many: str, count: int, language: str, /, **values: object) -> str:
    """`one` or `many` as `count` asks for in `language`: 0 is plural in English, singular in French."""
    if language == "fr":
        return _filled(french_spacing(_french().ngettext(one, many, count)), {"count": count, **values})
    return _filled(one if count == 1 else many, {"count": count, **values})


def decimal(number: float, language: str) -> str:
    """`number` with one decimal, after the sign of the language."""
    if language == "fr":
        from babel.numbers import format_decimal

        return str(format_decimal(number, "0.0", locale="fr"))
    return f"{number:.1f}"


def french_spacing(text: str) -> str:
    """`text` with the spaces that French typography keeps on one line: U+00A0 before a colon and inside « », U+202F
    before `;`, `?` and `!`. For sentences of ours only: what a peer or an operator wrote stays as it is."""
    text = re.sub(r" (?=[:»])|(?<=«) ", "\u00a0", text)
    return re.sub(r" (?=[;?!])", "\u202f", text)


def _filled(text: str, values: dict[str, object]) -> str:
    return text.format(**values) if values else text


@cache
def _french() -> "NullTranslations":
    """Without its file the relay speaks English: no message waits for a translation."""
    from gettext import translation

    return translation(DOMAIN, FOLDER, languages=["fr"], fallback=True)


@cache
def _french_of(text: str) -> str:
    return french_spacing(_french().gettext(text))


@cache
def _french_in(context: str, text: str) -> str:
    return french_spacing(_french().pgettext(context, text))
