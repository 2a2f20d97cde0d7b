"""A mail that came home to one of our return paths: what it says of the mail we relayed."""

from dataclasses import dataclass

from relay.mail.bounce import parse_dsn
from relay.mail.malformed import MalformedMail
from relay.mail.spans import parse
from relay.mail.traits import is_auto_submitted


@dataclass(frozen=True, slots=True)
class Returned:
    """text: one line for the history. failed: the mail did not reach its mailbox after all."""

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
