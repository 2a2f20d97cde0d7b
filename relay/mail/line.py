"""One header line of ours, safe whatever goes into it (RFC 5322 §2.2, RFC 2047)."""

import re
from base64 import b64encode
from collections.abc import Iterator

from relay.mail.charset import printable

WIDTH = 78
"""Characters a line should not pass (rfc5322#2.1.1); 998 octets it must not."""

_NAME = re.compile(r"[!-9;-~]{1,76}")
_WORD_OCTETS = 45  # sixty letters of base64: a word of 72 characters (rfc2047#2 allows 75)
_LONGEST = 900


def header(name: str, value: str) -> bytes:
    """The field `name: value` with its CRLF, folded. Control characters become blanks: nobody adds a field of his own.

    Not ASCII, or a word too long to fold: encoded words in UTF-8. Raises ValueError for a `name` that is none.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError("not a header field name")
    text = printable(value)
    words = text.split(" ")
    if not text.isascii() or max(map(len, words)) > _LONGEST:
        words = list(_encoded(text))
    return fold(f"{name}:", words)


def fold(head: str, words: list[str]) -> bytes:
    """`head` and `words` in lines of WIDTH where the words allow it; ASCII."""
    lines, line = [], head
    for word in words:
        if len(line) + 1 + len(word) > WIDTH and line != head:
            lines.append(line)
            line = ""
        line += " " + word
    return "\r\n".join([*lines, line, ""]).encode("ascii")


def _encoded(text: str) -> Iterator[str]:
    """Encoded words of whole characters (rfc2047#5)."""
    chunk = b""
    for each in text:
        octets = each.encode("utf-8")
        if len(chunk) + len(octets) > _WORD_OCTETS:
            yield _word(chunk)
            chunk = b""
        chunk += octets
    yield _word(chunk)


def _word(chunk: bytes) -> str:
    return f"=?utf-8?B?{b64encode(chunk).decode('ascii')}?="
