"""Line ends of a message: which make it unacceptable, and the repair of bare LF where a setting asks for it."""

import re
from enum import StrEnum
from io import IncrementalNewlineDecoder

_WINDOW = 1 << 16
_BARE_LF = re.compile(rb"(?<!\r)\n")
_LONE_DOT = re.compile(rb"(?:\A|\n)\.\r?\n")


class LineFlaw(StrEnum):
    """Why the lines of a message cannot be taken as they stand."""

    BARE = "bare"
    NUL = "nul"


def repair(raw: bytes) -> bytes:
    """The message with a CR before each bare LF (`accept.bare_lf: repair`); a bare CR is never touched.

    A message with a line of one dot alone is returned unchanged, and so refused by `flaw`: it is an attempt at SMTP
    smuggling. A client that took it for a line would have doubled the dot.
    """
    if raw.count(b"\n") == raw.count(b"\r\n") or _LONE_DOT.search(raw):
        return raw
    return _BARE_LF.sub(b"\r\n", raw)


def flaw(raw: bytes) -> LineFlaw | None:
    """Why the message cannot be taken as it stands, or None.

    A bare CR or LF is refused, never repaired: what one server repairs another reads as the end of the message
    (SMTP smuggling). A line over 998 octets (rfc5322#2.1.1) is accepted, as Postfix does, and relayed as it came:
    base64 in one line is common, and a next hop that takes none says so itself.
    """
    if _has_bare_end(raw):
        return LineFlaw.BARE
    return LineFlaw.NUL if b"\0" in raw else None


def _has_bare_end(raw: bytes) -> bool:
    """Does some line not end with CR LF? Python's newline decoder records the kinds of line ends in one fast pass."""
    seen = IncrementalNewlineDecoder(None, translate=False)
    for start in range(0, len(raw), _WINDOW):
        seen.decode(raw[start : start + _WINDOW].decode("latin-1"))
    seen.decode("", final=True)
    return seen.newlines not in (None, "\r\n")
