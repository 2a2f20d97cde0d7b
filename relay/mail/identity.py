"""fingerprint(): what a resubmission shares with the mail that was stored before.

A peer that lost our 250 sends again: the same octets, or the same mail under fresh trace fields when it came through
another queue. Both must be recognised, else the invoice is booked twice; two different mails may never be one.
"""

from hashlib import sha256

from relay.mail.fields import read_header
from relay.mail.malformed import MalformedMail
from relay.mail.message import Entity, Header
from relay.model import Envelope

TRACE = frozenset(
    {"received", "x-received", "return-path", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to"}
    | {"authentication-results", "received-spf", "dkim-signature", "x-google-dkim-signature"}
    | {"arc-seal", "arc-message-signature", "arc-authentication-results"}
)
"""Fields a relay on the way adds; they tell how the mail came, not which mail it is."""


def fingerprint(envelope: Envelope, raw: bytes, root: Entity | None = None) -> str:
    """SHA-256, hex, of sender, set of recipients, header without trace fields, and body. Never raises.

    Equal for the same octets; also for octets that differ in trace fields only, provided that a Message-ID is there to
    say that it is the same mail (rfc5322#3.6.4). Domains compare without case, local parts with (rfc5321#2.4). Order of
    recipients, HELO, user and DSN parameters do not count. root: of the mail when it has been parsed already.
    """
    digest = sha256()
    for address in (_address(envelope.sender), *sorted({_address(each) for each in envelope.addresses})):
        digest.update(address.encode("utf-8", "surrogatepass") + b"\0")
    headers, body = (root.headers, root.body.start) if root is not None else _header(raw)
    if not any(header.name == "message-id" for header in headers):
        digest.update(b"\0raw\0" + raw)
        return digest.hexdigest()
    view = memoryview(raw)
    digest.update(b"\0mail\0")
    for header in headers:
        if header.name not in TRACE:
            digest.update(view[header.span.start : header.span.end])
    digest.update(b"\0")
    digest.update(view[body:])
    return digest.hexdigest()


def _header(raw: bytes) -> tuple[tuple[Header, ...], int]:
    try:
        fields = read_header(raw, 0, len(raw))
    except MalformedMail:
        return (), 0
    return fields.headers, fields.body


def _address(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}"
