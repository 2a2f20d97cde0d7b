"""The header that leaves: what is cut, what is put on top, and that a value never becomes a second field."""

import email
import email.policy
from dataclasses import replace
from email.message import EmailMessage

import pytest

from relay.mime.parser import parse
from relay.mime.rewriting import render
from relay.routing.decision import Decision
from tests.support.decisions import RECEIVED, Setting, setting

ONE = [{"facturx": {"name": "f.pdf", "number": "F-1"}}]
TWO = [*ONE, {"facturx": {"name": "g.pdf", "number": "F-2"}}]
PAIR = [*ONE, {"pdf": {"name": "o.pdf", "mentions": ["F-1"]}}]


def outgoing(case: Setting, decision: Decision) -> list[EmailMessage]:
    mails = [b"".join(render(case.message.raw, plan.prepend, plan.cuts)) for plan in decision.plans]
    return [email.message_from_bytes(mail, policy=email.policy.default) for mail in mails]


def sent(
    parts: list[dict[str, object]], headers: dict[str, object] | None = None, **destination: object
) -> list[EmailMessage]:
    case = setting({"mail": {"parts": parts, "headers": headers or {}}, "settings": {"destination": destination}})
    return outgoing(case, case.decide())


def test_received_stands_on_top() -> None:
    case = setting({"mail": {"parts": ONE}})
    (plan,) = case.decide().plans
    assert plan.prepend.startswith(RECEIVED)
    assert plan.return_path == "bounces@export.test"


def test_to_becomes_exactly_the_destination() -> None:
    headers = {"Cc": "c@x.example", "Bcc": "b@x.example", "Resent-To": "r@x.example", "Resent-Bcc": "rb@x.example"}
    (mail,) = sent(ONE, headers)
    assert mail.get_all("To") == ["martin@agiris.example"]
    assert not [name for name in mail if name.lower() in ("cc", "bcc") or name.lower().startswith("resent-")]


def test_to_is_kept_and_bcc_never_leaves() -> None:
    (mail,) = sent(ONE, {"Cc": "c@x.example", "Bcc": "b@x.example", "Return-Path": "<x@y>"}, to_header="keep")
    assert mail["To"] == "Client <client@jefacture.example>"
    assert mail["Cc"] == "c@x.example"
    assert mail["Bcc"] is None and mail["Return-Path"] is None


def test_from_becomes_ours_with_the_authors_as_reply_to() -> None:
    (mail,) = sent(ONE, {"Sender": "s@x.example"}, from_header="relay@cabinet.example")
    assert mail.get_all("From") == ["relay@cabinet.example"]
    assert mail["Reply-To"] == "Plateforme <no-reply@jefacture.example>"
    assert mail["Sender"] is None


def test_an_own_reply_to_stays() -> None:
    (mail,) = sent(ONE, {"Reply-To": "own@x.example"}, from_header="relay@cabinet.example")
    assert mail.get_all("Reply-To") == ["own@x.example"]


def test_a_split_message_has_its_own_message_id_and_refers_to_the_first() -> None:
    first, second = sent(TWO, {"References": "<old@x>"})
    assert first["Message-ID"] == "<1@jefacture.example>"
    assert first["References"] == "<old@x>"
    assert second.get_all("Message-ID") == ["<Q1.2@relay.test>"]
    assert second.get_all("References") == ["<1@jefacture.example>"]


def test_a_message_without_message_id_gets_one() -> None:
    first, second = sent(TWO, {"Message-ID": None})
    assert first["Message-ID"] == "<Q1@relay.test>"
    assert second["References"] == "<Q1@relay.test>"


def test_only_a_signature_that_we_break_is_cut() -> None:
    signature = "v=1; a=rsa-sha256; d=x; h={}; bh=a; b=b"
    assert sent(ONE, {"DKIM-Signature": signature.format("from:subject")})[0]["DKIM-Signature"]
    assert sent(ONE, {"DKIM-Signature": signature.format("from : TO")})[0]["DKIM-Signature"] is None
    assert sent(ONE, {"DKIM-Signature": signature.format("from:to")}, to_header="keep")[0]["DKIM-Signature"]
    assert sent(PAIR, {"DKIM-Signature": signature.format("from")}, to_header="keep")[0]["DKIM-Signature"] is None


def test_authentication_results_in_our_name_are_cut_and_others_kept() -> None:
    (mail,) = sent(
        ONE, {"Authentication-Results": "Relay.Test 1; spf=pass", "authentication-results": "mx.x; spf=pass"}
    )
    assert mail.get_all("Authentication-Results") == ["mx.x; spf=pass"]


def test_an_address_cannot_bring_a_second_field() -> None:
    case = setting(
        {
            "mail": {"parts": ONE},
            "settings": {"clients": {"martin": {"addresses": "a@b.example\r\nBcc: spy@evil.example"}}},
        }
    )
    (plan,) = case.decide().plans
    assert b"\r\nBcc" not in plan.prepend


def test_subject_and_kept_parts_are_octet_for_octet() -> None:
    case = setting({"mail": {"parts": PAIR, "headers": {"Subject": "=?utf-8?q?a=0ABcc=3A_x?="}}})
    (plan,) = case.decide().plans
    out = b"".join(render(case.message.raw, plan.prepend, plan.cuts))
    kept = next(entity for entity in case.message.attachments if entity.filename == "f.pdf")
    assert case.message.raw[kept.span.start : kept.span.end] in out
    assert b"Subject: =?utf-8?q?a=0ABcc=3A_x?=\r\n" in out
    assert [part.get_filename() for part in email.message_from_bytes(out).walk() if part.get_filename()] == ["f.pdf"]


@pytest.mark.parametrize(
    "line", [b"From x@y.example Tue Nov 24 10:00:00 2026\r\n", b">From x@y Tue Nov 24 10:00:00 2026\r\n"]
)
def test_an_mbox_line_does_not_end_the_header_that_leaves(line: bytes) -> None:
    case = setting({"mail": {"parts": PAIR}})
    marked = replace(case, message=parse(line + case.message.raw))
    ((plain,), (mail,)) = (
        [b"".join(render(each.message.raw, plan.prepend, plan.cuts)) for plan in each.decide().plans]
        for each in (case, marked)
    )
    assert mail == plain


def test_an_mbox_line_is_not_looked_for_among_the_fields() -> None:
    case = setting({"mail": {"parts": ONE, "headers": {"From": "a@b.example", "From-Us": "x"}}})
    (mail,) = outgoing(case, case.decide())
    assert (mail["From"], mail["From-Us"]) == ("a@b.example", "x")
