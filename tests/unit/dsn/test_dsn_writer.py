"""Delivery status notifications, ours and others'."""

import email
import email.policy

import pytest

from relay.dsn.bounces import Bounce, parse_dsn
from relay.dsn.writer import Notice, report
from relay.mime.classification import is_auto_submitted
from relay.mime.parser import parse
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
def test_a_report_without_one_known_action_is_an_error(actions):
    with pytest.raises(ValueError):
        report(
            hostname="r",
            queue_id="q",
            to="a@b",
            at=0,
            arrived=0,
            notices=[Notice("a@b", each, "5.0.0") for each in actions],
        )


def test_our_own_report_is_parsed_back():
    assert parse_dsn(ours()) == Bounce("failed", "5.1.1", "martin@agiris.example", "550 5.1.1 no such mailbox")


def dsn(status: str, encoding: str = "7bit") -> bytes:
    parts = [text("sorry"), part(status.replace("\n", "\r\n"), "message/delivery-status", encoding=encoding)]
    return mail(entity=multipart(parts, "report", params="; report-type=delivery-status"))


@pytest.mark.parametrize("encoding", ["7bit", "base64", "quoted-printable"])
def test_a_report_of_another_server_is_parsed(encoding):
    status = """\
Reporting-MTA: dns; mx.example
Arrival-Date: x

Original-Recipient: rfc822;asked@agiris.example
Final-Recipient: RFC822; real@agiris.example
Action: Failed
"""
    assert parse_dsn(dsn(status, encoding)) == Bounce("failed", "", "real@agiris.example", "")


def test_of_several_recipients_the_worst_action_counts():
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


def fields(*notices: Notice, **more: object) -> list[email.message.Message]:
    """The groups of the status part: of the message, then of each recipient."""
    given = {"hostname": "r", "queue_id": "Q", "to": "a@b", "at": 0, "arrived": 0, "original": mail(), **more}
    raw = report(notices=notices or (NOTICE,), **given)  # type: ignore[arg-type]
    assert raw.isascii()
    return list(next(p for p in python(raw).walk() if p.get_content_type() == "message/delivery-status").get_payload())


@pytest.mark.parametrize(
    ("envid", "said"),
    [
        ("QQ314159", "QQ314159"),
        ("a+2Bb+3Dc", "a+b=c"),
        ("a+20b", "a b"),
        ("a+0D+0AAction:x", "a+0D+0AAction:x"),
        ("a+E9", "a+E9"),
        ("a+00", "a+00"),
    ],
)
def test_xtext_of_envid_is_decoded(envid: str, said: str):
    about, *_ = fields(envid=envid)
    assert about["Original-Envelope-Id"] == said
    assert about["Action"] is None


@pytest.mark.parametrize(
    ("orcpt", "said"),
    [
        (None, None),
        ("rfc822;martin@x.example", "rfc822;martin@x.example"),
        ("rfc822;martin+2Btag@x.example", "rfc822;martin+tag@x.example"),
        ("RFC822;a+3Db+2Bc@x", "RFC822;a=b+c@x"),
        ('rfc822;"john+20doe"@x', 'rfc822;"john doe"@x'),
        ("rfc822;a+0D+0AStatus:+202@x", "rfc822;a+0D+0AStatus:+202@x"),
        ("utf-8;m\\x{E9}l@x.example", "utf-8;m\\x{E9}l@x.example"),
        ("utf-8;mél@éx.example", "utf-8;m\\x{E9}l@\\x{E9}x.example"),
        ("utf-8;a\\x{2B}b@x", "utf-8;a\\x{2B}b@x"),
    ],
)
def test_the_original_recipient_is_decoded(orcpt: str | None, said: str | None):
    _, group = fields(Notice("a@b.example", "failed", "5.1.1", orcpt=orcpt))
    assert group["Original-Recipient"] == said


@pytest.mark.parametrize(
    ("recipient", "said"),
    [
        ("martin@x.example", "rfc822; martin@x.example"),
        ('"john doe"@x.example', 'rfc822; "john doe"@x.example'),
        ("mél@x.example", "utf-8; m\\x{E9}l@x.example"),
        ("été+a=b@x.example", "utf-8; \\x{E9}t\\x{E9}\\x{2B}a\\x{3D}b@x.example"),
        ("日@例.example", "utf-8; \\x{65E5}@\\x{4F8B}.example"),
        ("\U0001f4e8@x.example", "utf-8; \\x{1F4E8}@x.example"),
    ],
)
def test_a_final_recipient_outside_ascii_is_written_in_seven_bits(recipient: str, said: str):
    _, group = fields(Notice(recipient, "failed", "5.1.1"))
    assert group["Final-Recipient"] == said
    assert parse_dsn(ours(Notice(recipient, "failed", "5.1.1"))).recipient == recipient


def test_characters_that_do_not_exist_are_kept_as_they_came():
    assert parse_dsn(dsn("Action: failed\nFinal-Recipient: utf-8; a\\x{D800}\\x{FFFFFF}@b")).recipient == (
        "a\\x{D800}\\x{FFFFFF}@b"
    )


ORIGINAL = mail([text("SECRET")], subject="Test")
EIGHT = ORIGINAL.replace(b"SECRET", "pièce".encode())


@pytest.mark.parametrize(
    ("original", "action", "whole", "returned"),
    [
        (ORIGINAL, "failed", True, "message/rfc822"),
        (EIGHT, "failed", True, "message/rfc822"),
        (ORIGINAL, "failed", False, "text/rfc822-headers"),
        (ORIGINAL, "delayed", True, "text/rfc822-headers"),
        (ORIGINAL, "relayed", True, "text/rfc822-headers"),
        (ORIGINAL + b"x" * 999 + b"\r\n", "failed", True, "text/rfc822-headers"),
        (ORIGINAL + b"\0\r\n", "failed", True, "text/rfc822-headers"),
        (ORIGINAL + b"x\r\n" * 4_000_000, "failed", True, "text/rfc822-headers"),
        (b"", "failed", True, "message/rfc822"),
    ],
    ids=["7bit", "8bit", "HDRS", "delayed", "relayed", "long line", "NUL", "large", "empty"],
)
def test_a_failed_message_goes_back_whole_on_request(original: bytes, action: str, whole: bool, returned: str):
    raw = report(
        hostname="r", queue_id="q", to="a@b", at=0, arrived=0, notices=[Notice("a@b", action, "4.0.0")],
        original=original, whole=whole,
    )  # fmt: skip
    part = list(python(raw).iter_parts())[-1]
    assert part.get_content_type() == returned
    assert (original in raw) == (returned == "message/rfc822")
    bits = "8bit" if returned == "message/rfc822" and not original.isascii() else "7bit"
    assert python(raw)["Content-Transfer-Encoding"] == bits and raw.isascii() == (bits == "7bit")
    assert parse(raw).defects == () and parse_dsn(raw).action == action


@pytest.mark.parametrize("to", ['"john doe"@x.example', '"john  \\"doe"@x.example', "mél@x.example"])
def test_any_sender_that_can_be_accepted_gets_a_report(to: str):
    raw = report(hostname="r", queue_id="q", to=to, at=0, arrived=0, notices=[NOTICE], original=mail())
    top, _, _ = raw.partition(b"\r\n\r\n")
    assert f"\r\nTo: {' '.join(to.split())}\r\n".encode() in top
    assert parse_dsn(raw).action == "failed"


def test_a_relayed_message_is_reported_as_relayed():
    raw = ours(Notice("a@b.example", "relayed", "2.0.0"))
    assert "Relayed" in python(raw)["Subject"]
    letter = next(iter(python(raw).iter_parts())).get_content()
    assert "a été transmis" in letter and "was relayed" in letter
    assert parse_dsn(raw) == Bounce("relayed", "2.0.0", "a@b.example", "")
