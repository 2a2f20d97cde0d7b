"""Encoded words (RFC 2047), read leniently and in linear time."""

import binascii
import re
from collections.abc import Iterator

from relay.mail.charset import decode

_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")


def decode_words(text: str) -> str:
    """`text` with its encoded words decoded. A word that cannot be decoded stays as it is.

    Blanks between two words go (§6.2); octets of neighbours of one charset are joined before they are decoded,
    since many programs cut within a character.
    """
    if "=?" not in text:
        return text
    return "".join(_decoded(text))


def _decoded(text: str) -> Iterator[str]:
    place = 0
    pending, pending_charset = bytearray(), ""
    for match in _WORD.finditer(text):
        octets = _octets(match[2], match[3])
        if octets is None:
            continue
        between = text[place : match.start()]
        charset = match[1].partition("*")[0].lower()  # the language of RFC 2231 §5
        if between.strip() or charset != pending_charset:
            if pending:
                yield decode(bytes(pending), pending_charset)
                pending.clear()
            yield between if between.strip() or not pending_charset else ""
        pending += octets
        pending_charset, place = charset, match.end()
    if pending:
        yield decode(bytes(pending), pending_charset)
    yield text[place:]


def _octets(kind: str, coded: str) -> bytes | None:
    octets = coded.encode("utf-8", "surrogateescape")
    if kind in "qQ":
        return binascii.a2b_qp(octets, header=True)
    try:
        return binascii.a2b_base64(octets + b"==")
    except binascii.Error:
        return None
