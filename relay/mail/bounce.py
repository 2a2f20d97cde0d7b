"""Read the delivery status notifications of others (RFC 3464 §2): what became of a mail that we relayed."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from relay.mail.charset import printable
from relay.mail.content import text
from relay.mail.malformed import MalformedMail
from relay.mail.message import Message
from relay.mail.spans import parse
from relay.mail.words import decode_words

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


def _bounces(message: Message) -> Iterator[Bounce]:
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
        return printable(from_utf8_xtext(decode_words(rest)))
    return printable(decode_words(rest if semicolon and " " not in kind.strip() else value))


def from_utf8_xtext(address: str) -> str:
    """An address in utf-8-addr-xtext or utf-8-addr-unitext (rfc6533#3), decoded. Of what is no character it is kept."""

    def letter(match: re.Match[str]) -> str:
        number = int(match[1], 16)
        return chr(number) if number <= sys.maxunicode and not 0xD800 <= number <= 0xDFFF else match[0]

    return re.sub(r"\\x\{([0-9A-Fa-f]{2,6})\}", letter, address)


def _fields(group: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in re.sub(r"\n[ \t]+", " ", group).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    return fields
