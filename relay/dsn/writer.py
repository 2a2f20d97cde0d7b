"""Delivery status notifications: written by RFC 3464 in a multipart/report (RFC 6522), in French and English.

A DSN leaves with the null sender and is never about a null sender (rfc3464#2): that rule is the caller's, who has the
envelope. Reading them is `relay.dsn.bounces`.

Printed by the header writer of the relay and not by the library `email`: that one raises for a line end in a reply of a
remote, encodes a word too long to fold where RFC 3464 wants it plain, and changes line ends of what goes back."""

import re
from base64 import encodebytes
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256

from relay.locale.catalogue import marked, translate
from relay.mime.encoded_words import from_utf8_xtext
from relay.mime.header_writer import header
from relay.mime.headers import read_header
from relay.mime.message import MalformedMail
from relay.single_line import single_line

MAX_RETURNED = 32 * 1024
"""Octets of the original header that a report gives back."""

MAX_RETURNED_WHOLE = 10 * 1024 * 1024
"""Octets of an original that a report gives back whole (RET=FULL); a larger report would itself be rejected."""

_SUBJECTS = {
    "failed": marked("Undelivered message"),
    "delayed": marked("Delayed message (still being retried)"),
    "relayed": marked("Relayed message"),
}
_TEXTS = {
    "failed": marked("The message below could not be delivered. It will not be tried again."),
    "delayed": marked("The message below could not be delivered yet. It is being retried: you need not do anything."),
    "relayed": marked("The message below was relayed to the next mail server, which sends no further confirmation."),
}


@dataclass(frozen=True, slots=True)
class Notice:
    """What is reported about one recipient (rfc3464#2.3).

    action: "failed", "delayed" or "relayed". status: RFC 3463 code ("5.1.1"). diagnostic: the SMTP reply that says why,
    or "". remote: name of the server that replied, or "". orcpt: as it came, in xtext. tried, until: last attempt, end
    of the attempts (epoch seconds).
    """

    recipient: str
    action: str
    status: str
    diagnostic: str = ""
    remote: str = ""
    orcpt: str | None = None
    tried: float | None = None
    until: float | None = None


def report(
    *,
    hostname: str,
    queue_id: str,
    to: str,
    at: float,
    arrived: float,
    notices: Sequence[Notice],
    original: bytes = b"",
    original_id: str = "",
    envid: str | None = None,
    whole: bool = False,
) -> bytes:
    """The message that informs `to` of `notices` (one or more; all of one action). CRLF lines, 7-bit but for
    what is returned whole and for the address of a sender that is not ASCII.

    queue_id: of the report itself. original, original_id: raw octets and queue id of the message it is about; its
    header goes back, or all of it when `whole` (RET=FULL) and it failed (rfc3461#4.3). envid: as received, xtext.
    arrived, at: when that message came, when the report is made (epoch seconds).
    Raises ValueError without notices or for an unknown action.
    """
    actions = {notice.action for notice in notices}
    if len(actions) != 1 or not actions <= _SUBJECTS.keys():
        raise ValueError("a report has notices, all of one known action")
    action = actions.pop()
    boundary = "=_" + sha256(f"{queue_id} {at} {hostname}".encode()).hexdigest()[:32]
    parts = [
        _text(_explain(action, notices, hostname, original_id)),
        _status(hostname, arrived, envid, notices),
        _whole(original) if whole and action == "failed" and _fits(original) else _returned(original),
    ]
    encoding = "7bit" if parts[-1].isascii() else "8bit"
    return _top(hostname, queue_id, to, at, action, boundary, encoding) + _join(parts, boundary)


def _top(hostname: str, queue_id: str, to: str, at: float, action: str, boundary: str, encoding: str) -> bytes:
    content_type = f'multipart/report; report-type=delivery-status; boundary="{boundary}"'
    return b"".join(
        header(name, value)
        if name != "To" or value.isascii()
        else f"To: {single_line(value)}\r\n".encode()  # rfc6532#3
        for name, value in (
            ("Date", _date(at)),
            ("From", f"Mail Delivery System <MAILER-DAEMON@{hostname}>"),
            ("To", to),  # not ASCII: as it is (rfc6532#3)
            ("Subject", f"{translate(_SUBJECTS[action], 'fr')} / {_SUBJECTS[action]}"),
            ("Message-ID", f"<{queue_id}@{hostname}>"),
            ("Auto-Submitted", "auto-replied"),  # rfc3834#5
            ("MIME-Version", "1.0"),
            ("Content-Type", content_type),
            ("Content-Transfer-Encoding", encoding),
        )
    )


def _join(parts: Sequence[bytes], boundary: str) -> bytes:
    mark = f"--{boundary}".encode("ascii")
    return b"\r\n" + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _explain(action: str, notices: Sequence[Notice], hostname: str, original_id: str) -> str:
    blocks = [f"  {notice.recipient}\n    {notice.diagnostic or notice.status}" for notice in notices]
    french, english = translate(_TEXTS[action], "fr"), _TEXTS[action]
    closing = f"{hostname}  {original_id}".rstrip()
    return "\n\n".join([french, english, "\n".join(_printable_lines(blocks)), closing]) + "\n"


def _printable_lines(blocks: Sequence[str]) -> list[str]:
    """Each line of `blocks` without control characters, its indentation kept."""
    lines = [line for block in blocks for line in block.split("\n")]
    return [" " * (len(line) - len(line.lstrip(" "))) + single_line(line) for line in lines]


def _text(text: str) -> bytes:
    body = encodebytes(text.replace("\n", "\r\n").encode("utf-8")).replace(b"\n", b"\r\n")
    return (
        header("Content-Type", "text/plain; charset=utf-8")
        + header("Content-Transfer-Encoding", "base64")
        + b"\r\n"
        + body
    )


def _status(hostname: str, arrived: float, envid: str | None, notices: Sequence[Notice]) -> bytes:
    about = [("Reporting-MTA", f"dns; {hostname}"), ("Arrival-Date", _date(arrived))]
    if envid:
        about.insert(0, ("Original-Envelope-Id", _from_xtext(envid)))
    groups = [about, *(_group(notice) for notice in notices)]
    body = b"\r\n".join(b"".join(header(name, value) for name, value in group) for group in groups)
    return header("Content-Type", "message/delivery-status") + b"\r\n" + body


def _group(notice: Notice) -> list[tuple[str, str]]:
    final = f"rfc822; {notice.recipient}"
    if not notice.recipient.isascii():
        final = f"utf-8; {_to_utf8_xtext(notice.recipient)}"
    fields = [
        ("Original-Recipient", _original_recipient(notice.orcpt)),
        ("Final-Recipient", final),
        ("Action", notice.action),
        ("Status", notice.status),
        ("Remote-MTA", f"dns; {notice.remote}" if notice.remote else ""),
        ("Diagnostic-Code", f"smtp; {notice.diagnostic}" if notice.diagnostic else ""),
        ("Last-Attempt-Date", _date(notice.tried)),
        ("Will-Retry-Until", _date(notice.until)),
    ]
    return [(name, value) for name, value in fields if value]


def _original_recipient(orcpt: str | None) -> str:
    """ORCPT as a field has it: its address decoded (rfc3461#4.2), or in seven bits if it is utf-8 (rfc6533#3)."""
    kind, semicolon, address = (orcpt or "").partition(";")
    if not semicolon:
        return ""
    if kind.lower() == "utf-8":
        return f"{kind};{_to_utf8_xtext(from_utf8_xtext(address))}"
    return f"{kind};{_from_xtext(address)}"


def _from_xtext(text: str) -> str:
    """`text` decoded (rfc3461#4); as it is where that is no printable ASCII and could not stand in a field."""
    decoded = re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)
    return decoded if decoded.isascii() and decoded.isprintable() else text


def _to_utf8_xtext(address: str) -> str:
    """utf-8-addr-xtext (rfc6533#3): what is not printable ASCII, and a backslash, `+` and `=`, by its number."""
    return "".join(
        letter if "!" <= letter <= "~" and letter not in "\\+=" else f"\\x{{{ord(letter):02X}}}" for letter in address
    )


def _fits(original: bytes) -> bool:
    """Can it travel within a report: not too large, no line too long for SMTP (rfc5321#4.5.3.1.6), no NUL?"""
    if len(original) > MAX_RETURNED_WHOLE or b"\0" in original:
        return False
    return max(map(len, original.split(b"\r\n"))) <= 998


def _whole(original: bytes) -> bytes:
    encoding = "7bit" if original.isascii() else "8bit"
    head = header("Content-Type", "message/rfc822") + header("Content-Transfer-Encoding", encoding)
    return head + b"\r\n" + original


def _returned(original: bytes) -> bytes:
    """The header of the message, whole fields up to MAX_RETURNED octets, seven bits (rfc6522#4)."""
    try:
        fields = read_header(original, 0, len(original)).headers
    except MalformedMail:
        fields = ()
    end = max((field.span.end for field in fields if field.span.end <= MAX_RETURNED), default=0)
    kept = bytes(octet if octet < 0x80 else 0x3F for octet in original[:end])
    lines = [line[:998] for line in kept.replace(b"\r\n", b"\n").split(b"\n") if line.strip()]
    return header("Content-Type", "text/rfc822-headers") + b"\r\n" + b"".join(line + b"\r\n" for line in lines)


def _date(at: float | None) -> str:
    return "" if at is None else format_datetime(datetime.fromtimestamp(int(at), UTC))
