"""Content-Transfer-Encoding undone (RFC 2045 §6, and uuencode as Usenet wrote it). The only decoder of the project.

Tolerant as mail programs are, for what they open must be checked: base64 in padded pieces, without padding, with other
characters between its letters; a body whose octets contradict its declared encoding is read as what it is, with a
problem.
Linear in the size of the body, no step for each octet."""

import binascii
import re
from enum import StrEnum
from typing import NamedTuple

import pybase64

from relay.inspection import Candidate, Finding, Severity
from relay.mime.file_type import SNIFF

IDENTITY = frozenset({"7bit", "8bit", "binary"})
UUENCODE = frozenset({"x-uuencode", "x-uue", "uuencode", "uue"})
KNOWN = IDENTITY | UUENCODE | {"base64", "quoted-printable"}

_NOT_BASE64 = bytes(
    octet for octet in range(256) if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
)
_PIECE = re.compile(rb"([^=]*)=*")
_MOST_PIECES = 100_000
_BLANK = b" \t\r\n"
_CLEAR = (b"%PDF-", b"PK\x03\x04", b"<?xml", b"\xef\xbb\xbf<?xml")
"""How documents begin that no encoding made: base64 and uuencode have no such first octets."""
_BASE64_OF = re.compile(rb"(?:JVBERi0|UEsDB|PD94bW|77u/PD94bW)[A-Za-z0-9+/]{9}")
"""The same in base64."""
_PADDED_BREAK = re.compile(rb"=[ \t]+(?=\r?\n)")
"""A soft line break with spaces that a transport added (rfc2045#6.7 rule 3); binascii does not take it."""
_UU_BEGIN = re.compile(rb"(?:\A|\n)begin(?:-base64)? [0-7]{3,4} ")
_NOT_QUOTED = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n|[ \t]*\Z)")


class Problem(StrEnum):
    """What a decoder found wrong with a body.

    DAMAGED: read as far as it goes. MISLABELED: its octets contradict the declared encoding, and were read as what they
    are. AMBIGUOUS: two mail programs would read two documents in it. UNKNOWN: the declared encoding is none we know.
    """

    DAMAGED = "damaged"
    MISLABELED = "mislabeled"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"


class Decoded(NamedTuple):
    octets: bytes
    problem: Problem | None = None


_FINDINGS = {
    Problem.DAMAGED: ("ENCODING-DAMAGED", "the transfer encoding of the document is damaged"),
    Problem.MISLABELED: ("ENCODING-MISLABELED", "the octets of the document contradict its Content-Transfer-Encoding"),
    Problem.AMBIGUOUS: ("ENCODING-AMBIGUOUS", "the document can be decoded in two ways"),
    Problem.UNKNOWN: ("ENCODING-UNKNOWN", "the document has an unknown Content-Transfer-Encoding"),
}


def decode_document(candidate: Candidate) -> tuple[bytes, Finding | None]:
    """The document decoded as mail programs do (rfc2045#6.8), and a warning when its encoding has a problem."""
    octets, problem = decode(candidate.content, candidate.encoding)
    if problem is None:
        return octets, None
    rule, text = _FINDINGS[problem]
    return octets, Finding(rule, Severity.WARNING, "pdf", text)


def decode(content: bytes | memoryview, encoding: str) -> Decoded:
    """The body `content` with its Content-Transfer-Encoding `encoding` (any case) undone. Never raises."""
    body, encoding = bytes(content), encoding.strip().lower() or "7bit"
    actual = _actual(body, encoding)
    if actual != encoding:
        return Decoded(_READERS[actual](body).octets, Problem.MISLABELED)
    return _READERS.get(encoding, _unknown)(body)


def head(content: bytes | memoryview, encoding: str, limit: int) -> bytes:
    """Up to `limit` octets of the decoded body, at the cost of these alone."""
    return decode(content[: 4 * limit + 1024], encoding).octets[:limit]


def _actual(body: bytes, encoding: str) -> str:
    """The encoding that the first octets show where they exclude the declared one, else the declared one."""
    if encoding not in KNOWN:
        return encoding
    start = body[:SNIFF].lstrip(_BLANK)
    if encoding in IDENTITY:
        if _BASE64_OF.match(start):
            return "base64"
        return "x-uuencode" if _UU_BEGIN.match(start) else encoding
    if start.startswith(_CLEAR) and not (encoding == "quoted-printable" and _quoted(body)):
        return "binary"
    if encoding == "quoted-printable" and _BASE64_OF.match(start):
        return "base64"
    if encoding in ("base64", "quoted-printable") and _UU_BEGIN.match(start):
        return "x-uuencode"
    if encoding in UUENCODE and _BASE64_OF.match(start):
        return "base64"
    return encoding


def _quoted(body: bytes) -> bool:
    """Is it quoted-printable? ASCII only, and each "=" as that encoding writes it."""
    return body.isascii() and _NOT_QUOTED.search(body) is None


def _identity(body: bytes) -> Decoded:
    return Decoded(body)


def _unknown(body: bytes) -> Decoded:
    return Decoded(body, Problem.UNKNOWN)


def _quoted_printable(body: bytes) -> Decoded:
    if b"= " in body or b"=\t" in body:
        body = _PADDED_BREAK.sub(b"=", body)
    return Decoded(binascii.a2b_qp(body))


def _base64(body: bytes) -> Decoded:
    """A padding ends a piece, and each piece is decoded for itself; a last one may lack its padding."""
    padded = body.find(b"=")
    if padded < 0 or not body[padded:].strip(b"= \t\r\n"):
        try:
            return Decoded(pybase64.b64decode(body))
        except binascii.Error:
            pass
    return _in_pieces(body.translate(None, _NOT_BASE64))


def _in_pieces(letters: bytes) -> Decoded:
    octets, damaged, ambiguous = bytearray(), False, False
    for number, match in enumerate(_PIECE.finditer(letters)):
        piece = match[1]
        if not piece:
            continue
        if number >= _MOST_PIECES:
            return Decoded(bytes(octets), Problem.AMBIGUOUS)
        if octets and piece.startswith(b"JVBERi0"):
            ambiguous = True  # who stops at the first padding opens another document than who reads on
        extra = len(piece) % 4
        if extra == 1:
            piece, damaged = piece[:-1], True  # a lone letter holds no octet
        octets += pybase64.b64decode(piece + b"=" * (-len(piece) % 4))
    problem = Problem.AMBIGUOUS if ambiguous else Problem.DAMAGED if damaged else None
    return Decoded(bytes(octets), problem)


def _uuencode(body: bytes) -> Decoded:
    """The file between `begin` and `end`; `begin-base64` (POSIX uuencode -m) too."""
    begin = _UU_BEGIN.search(body)
    if begin is None:
        return Decoded(b"", Problem.DAMAGED)
    first = body.find(b"\n", begin.end())
    if first < 0:
        return Decoded(b"", Problem.DAMAGED)
    if b"begin-base64" in begin[0]:
        end = body.find(b"\n====", first)
        return _base64(body[first + 1 : end if end >= 0 else len(body)])
    end = body.find(b"\nend", first)
    octets, problem = bytearray(), None if end >= 0 else Problem.DAMAGED
    for line in body[first + 1 : end if end >= 0 else len(body)].split(b"\n"):
        line = line.rstrip(b"\r")
        if not line or line == b"`":
            continue
        try:
            octets += binascii.a2b_uu(line)
        except binascii.Error:
            kept = _uu_line(line)
            problem = problem if kept is not None else Problem.DAMAGED
            octets += kept or b""
    if end >= 0 and _UU_BEGIN.search(body, end):
        problem = Problem.AMBIGUOUS  # a second file
    return Decoded(bytes(octets), problem)


def _uu_line(line: bytes) -> bytes | None:
    """A line with characters after its last group, as some encoders write a checksum; None when it cannot be read."""
    size = (((line[0] - 32) & 63) * 4 + 5) // 3
    try:
        return binascii.a2b_uu(line[:size])
    except binascii.Error:
        return None


_READERS = {
    **dict.fromkeys(IDENTITY, _identity),
    **dict.fromkeys(UUENCODE, _uuencode),
    "base64": _base64,
    "quoted-printable": _quoted_printable,
}
