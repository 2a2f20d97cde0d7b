"""Delivery status notifications (RFC 3464) to the sender of a mail that failed or is late."""

from relay.lifecycle import Transition
from relay.mail.dsn import Notice, report
from relay.model import Delivery, Mail, Recipient, Retry, new_queue_id
from relay.reports.envelope import generated

_ACTION = {"failed": ("failed", "FAILURE", "5.0.0"), "late": ("delayed", "DELAY", "4.0.0")}


def status_report(
    mail: Mail, delivery: Delivery, transition: Transition, *, hostname: str, retry: Retry, now: float
) -> tuple[Mail, ...]:
    """The notification that `transition.report` ("failed" or "late") calls for; none where none may be sent.

    Never to the null sender and never about a mail of our own (rfc3464#2); NOTIFY is honoured (rfc3461#4.1). It speaks
    of the addresses the platform wrote to: the Agiris address is the firm's affair.
    """
    if mail.generated or not mail.envelope.sender or transition.report not in _ACTION:
        return ()
    action, wish, unknown = _ACTION[transition.report]
    answers = set(mail.plans[delivery.plan].answers)
    about = [each for each in mail.envelope.recipients if each.address in answers and _wished(each, wish)]
    if not about:
        return ()
    code, _, rest = transition.reply.partition(" ")
    status = rest.partition(" ")[0] if rest[:1] in "245" and rest[1:2] == "." else unknown
    notices = [
        Notice(
            recipient=each.address,
            action=action,
            status=status,
            diagnostic=transition.reply if code.isdecimal() else "",
            orcpt=each.orcpt,
            tried=now,
            until=mail.arrived + retry.give_up if action == "delayed" else None,
        )
        for each in about
    ]
    queue_id = new_queue_id()
    raw = report(
        hostname=hostname,
        queue_id=queue_id,
        to=mail.envelope.sender,
        at=now,
        arrived=mail.arrived,
        notices=notices,
        original=mail.raw,
        original_id=mail.queue_id,
        envid=mail.envelope.envid,
    )
    return (
        generated(
            queue_id=queue_id,
            to=mail.envelope.sender,
            raw=raw,
            now=now,
            hostname=hostname,
            smarthost=delivery.smarthost,
        ),
    )


def _wished(recipient: Recipient, wish: str) -> bool:
    """Without NOTIFY, failures and delays are told (rfc3461#4.1)."""
    return not recipient.notify or wish in recipient.notify
