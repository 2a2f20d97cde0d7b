"""The envelope of a mail of our own."""

from relay.model import Disposition, Envelope, Mail, Plan, Recipient

DESTINATION = "reports"
"""Name of the destination of our own mails: no client's limits apply to them."""


def generated(*, queue_id: str, to: str, raw: bytes, now: float, hostname: str, smarthost: str) -> Mail:
    """A mail to `to` from the null sender (rfc3464#2), due at once. `now`: epoch seconds."""
    plan = Plan(Disposition.RELAY, to=(to,), destination=DESTINATION, smarthost=smarthost, answers=(to,))
    return Mail(
        queue_id=queue_id,
        envelope=Envelope("", (Recipient(to),), helo=hostname),
        raw=raw,
        plans=(plan,),
        arrived=now,
        fingerprint=f"generated {queue_id}",
        message_id=f"<{queue_id}@{hostname}>",
        generated=True,
    )
