"""Delivery status notifications that come in: for which delivery (the return path, signed), and what they say (RFC
3464)."""

import hmac
import re
import sys
from base64 import b32encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from relay.mime.classification import is_auto_submitted
from relay.mime.encoded_words import decode_words
from relay.mime.message import MalformedMail, MimeMessage
from relay.mime.parser import parse
from relay.mime.text import text
from relay.single_line import single_line

_TAG = re.compile(r"([0-9A-Z]{1,40})-([1-9][0-9]{0,8})-([A-Z2-7]{16})")
MAX_LOCAL = 64
"""Octets of a local part (rfc5321#4.5.3.1.1)."""

MAX_RETURN_PATH_LOCAL = 24
"""Octets of the local part of a return path to which a tag can be added, whatever the number of the delivery."""


def verp(return_path: str, queue_id: str, number: int, secret: bytes) -> str:
    """`bounces@relay.example` -> `bounces+<queue id>-<number>-<80 bits of HMAC-SHA-256>@relay.example`.

    Letters and digits that survive a change of case on the way. Raises ValueError when `return_path` is no address or
    its local part leaves no room (MAX_RETURN_PATH_LOCAL octets always fit), or the secret is empty.
    """
    local, at, domain = return_path.rpartition("@")
    tag = f"{queue_id}-{number}".upper()
    tagged = f"{local}+{tag}-{_seal(tag, secret)}"
    if not (local and at and domain) or len(tagged.encode()) > MAX_LOCAL:
        raise ValueError("the return path is no address, or its local part is too long for a tag")
    return f"{tagged}@{domain}"


def parse_verp(address: str, secret: bytes) -> tuple[str, int] | None:
    """(queue id, number) of an address that `verp` made with this secret; None for any other: a forged bounce."""
    tag = address.rpartition("@")[0].rpartition("+")[2].upper()
    match = _TAG.fullmatch(tag) if len(tag) <= MAX_LOCAL else None
    if match is None or not hmac.compare_digest(_seal(f"{match[1]}-{match[2]}", secret), match[3]):
        return None
    return match[1], int(match[2])


def _seal(tag: str, secret: bytes) -> str:
    keyed = _keyed(secret).copy()
    keyed.update(tag.encode("utf-8"))
    return b32encode(keyed.digest()[:10]).decode("ascii")


@lru_cache(maxsize=4)
def _keyed(secret: bytes) -> hmac.HMAC:
    """Kept, and not `hmac.digest`, which lets go of the interpreter's lock for a few octets."""
    if not secret:
        raise ValueError("no secret to sign return paths with")
    return hmac.new(secret, b"verp\0", sha256)


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


def from_utf8_xtext(address: str) -> str:
    """An address in utf-8-addr-xtext or utf-8-addr-unitext (rfc6533#3), decoded. Of what is no character it is kept."""

    def decoded(match: re.Match[str]) -> str:
        number = int(match[1], 16)
        return chr(number) if number <= sys.maxunicode and not 0xD800 <= number <= 0xDFFF else match[0]

    return re.sub(r"\\x\{([0-9A-Fa-f]{2,6})\}", decoded, address)


def _fields(group: str) -> dict[str, str]:
    """The first of each name. A line that is no field is passed over; to the library `email` it ends the group."""
    fields: dict[str, str] = {}
    for line in re.sub(r"\n[ \t]+", " ", group).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    return fields


@dataclass(frozen=True, slots=True)
class Returned:
    """text: one line for the history. failed: the message did not reach its mailbox after all."""

    text: str
    failed: bool


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
