"""Whatever the SMTP server accepts as an address can be sent to: its status notification leaves, and arrives there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.daemon.outbound import Outbound
from relay.dsn.return_path import MAX_RETURN_PATH_LOCAL, verp
from relay.lifecycle import Transition
from relay.mime.parser import parse
from relay.model import Delivery, Disposition, Envelope, Message, Plan, Recipient, Retry, State, new_queue_id
from relay.notifications import status_report
from relay.smtp_client.envelope import path_command
from relay.smtpd import grammar

ODD = (
    '"john doe"@x.example',
    '"<john>"@x.example',
    '"a\\"b c"@x.example',
    '"a\\\\"@x.example',
    '""@x.example',
    '"@"@x.example',
    '" "@x.example',
    '"é è"@x.example',
    '"a b"@[192.0.2.1]',
    "é@x.example",
    "o'neil@x.example",
)


def leaves(sender: str) -> None:
    """A notification about a failure can be written to `sender`, and is one for who reads the RCPT."""
    to = "client@export.relay.example"
    plan = Plan(Disposition.RELAY, to=("a@agiris.example",), answers=(to,))
    mail = Message(new_queue_id(), Envelope(sender, (Recipient(to),)), b"Subject: x\r\n\r\n", (plan,), 1e6, "f")
    delivery = Delivery(mail.queue_id, 1, 0, plan.to[0], State.ACTIVE, 1e6, None)
    failed = Transition(State.FAILED, None, "550 5.1.1 no such user", "failed", report="failed")
    [report] = status_report(mail, delivery, failed, hostname="relay.example", retry=Retry(), now=1e6)
    parse(report.raw)
    [recipient] = report.plans[0].to
    command = path_command("RCPT TO:", recipient).decode()
    assert command.endswith("\r\n")
    heard = grammar.rcpt(command.removeprefix("RCPT ").removesuffix("\r\n"), extended=True, smtputf8=True)
    assert heard == Recipient(sender)


@pytest.mark.parametrize("sender", ODD)
def test_a_notification_leaves_to_an_odd_sender(sender: str) -> None:
    taken = grammar.mail(f"FROM:<{sender}> SMTPUTF8", extended=True)
    assert isinstance(taken, grammar.MailCommand) and taken.sender == sender
    leaves(sender)


@given(st.from_regex(grammar._PATH, fullmatch=True))
def test_a_notification_leaves_to_whatever_sender_is_accepted(path: str) -> None:
    taken = grammar.mail(f"FROM:{path} SMTPUTF8", extended=True)
    if isinstance(taken, grammar.MailCommand):
        leaves(taken.sender)


@pytest.mark.parametrize(
    "address", ["a b@x.example", "<a@x.example", 'a" "@x.example', '"a\r\nb"@x.example', '"a"b c@x.example', '"a" @x']
)
def test_what_could_break_out_of_a_command_is_not_sent(address: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a command"):
        path_command("RCPT TO:", address)


@pytest.mark.parametrize("length", [1, MAX_RETURN_PATH_LOCAL, 30, 64])
def test_every_return_path_of_a_plan_is_sendable(length: int) -> None:
    """With a tag where it fits; a longer one, planned by an older release, without."""
    return_path = f"{'b' * length}@relay.example"
    delivery = Delivery(new_queue_id(), 99_999, 0, "a@x", State.ACTIVE, 1e6, None)
    sender = Outbound(lambda: None, b"secret", None).sender(  # type: ignore[arg-type, return-value]
        delivery, Plan(Disposition.RELAY, return_path=return_path)
    )
    tagged = length <= MAX_RETURN_PATH_LOCAL
    assert sender == (verp(return_path, delivery.queue_id, 99_999, b"secret") if tagged else return_path)
    assert isinstance(grammar.mail(f"FROM:<{sender}>", extended=True), grammar.MailCommand)
    assert len(sender.partition("@")[0]) <= 64
