"""Encoded words, the charsets of mail, and addresses in xtext (RFC 2047, RFC 2978, RFC 6533)."""

import binascii
import re
import sys
from collections.abc import Iterator
from encodings.aliases import aliases

_SAFE = frozenset(
    {"ascii", "utf_8", "utf_16", "utf_16_le", "utf_16_be", "mac_roman", "koi8_r", "koi8_u", "big5", "gb2312", "gbk"}
    | {"gb18030", "shift_jis", "euc_jp", "euc_kr", "iso2022_jp", "cp437", "cp850", "cp852", "cp858", "cp866", "cp932"}
    | {f"cp125{number}" for number in range(9)}
    | {f"iso8859_{number}" for number in range(2, 17) if number != 12}
)
"""Python has codecs that are no charsets or take quadratic time (punycode, idna, unicode_escape): a message may not
choose them."""

_NAMES = {alias: name for alias, name in aliases.items() if name in _SAFE} | {name: name for name in _SAFE}
_NAMES |= dict.fromkeys([alias for alias, name in aliases.items() if name == "latin_1"], "cp1252")
"""A table and not codecs.lookup: that one touches the disk for each name it does not know. ISO 8859-1 is read as
Windows-1252, its superset in print, as browsers do."""

_NOT_A_LETTER = re.compile(r"[^a-z0-9]+")


def decode(octets: bytes, charset: str = "") -> str:
    """`octets` by `charset` when it is a known one and fits, else UTF-8, else Windows-1252. Never raises."""
    for name in (_known(charset), "utf-8"):
        if name is not None:
            try:
                return octets.decode(name)
            except UnicodeDecodeError:
                continue
    return octets.decode("cp1252", "replace")


def _known(charset: str) -> str | None:
    return _NAMES.get(_NOT_A_LETTER.sub("_", charset[:40].strip().lower()))


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


def from_utf8_xtext(address: str) -> str:
    """An address in utf-8-addr-xtext or utf-8-addr-unitext (rfc6533#3), decoded. Of what is no character it is kept."""

    def decoded(match: re.Match[str]) -> str:
        number = int(match[1], 16)
        return chr(number) if number <= sys.maxunicode and not 0xD800 <= number <= 0xDFFF else match[0]

    return re.sub(r"\\x\{([0-9A-Fa-f]{2,6})\}", decoded, address)
