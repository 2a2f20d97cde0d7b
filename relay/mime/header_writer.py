"""Header fields that the relay writes: one line each, folded; Received above all (RFC 5321 §4.4, RFC 5322 §2.2.3)."""

import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from relay.mime.message import MimeMessage
from relay.model import Envelope
from relay.single_line import single_line

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
    text = single_line(value)
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
    for letter in text:
        octets = letter.encode("utf-8")
        if len(chunk) + len(octets) > _WORD_OCTETS:
            yield _word(chunk)
            chunk = b""
        chunk += octets
    yield _word(chunk)


def _word(chunk: bytes) -> str:
    return f"=?utf-8?B?{b64encode(chunk).decode('ascii')}?="


_HOST = re.compile(r"[A-Za-z0-9._\-]{1,255}|\[[A-Za-z0-9.:_\-]{1,80}\]")
_IPV4 = re.compile(r"[0-9.]{7,15}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_TOKEN = re.compile(r"[A-Za-z0-9._\-]{1,100}")
_ADDRESS = re.compile(r"[^\s<>()\"\\,;:@\x00-\x1f\x7f]{1,64}@[^\s<>()\"\\,;@\x00-\x1f\x7f]{1,255}")
_PROTOCOL = re.compile(r"E?SMTPS?A?|UTF8SMTPS?A?|ESMTPSA|LMTPS?A?")


def received(envelope: Envelope, hostname: str, queue_id: str, at: float, for_: str | None = None) -> bytes:
    """Our Received field, folded, CRLF at the end. `at`: seconds since the epoch. Protocol by RFC 3848 and RFC 6531.

    What the peer chose is checked, never escaped: a name that is none is "unknown", such an address is left out.
    """
    lines = [
        f"Received: from {_host(envelope.helo)} ({_literal(envelope.peer)})",
        f"\tby {_host(hostname)} with {_protocol(envelope)} id {_token(queue_id)}",
    ]
    if for_ is not None and _usable(for_, envelope.smtputf8):
        lines.append(f"\tfor <{for_}>")
    return ("\r\n".join(lines) + f";\r\n\t{_date(int(at))}\r\n").encode("utf-8")


def hops(message: MimeMessage) -> int:
    """Received fields of the message: over 100 it goes in circles (rfc5321#6.3)."""
    return len(_received(message))


def is_loop(message: MimeMessage, hostname: str) -> bool:
    """Has it been received by `hostname` before? By the `by` clause of a Received field, outside of comments."""
    if not (lines := _received(message)):
        return False
    pattern = re.compile(rf"(?:^|\s)by\s+{re.escape(hostname)}\.?(?=[\s;(]|$)", re.IGNORECASE)
    return any(pattern.search(_without_comments(line)) is not None for line in lines)


def _received(message: MimeMessage) -> list[str]:
    return [header.value for header in message.root.headers if header.name == "received"]


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """One text serves all messages of a second."""
    return format_datetime(datetime.fromtimestamp(second, UTC))


def _without_comments(value: str) -> str:
    """`value` less what stands in parentheses, which may nest; what is never closed stays out."""
    if "(" not in value:
        return value
    kept, depth = [], 0
    for piece in re.split(r"([()])", value):
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth = max(0, depth - 1)
        elif depth == 0:
            kept.append(piece)
    return " ".join(kept)


def _host(name: str) -> str:
    return name if _HOST.fullmatch(name) else "unknown"


def _literal(peer: str) -> str:
    """An address literal (rfc5321#4.1.3)."""
    if _IPV4.fullmatch(peer):
        return f"[{peer}]"
    return f"[IPv6:{peer}]" if _IPV6.fullmatch(peer) else "unknown"


def _protocol(envelope: Envelope) -> str:
    said = envelope.protocol.upper()
    if not _PROTOCOL.fullmatch(said):
        return "ESMTP"
    return said.replace("ESMTP", "UTF8SMTP", 1) if envelope.smtputf8 and said.startswith("ESMTP") else said


def _token(text: str) -> str:
    return text if _TOKEN.fullmatch(text) else "unknown"


def _usable(address: str, smtputf8: bool) -> bool:
    return _ADDRESS.fullmatch(address) is not None and (smtputf8 or address.isascii()) and address.isprintable()
