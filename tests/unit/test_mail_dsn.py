"""Delivery status notifications, ours and others'."""

import email
import email.policy

import pytest

from relay.mail.bounce import parse_dsn
from relay.mail.dsn import Bounce, Notice, report
from relay.mail.spans import parse
from relay.mail.traits import is_auto_submitted
from tests.support.mails import mail, multipart, part, text

NOTICE = Notice("martin@agiris.example", "failed", "5.1.1", "550 5.1.1 no such mailbox", "mx.agiris.example", tried=2.0)


def ours(*notices: Notice, original: bytes = b"") -> bytes:
    return report(
        hostname="relay.example",
        queue_id="REPORT1",
        to="noreply@jefacture.example",
        at=2.0,
        arrived=1.0,
        notices=notices or (NOTICE,),
        original=original or mail(),
        original_id="QUEUE1",
        envid="env+1",
    )


def python(raw: bytes):
    return email.message_from_bytes(raw, policy=email.policy.default)


def test_a_report_is_a_multipart_report_in_three_parts():
    message = python(ours())
    assert (message.get_content_type(), message.get_param("report-type")) == ("multipart/report", "delivery-status")
    letter, status, returned = message.iter_parts()
    assert (status.get_content_type(), returned.get_content_type()) == (
        "message/delivery-status",
        "text/rfc822-headers",
    )
    assert "n'a pas pu être remis" in letter.get_content() and "could not be delivered" in letter.get_content()
    assert message["Auto-Submitted"] == "auto-replied" and message["Message-ID"] == "<REPORT1@relay.example>"
    assert "Undelivered" in message["Subject"]
    assert ours().isascii() and b"\n" not in ours().replace(b"\r\n", b"")
    assert parse(ours()).defects == ()


def test_the_fields_of_rfc_3464():
    about, recipient = list(python(ours()).iter_parts())[1].get_payload()
    assert (about["Original-Envelope-Id"], about["Reporting-MTA"]) == ("env+1", "dns; relay.example")
    assert recipient["Final-Recipient"] == "rfc822; martin@agiris.example"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such mailbox"
    assert (recipient["Remote-MTA"], recipient["Will-Retry-Until"]) == ("dns; mx.agiris.example", None)


def test_only_the_header_goes_back():
    raw = ours(original=mail([text("SECRET")], subject="Nouvelle pièce"))
    assert b"SECRET" not in raw and b"Nouvelle pi??ce" in raw


def test_a_delay_says_until_when():
    raw = ours(Notice("a@b.example", "delayed", "4.4.1", until=3.0))
    assert b"Will-Retry-Until: Thu, 01 Jan 1970 00:00:03 +0000\r\n" in raw
    assert "still being retried" in python(raw)["Subject"]


def test_a_reply_from_the_remote_cannot_add_a_field():
    raw = ours(Notice("a@b.example", "failed", "5.0.0", "550 no\r\nAction: delivered\r\n\r\n--x"))
    assert raw.count(b"\r\nAction:") == 1
    assert parse_dsn(raw).action == "failed"


@pytest.mark.parametrize("actions", [(), ("failed", "delayed"), ("eaten",)])
def test_what_is_no_report(actions):
    with pytest.raises(ValueError):
        report(
            hostname="r",
            queue_id="q",
            to="a@b",
            at=0,
            arrived=0,
            notices=[Notice("a@b", each, "5.0.0") for each in actions],
        )


def test_we_read_what_we_write():
    assert parse_dsn(ours()) == Bounce("failed", "5.1.1", "martin@agiris.example", "550 5.1.1 no such mailbox")


def dsn(status: str, encoding: str = "7bit") -> bytes:
    parts = [text("sorry"), part(status.replace("\n", "\r\n"), "message/delivery-status", encoding=encoding)]
    return mail(entity=multipart(parts, "report", params="; report-type=delivery-status"))


@pytest.mark.parametrize("encoding", ["7bit", "base64", "quoted-printable"])
def test_others_reports(encoding):
    status = """\
Reporting-MTA: dns; mx.example
Arrival-Date: x

Original-Recipient: rfc822;asked@agiris.example
Final-Recipient: RFC822; real@agiris.example
Action: Failed
"""
    assert parse_dsn(dsn(status, encoding)) == Bounce("failed", "", "real@agiris.example", "")


def test_of_several_recipients_the_worst_off():
    groups = ["A: b"] + [
        f"Final-Recipient: rfc822; {action}@b.example\nAction: {action}\nStatus: {status} (text)\n"
        f"Diagnostic-Code: smtp; {status}\n  folded\x07"
        for action, status in (("delivered", "2.0.0"), ("failed", "5.2.2"), ("delayed", "4.2.2"))
    ]
    assert parse_dsn(dsn("\n\n".join(groups))) == Bounce("failed", "5.2.2", "failed@b.example", "5.2.2 folded")


@pytest.mark.parametrize(
    "raw", [b"", mail(), dsn(""), dsn("\n\n\n"), dsn("Action: eaten"), dsn("Status: 5.0.0"), b"X: " + b"x" * 300_000]
)
def test_what_is_no_dsn(raw):
    assert parse_dsn(raw) is None


@pytest.mark.parametrize(
    ("headers", "automatic"),
    [
        ({"Auto-Submitted": "auto-replied; x=y"}, True),
        ({"Auto-Submitted": "no"}, False),
        ({"Precedence": "Bulk"}, True),
        ({"List-Id": "<a.b>"}, True),
        ({"Return-Path": "<>"}, True),
        ({"Return-Path": "<a@b>"}, False),
        ({}, False),
    ],
)
def test_auto_submitted(headers, automatic):
    assert is_auto_submitted(parse(mail(headers=headers))) is automatic
    assert is_auto_submitted(parse(ours()))


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("failed", "Aucune nouvelle tentative ne sera faite."),
        ("delayed", "Les tentatives continuent\u202f; vous n'avez rien à faire."),
    ],
)
def test_the_french_of_a_report(action: str, said: str):
    letter = next(iter(python(ours(Notice("a@b.example", action, "4.4.1"))).iter_parts()))
    assert said in letter.get_content()
