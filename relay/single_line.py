"""Text of others on one line of ours: nothing in it can end the line, hide, or drive a terminal."""

import unicodedata

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: control and format characters (direction marks among them), surrogates, private use, what is no
character, line and paragraph separators. The spaces of French typography (U+00A0, U+202F) are none of them."""


def single_line(text: str) -> str:
    """`text` with a blank for each unprintable character, and one blank for each run of white space."""
    return " ".join(replace_unprintable(text).split())


def replace_unprintable(text: str, by: str = " ") -> str:
    """`text` with `by` for each unprintable character."""
    if text.isprintable():
        return text
    return "".join(by if unicodedata.category(letter) in _UNPRINTABLE else letter for letter in text)
