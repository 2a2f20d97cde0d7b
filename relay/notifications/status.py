"""Delivery status notifications to the sender (RFC 3464)."""

from relay.dsn.writer import Notice, report
from relay.lifecycle import Transition
from relay.model import Delivery, Disposition, Envelope, Message, Plan, Recipient, Retry, new_queue_id

DESTINATION = "reports"
"""Name of the destination of our own messages: no client's limits apply to them."""


def generated(*, queue_id: str, to: str, raw: bytes, now: float, hostname: str, smarthost: str) -> Message:
    """A message to `to` from the null sender (rfc3464#2), due at once. `now`: epoch seconds."""
    plan = Plan(Disposition.RELAY, to=(to,), destination=DESTINATION, smarthost=smarthost, answers=(to,))
    return Message(
        queue_id=queue_id,
        envelope=Envelope("", (Recipient(to),), helo=hostname),
        raw=raw,
        plans=(plan,),
        arrived=now,
        fingerprint=f"generated {queue_id}",
        message_id=f"<{queue_id}@{hostname}>",
        generated=True,
    )


_ACTION = {
    "failed": ("failed", "FAILURE", "5.0.0"),
    "late": ("delayed", "DELAY", "4.0.0"),
    "delivered": ("relayed", "SUCCESS", "2.0.0"),
}

_MEANINGS = {
    "1.0": "other address status",
    "1.1": "bad destination mailbox address",
    "1.2": "bad destination system address",
    "1.3": "bad destination mailbox address syntax",
    "1.6": "destination mailbox has moved, no forwarding address",
    "1.10": "recipient address has null MX",
    "2.0": "other mailbox status",
    "2.1": "mailbox disabled, not accepting messages",
    "2.2": "mailbox full",
    "2.3": "message length exceeds administrative limit",
    "3.0": "other mail system status",
    "3.1": "mail system full",
    "3.2": "system not accepting network messages",
    "3.4": "message too big for system",
    "4.0": "other network or routing status",
    "4.1": "no answer from host",
    "4.2": "bad connection",
    "4.3": "directory server failure",
    "4.4": "unable to route",
    "4.5": "mail system congestion",
    "4.6": "routing loop detected",
    "4.7": "delivery time expired",
    "5.0": "other protocol status",
    "6.0": "other media error",
    "6.1": "media not supported",
    "7.0": "other security status",
    "7.1": "delivery not authorized, message refused",
}
"""Subject and detail of an enhanced code in the words of RFC 3463 §3 (1.10: RFC 7505)."""


def status_report(
    message: Message,
    delivery: Delivery,
    transition: Transition,
    *,
    hostname: str,
    retry: Retry,
    now: float,
    smarthost: str = "default",
) -> tuple[Message, ...]:
    """The notification that `transition.report` ("failed", "late" or "delivered") calls for; none where none may be
    sent. smarthost: by which it leaves.

    Never to the null sender and never about a message of our own (rfc3464#2); NOTIFY is honoured (rfc3461#4.1). It
    names the addresses the platform wrote to. The Agiris address is the firm's affair, so of the next hop's reply it
    gives the codes, not the text, which may repeat the address.
    """
    if message.generated or not message.envelope.sender or transition.report not in _ACTION:
        return ()
    action, wish, unknown = _ACTION[transition.report]
    answers = set(message.plans[delivery.plan].answers)
    about = [
        recipient
        for recipient in message.envelope.recipients
        if recipient.address in answers and _wished(recipient, wish)
    ]
    if not about:
        return ()
    code, enhanced = _codes(transition.reply)
    notices = [
        Notice(
            recipient=recipient.address,
            action=action,
            status=enhanced or unknown,
            diagnostic=_diagnostic(code, enhanced),
            orcpt=recipient.orcpt,
            tried=now,
            until=message.arrived + retry.give_up if action == "delayed" else None,
        )
        for recipient in about
    ]
    queue_id = new_queue_id()
    raw = report(
        hostname=hostname,
        queue_id=queue_id,
        to=message.envelope.sender,
        at=now,
        arrived=message.arrived,
        notices=notices,
        original=message.raw,
        original_id=message.queue_id,
        envid=message.envelope.envid,
        whole=message.envelope.ret == "FULL",
    )
    return (
        generated(
            queue_id=queue_id, to=message.envelope.sender, raw=raw, now=now, hostname=hostname, smarthost=smarthost
        ),
    )


def _codes(reply: str) -> tuple[str, str]:
    """The code and the enhanced code with which a reply begins, "" for what it has not."""
    code, _, rest = reply.partition(" ")
    if not code.isdecimal():
        return "", ""
    enhanced = rest.partition(" ")[0]
    return code, enhanced if rest[:1] in "245" and rest[1:2] == "." else ""


def _diagnostic(code: str, enhanced: str) -> str:
    parts = (code, enhanced, _MEANINGS.get(enhanced[2:], ""))
    return " ".join(part for part in parts if part) if code else ""


def _wished(recipient: Recipient, wish: str) -> bool:
    """Without NOTIFY, failures and delays are reported (rfc3461#4.1)."""
    return wish in recipient.notify or (not recipient.notify and wish != "SUCCESS")
