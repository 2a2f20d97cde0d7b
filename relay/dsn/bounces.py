"""Delivery status notifications that come in: what they say (RFC 3464)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from relay.dsn.return_path import Returned
from relay.mime.classification import is_auto_submitted
from relay.mime.encoded_words import decode_words, from_utf8_xtext
from relay.mime.message import MalformedMail, MimeMessage
from relay.mime.parser import parse
from relay.mime.text import text
from relay.single_line import single_line

MAX_DIAGNOSTIC = 500
_MAX_READ = 64 * 1024
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_ACTIONS = ("failed", "delayed", "expanded", "relayed", "delivered")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")


@dataclass(frozen=True, slots=True)
class Bounce:
    """action: failed, delayed, expanded, relayed or delivered. status: "5.1.1", or "" when it is none.

    recipient: the final one, else the original one, without its type. diagnostic: printable, at most 500 characters.
    """

    action: str
    status: str
    recipient: str
    diagnostic: str


def parse_dsn(raw: bytes) -> Bounce | None:
    """What a delivery status notification says; of several recipients the worst off. None when it is none."""
    try:
        message = parse(raw)
    except MalformedMail:
        return None
    bounces = list(_bounces(message))
    return min(bounces, key=lambda bounce: _ACTIONS.index(bounce.action), default=None)


def _bounces(message: MimeMessage) -> Iterator[Bounce]:
    for entity in message.entities:
        if entity.media_type not in _STATUS_TYPES or entity.depth > 2:
            continue
        for group in _BLANK_LINE.split(text(message, entity)[:_MAX_READ].strip()):
            fields = _fields(group)
            action = fields.get("action", "").lower()
            if action in _ACTIONS:
                yield _bounce(action, fields)


def _bounce(action: str, fields: Mapping[str, str]) -> Bounce:
    status = _STATUS.match(fields.get("status", ""))
    recipient = _untyped(fields.get("final-recipient") or fields.get("original-recipient", ""))
    return Bounce(
        action=action,
        status=status[0] if status else "",
        recipient=recipient[:320],
        diagnostic=_untyped(fields.get("diagnostic-code", ""))[:MAX_DIAGNOSTIC],
    )


def _untyped(value: str) -> str:
    """`rfc822; a@b` -> `a@b`."""
    kind, semicolon, rest = value.partition(";")
    if kind.strip().lower() == "utf-8":
        return single_line(from_utf8_xtext(decode_words(rest)))
    return single_line(decode_words(rest if semicolon and " " not in kind.strip() else value))


def _fields(group: str) -> dict[str, str]:
    """The first of each name. A line that is no field is passed over; to the library `email` it ends the group."""
    fields: dict[str, str] = {}
    for line in re.sub(r"\n[ \t]+", " ", group).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    return fields


def read_returned(raw: bytes) -> Returned:
    """A delivery status notification (RFC 3464), an automatic reply (RFC 3834), or some other answer. Never raises.

    What is no notification changes nothing: a holiday message must not fail an invoice.
    """
    bounce = parse_dsn(raw)
    if bounce is not None:
        text = " ".join(part for part in (bounce.action, bounce.status, bounce.diagnostic) if part)
        return Returned(text, bounce.action == "failed")
    try:
        automatic = is_auto_submitted(parse(raw))
    except MalformedMail:
        automatic = False
    return Returned(
        "an automatic reply came back" if automatic else "an answer that is no notification came back", False
    )
