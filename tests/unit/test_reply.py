"""The failure table, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.reply import (
    TEXT_LIMIT,
    Deferred,
    Delivered,
    Failed,
    Reply,
    Stage,
    Trouble,
    Uncertain,
    classify,
    clean,
    failure,
    remote,
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
        (Stage.MAIL, 553, "5.1.8", NO),
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


@pytest.mark.parametrize(
    ("trouble", "expected", "enhanced"),
    [
        (Trouble.UNRESOLVED, LATER, "4.4.3"),
        (Trouble.UNREACHABLE, LATER, "4.4.1"),
        (Trouble.TIMEOUT, LATER, "4.4.2"),
        (Trouble.LOST, LATER, "4.4.2"),
        (Trouble.TLS, ALERT, "4.7.5"),
        (Trouble.CERTIFICATE, ALERT, "4.7.5"),
        (Trouble.NO_TLS, ALERT, "4.7.5"),
        (Trouble.NO_AUTH, ALERT, "4.7.0"),
        (Trouble.GARBAGE, LATER, "4.5.0"),
        (Trouble.NO_8BITMIME, NO, "5.6.3"),
        (Trouble.NO_SMTPUTF8, NO, "5.6.7"),
        (Trouble.TOO_LARGE, NO, "5.3.4"),
        (Trouble.UNCERTAIN, (Uncertain, False), "4.4.2"),
        (Trouble.UNUSABLE, ALERT, "4.3.5"),
        (Trouble.UNFORESEEN, ALERT, "4.3.0"),
    ],
)
def test_trouble_means(trouble: Trouble, expected: tuple[type, bool], enhanced: str) -> None:
    outcome = failure(Stage.CONNECT, trouble, "why")
    assert (type(outcome), getattr(outcome, "alert", False)) == expected
    assert outcome.reply.enhanced == enhanced
    assert outcome.reply.text.endswith(": why")


def test_every_trouble_has_its_row() -> None:
    assert all(failure(Stage.INTERNAL, trouble).reply.text for trouble in Trouble)


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
