"""The failure table, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.replies import (
    TEXT_LIMIT,
    Deferred,
    Delivered,
    ErrorKind,
    Failed,
    OutcomeUnknown,
    Reply,
    Stage,
    Subject,
    classify,
    clean,
    failure,
    remote,
    subject_of,
)

LATER, ALERT, NO = (Deferred, False), (Deferred, True), (Failed, False)


@pytest.mark.parametrize(
    ("stage", "code", "enhanced", "expected"),
    [
        (Stage.GREETING, 421, "4.3.2", LATER),
        (Stage.GREETING, 554, "", LATER),
        (Stage.EHLO, 550, "5.7.1", LATER),
        (Stage.EHLO, 421, "", LATER),
        (Stage.TLS, 454, "4.7.0", ALERT),
        (Stage.TLS, 502, "", ALERT),
        (Stage.AUTH, 535, "5.7.8", ALERT),
        (Stage.AUTH, 500, "", ALERT),
        (Stage.AUTH, 454, "4.7.0", LATER),
        (Stage.MAIL, 450, "", LATER),
        (Stage.MAIL, 530, "5.7.0", ALERT),
        (Stage.MAIL, 530, "", ALERT),
        (Stage.MAIL, 550, "5.7.1", ALERT),
        (Stage.MAIL, 553, "5.1.8", ALERT),
        (Stage.MAIL, 552, "5.3.4", NO),
        (Stage.RCPT, 530, "", ALERT),
        (Stage.RCPT, 452, "4.5.3", LATER),
        (Stage.RCPT, 552, "5.5.3", LATER),
        (Stage.RCPT, 550, "5.1.1", NO),
        (Stage.RCPT, 550, "5.7.1", NO),
        (Stage.RCPT, 421, "", LATER),
        (Stage.DATA, 451, "", LATER),
        (Stage.DATA, 554, "5.5.1", NO),
        (Stage.DATA, 250, "", LATER),
        (Stage.BODY, 421, "", LATER),
        (Stage.BODY, 452, "4.3.1", LATER),
        (Stage.BODY, 552, "5.3.4", NO),
        (Stage.BODY, 554, "5.7.1", NO),
        (Stage.BODY, 530, "5.7.57", ALERT),
        (Stage.BODY, 250, "2.0.0", (Delivered, False)),
        (Stage.BODY, 354, "", LATER),
        (Stage.BODY, 700, "", LATER),
        (Stage.INTERNAL, 550, "", LATER),
    ],
)
def test_reply_means(stage: Stage, code: int, enhanced: str, expected: tuple[type, bool]) -> None:
    outcome = classify(stage, code, enhanced, "why")
    assert (type(outcome), getattr(outcome, "alert", False)) == expected
    assert "why" in outcome.reply.text


REFUSALS = [
    # about us: deferred, with an alert
    ("554 5.7.1 <a@agiris.example>: Relay access denied", ALERT),
    ("550 5.7.1 Unable to relay", ALERT),
    ("550 5.7.1 Relaying denied. Proper authentication required.", ALERT),
    ("550 5.7.1 <a@agiris.example>... Relaying denied", ALERT),
    ("550 relay not permitted", ALERT),
    ("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", ALERT),
    ("550 5.7.367 Remote server returned not permitted to relay", ALERT),
    ("550 5.7.64 TenantAttribution; Relay Access Denied", ALERT),
    ("550 5.4.1 Relay Access Denied", ALERT),
    ("550 5.7.0 Mail relay denied [192.0.2.1].", ALERT),
    ("454 4.7.1 Relay access denied", LATER),
    ("554 5.2.252 SendAsDenied; relay@durand.example not allowed to send as x@durand.example", ALERT),
    ("554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied", ALERT),
    ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", ALERT),
    ("553 5.7.1 <x@durand.example>: Sender address rejected: not owned by user relay", ALERT),
    ("550 5.1.8 Access denied, bad outbound sender", ALERT),
    ("550 5.1.0 Sender denied", ALERT),
    ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", ALERT),
    ("554 Service unavailable; client [192.0.2.1] blocked using Spamhaus", ALERT),
    ("550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent; it is on our block list (S3150)", ALERT),
    ("554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied", ALERT),
    ("550 5.7.1 rejected because of the poor reputation of the sending address", ALERT),
    ("550 5.7.606 Access denied, banned sending IP [192.0.2.1]", ALERT),
    ("550 5.7.511 Access denied, banned sender", ALERT),
    ("550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP", ALERT),
    ("550 5.7.232 Your message can't be sent, your tenant has exceeded its limit", ALERT),
    ("550 5.4.5 Daily user sending limit exceeded", ALERT),
    ("550 5.7.0 Daily SMTP relay limit exceeded for customer", ALERT),
    ("550 5.7.1 Email quota exceeded", ALERT),
    ("550 5.1.90 Your message can't be sent because you've reached your daily limit", ALERT),
    ("554 too many messages from this address", ALERT),
    ("530 5.7.0 Must issue a STARTTLS command first", ALERT),
    ("530 5.7.57 Client not authenticated to send mail", ALERT),
    ("550 5.7.1 Client was not authenticated", ALERT),
    ("550 5.7.1 Authentication required", ALERT),
    ("550 5.7.26 Unauthenticated email from durand.example is not accepted", ALERT),
    ("550 5.7.1 SPF check failed", ALERT),
    ("550 5.7.25 The sending IP does not have a PTR record", ALERT),
    ("554 5.3.2 System not accepting network messages", ALERT),
    # about room or pace over there: deferred
    ("552 5.2.2 Mailbox full", LATER),
    ("554 5.2.2 mailbox full; over quota", LATER),
    ("550 5.2.122 The recipient has exceeded their limit for the number of messages", LATER),
    ("550 mailbox is full", LATER),
    ("554 quota exceeded", LATER),
    ("550 5.3.1 mail system full", LATER),
    # about the message or the recipient: failed
    ("550 5.1.1 User unknown", NO),
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", NO),
    ("550 5.1.1 <a@x>: Recipient address rejected: User unknown in relay recipient table", NO),
    ("550 5.4.1 Recipient address rejected: Access denied", NO),
    ("554 5.7.1 <a@agiris.example>: Recipient address rejected: Access denied", NO),
    ("550 5.7.504 Recipient address rejected: Access denied", NO),
    ("550 no such user here", NO),
    ("550 5.2.1 mailbox disabled; relaying denied", NO),
    ("552 5.3.4 Message size exceeds fixed limit", NO),
    ("552 5.2.3 Message exceeds maximum size, quota exceeded", NO),
    ("554 5.6.0 Malformed message; DKIM", NO),
    ("554 5.6.11 bare line feed", NO),
    ("550 5.7.1 Message rejected due to content policy", NO),
    ("550 5.7.1 This message violates example.com email policy", NO),
    ("550 5.7.1 Our system has detected that this message is likely unsolicited mail", NO),
    ("552 5.7.0 This message was blocked because its content presents a potential security issue", NO),
    ("554 5.7.1 rejected by the content filter, see our reputation page", NO),
    ("554 5.7.512 Access denied, message must be RFC 5322 compliant", NO),
    ("554 5.7.1 no", NO),
    ("554 transaction failed", NO),
    ("500 5.5.2 line too long", NO),
]


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA, Stage.BODY])
@pytest.mark.parametrize(("line", "expected"), REFUSALS)
def test_refusal_is_about_us_or_about_the_message(line: str, expected: tuple[type, bool], stage: Stage) -> None:
    reply = remote(int(line[:3]), line[4:])
    outcome = classify(stage, reply.code, reply.enhanced, reply.text)
    if stage is Stage.RCPT and reply.code == 552:
        expected = LATER
    assert (type(outcome), getattr(outcome, "alert", False)) == expected


def test_words_do_not_outweigh_an_enhanced_code_that_decides() -> None:
    assert subject_of("5.1.1", "relay access denied, blocked using spamhaus") is Subject.MESSAGE
    assert subject_of("5.2.252", "user unknown") is Subject.SENDER
    assert subject_of("5.2.2", "relay access denied") is Subject.MAILBOX


@pytest.mark.parametrize(
    ("kind", "expected", "enhanced"),
    [
        (ErrorKind.UNRESOLVED, LATER, "4.4.3"),
        (ErrorKind.UNREACHABLE, LATER, "4.4.1"),
        (ErrorKind.TIMEOUT, LATER, "4.4.2"),
        (ErrorKind.LOST, LATER, "4.4.2"),
        (ErrorKind.TLS, ALERT, "4.7.5"),
        (ErrorKind.CERTIFICATE, ALERT, "4.7.5"),
        (ErrorKind.NO_TLS, ALERT, "4.7.5"),
        (ErrorKind.NO_AUTH, ALERT, "4.7.0"),
        (ErrorKind.GARBAGE, LATER, "4.5.0"),
        (ErrorKind.NO_8BITMIME, NO, "5.6.3"),
        (ErrorKind.NO_SMTPUTF8, NO, "5.6.7"),
        (ErrorKind.NO_ESMTP, LATER, "4.5.1"),
        (ErrorKind.TOO_LARGE, NO, "5.3.4"),
        (ErrorKind.OUTCOME_UNKNOWN, (OutcomeUnknown, False), "4.4.2"),
        (ErrorKind.UNUSABLE, ALERT, "4.3.5"),
        (ErrorKind.UNFORESEEN, ALERT, "4.3.0"),
    ],
)
def test_an_error_kind_means(kind: ErrorKind, expected: tuple[type, bool], enhanced: str) -> None:
    outcome = failure(Stage.CONNECT, kind, "why")
    assert (type(outcome), getattr(outcome, "alert", False)) == expected
    assert outcome.reply.enhanced == enhanced
    assert outcome.reply.text.endswith(": why")


def test_every_trouble_has_its_row() -> None:
    assert all(failure(Stage.INTERNAL, kind).reply.text for kind in ErrorKind)


def test_lines_of_a_reply_are_joined_and_their_enhanced_codes_read_once() -> None:
    assert remote(550, "5.1.1 no such\n5.1.1 mailbox") == Reply(550, "5.1.1", "no such mailbox")


def test_an_enhanced_code_of_another_class_is_text() -> None:
    assert remote(550, "4.7.1 odd") == Reply(550, "", "4.7.1 odd")


@given(st.sampled_from(Stage), st.integers(0, 999), st.text(max_size=2000))
def test_no_reply_crashes_and_its_text_is_safe_and_short(stage: Stage, code: int, text: str) -> None:
    reply = remote(code, text)
    outcome = classify(stage, reply.code, reply.enhanced, reply.text)
    assert outcome.reply.text.isprintable()
    assert len(outcome.reply.text) <= TEXT_LIMIT
    assert not isinstance(outcome, Failed) or 500 <= code < 600
    assert not isinstance(outcome, Delivered) or (stage is Stage.BODY and 200 <= code < 300)


def test_controls_and_direction_marks_of_a_remote_do_not_reach_the_log() -> None:
    assert clean("a\x1b[31mb\r\nc\u202ed\x00") == "a [31mb c d"
