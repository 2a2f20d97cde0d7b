"""identity(): what a duplicate shares with the message that was stored before; and is a stored message intact?

A peer that lost our 250 sends again: the same octets, or the same message under fresh trace fields when it came
through another queue. Both must be recognised, else the invoice is booked twice; two messages are never one."""

from hashlib import sha256
from typing import NamedTuple

from relay.mime.headers import read_header
from relay.mime.message import Entity, Header, MalformedMail
from relay.model import Envelope

TRACE = frozenset(
    {"received", "x-received", "return-path", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to"}
    | {"authentication-results", "received-spf", "dkim-signature", "x-google-dkim-signature"}
    | {"arc-seal", "arc-message-signature", "arc-authentication-results"}
)
"""Fields that a relay on the way adds: they say how the message came, not which message it is."""


class Identity(NamedTuple):
    """fingerprint: hex. content_digest: 32 octets, what `content_digest` gives for the raw message."""

    fingerprint: str
    content_digest: bytes


def identity(envelope: Envelope, raw: bytes, root: Entity | None = None) -> Identity:
    """Fingerprint and content digest for one pass over the body. Never raises.

    The fingerprint is the SHA-256 of sender, set of recipients, header without trace fields, and body. Equal for the
    same octets; also for octets that differ in trace fields only, provided that a Message-ID is there to say that it is
    the same message (rfc5322#3.6.4). Domains compare without case, local parts with (rfc5321#2.4). Order of recipients,
    HELO, user and DSN parameters do not count. root: of the message when it has been parsed already.
    """
    headers, start = (root.headers, root.body.start) if root is not None else _header(raw)
    body = sha256(memoryview(raw)[start:]).digest()
    way = _way(envelope)
    if "message-id" in [header.name for header in headers]:
        kept = b"".join([raw[slice(*header.span)] for header in headers if header.name not in TRACE])
        hashed = b"\0".join((way, b"", b"mail", kept, body))
    else:
        hashed = b"\0".join((way, b"", b"raw", raw[:start], body))
    return Identity(sha256(hashed).hexdigest(), _digest_of(raw[:start], body))


def identity_unread(envelope: Envelope, raw: bytes) -> Identity:
    """Of a message that could not be read: equal for the same octets to the same recipients, whatever they hold."""
    digest = sha256(raw).digest()
    return Identity(sha256(b"\0".join((_way(envelope), b"", b"unread", digest))).hexdigest(), digest)


def fingerprint(envelope: Envelope, raw: bytes) -> str:
    """That of `identity` alone."""
    return identity(envelope, raw).fingerprint


def content_digest(raw: bytes) -> bytes:
    """SHA-256 of the header's octets and the SHA-256 of the body: equal for the same octets and for no others."""
    _, start = _header(raw)
    return _digest_of(raw[:start], sha256(memoryview(raw)[start:]).digest())


def is_intact(raw: bytes, digest: bytes) -> bool:
    """Are these the octets of that digest? A spool of the first days holds the SHA-256 of the whole instead."""
    return content_digest(raw) == digest or sha256(raw).digest() == digest


def _digest_of(header: bytes, body: bytes) -> bytes:
    return sha256(header + body).digest()


def _header(raw: bytes) -> tuple[tuple[Header, ...], int]:
    try:
        fields = read_header(raw, 0, len(raw))
    except MalformedMail:
        return (), 0
    return fields.headers, fields.body


def _way(envelope: Envelope) -> bytes:
    """Sender and set of recipients."""
    addresses = [_address(envelope.sender), *sorted({_address(each) for each in envelope.addresses})]
    return "\0".join(addresses).encode("utf-8", "surrogatepass")


def _address(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}"
