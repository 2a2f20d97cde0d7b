"""The octets of a document behind its Content-Transfer-Encoding. Light: the daemon itself imports it."""

import binascii
import quopri
import string

import pybase64

from relay.inspection import Candidate, Octets
from relay.report import Finding, Severity

_ALPHABET = frozenset((string.ascii_letters + string.digits + "+/").encode())


def decode(candidate: Candidate) -> tuple[bytes, Finding | None]:
    """The document decoded as mail programs do (rfc2045#6.8), and a warning when its encoding is damaged or unknown."""
    content, encoding = candidate.content, candidate.encoding.strip().lower()
    if encoding in ("", "7bit", "8bit", "binary"):
        return bytes(content), None
    if encoding == "quoted-printable":
        return quopri.decodestring(content), None
    if encoding == "base64":
        try:
            return pybase64.b64decode(content), None
        except binascii.Error:
            return _salvaged(content), _warning("ENCODING-DAMAGED", "the base64 of the document is damaged")
    return bytes(content), _warning("ENCODING-UNKNOWN", "the document has an unknown Content-Transfer-Encoding")


def _salvaged(content: Octets) -> bytes:
    kept = bytes(octet for octet in content if octet in _ALPHABET)
    whole = kept[: len(kept) - (1 if len(kept) % 4 == 1 else 0)]
    return pybase64.b64decode(whole + b"=" * (-len(whole) % 4))


def _warning(rule: str, words: str) -> Finding:
    return Finding(rule, Severity.WARNING, "pdf", words)
