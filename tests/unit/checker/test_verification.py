"""What a worker that was taken over may say, each lie by itself: none is taken for an answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from relay import serialization
from relay.checker.evaluation import Evaluation, answer_of, read_answer
from relay.checker.frames import header_of
from relay.checker.verification import MAX_DOCUMENTS, FalseAnswer, verify
from relay.mime.line_ends import LineFlaw
from relay.model import Action, Disposition, Plan, Recoding, Role, Span
from relay.reasons import Reason
from relay.routing.decision import Decision
from tests.support.decisions import Setting, setting

ROW: dict[str, Any] = {
    "mail": {
        "to": ["export+200@export.test"],
        "parts": [
            {"facturx": {"name": "f.pdf", "number": "F-1", "seller": "petit", "buyer": "stranger"}},
            {"pdf": {"name": "o.pdf", "mentions": ["F-1"]}},
        ],
    }
}
"""A sale of the client petit, whose addresses for purchases, sales, credit notes and statements differ."""

CASE: Setting = setting(ROW)
ASKED, TRUE = CASE.evaluation()
RAW = CASE.message.raw
(PLAN,) = TRUE.decision.plans
(HEADER_CUT, PART_CUT) = PLAN.cuts
KEPT, REMOVED = PLAN.documents
SUBJECT = RAW.index(b"Subject:")
MESSAGE_TEXT = RAW.index(b"\r\n\r\n") + 4


def planned(**changes: Any) -> Evaluation:
    return replace(TRUE, decision=Decision((replace(PLAN, **changes),)))


def line_at(place: int) -> Span:
    return Span(place, RAW.index(b"\r\n", place) + 2)


LIES: dict[str, Evaluation] = {
    # To whom
    "an address of nobody": planned(to=("thief@evil.example",)),
    "another client's address": planned(to=("martin@agiris.example",)),
    "another client": planned(firm="durand", dossier="100"),
    "another firm's client": planned(firm="leblanc", dossier="302", to=("sud@agiris.example",), answers=("x@y.z",)),
    "a client that there is not": planned(dossier="999"),
    "a firm that there is not": planned(firm="dupont"),
    "no client": planned(firm=None, dossier=None),
    "the client's address for another role": planned(to=("achats@petit.example",)),
    "an address for no known role": planned(role=Role.UNKNOWN),
    "two addresses": planned(to=("ventes@petit.example", "achats@petit.example")),
    "relayed to nobody": planned(to=()),
    "another destination": planned(destination="elsewhere"),
    "another smarthost": planned(smarthost="elsewhere"),
    "another return path": planned(return_path="thief@evil.example"),
    "a recipient less": planned(answers=()),
    "a recipient more": planned(answers=(*PLAN.answers, "martin@export.test")),
    # What becomes of it
    "no plan": replace(TRUE, decision=Decision(())),
    "too many plans": replace(TRUE, decision=Decision((PLAN,) * 101)),
    "relayed with a reason": planned(reason=Reason.NO_ADDRESS),
    "held without a reason": planned(disposition=Disposition.HOLD),
    "refused among the accepted": planned(disposition=Disposition.REFUSE, reason=Reason.NO_ADDRESS),
    "a flaw and a plan": replace(TRUE, flaw=LineFlaw.BARE),
    "a detail of two lines": planned(disposition=Disposition.HOLD, reason=Reason.NO_ADDRESS, detail="a\nb"),
    "a detail beyond measure": planned(disposition=Disposition.HOLD, reason=Reason.NO_ADDRESS, detail="x" * 10_000),
    # What is cut
    "cuts in descending order": planned(cuts=(PART_CUT, HEADER_CUT)),
    "cuts that overlap": planned(cuts=(HEADER_CUT, PART_CUT, Span(PART_CUT.start + 1, PART_CUT.end))),
    "a cut beyond the end": planned(cuts=(HEADER_CUT, Span(PART_CUT.start, len(RAW) + 1))),
    "a cut before the start": planned(cuts=(Span(-5, 0), HEADER_CUT, PART_CUT)),
    "a cut that ends before it starts": planned(cuts=(HEADER_CUT, Span(PART_CUT.end, PART_CUT.start))),
    "half a part": planned(cuts=(HEADER_CUT, Span(PART_CUT.start, PART_CUT.end - 40))),
    "a part less its first line": planned(cuts=(HEADER_CUT, Span(line_at(PART_CUT.start).end, PART_CUT.end))),
    "half a field": planned(cuts=(Span(HEADER_CUT.start, HEADER_CUT.end - 4), PART_CUT)),
    "a field that stays": planned(cuts=(HEADER_CUT, line_at(SUBJECT), PART_CUT)),
    "words of the message": planned(cuts=(HEADER_CUT, line_at(MESSAGE_TEXT), PART_CUT)),
    "all from a field on": planned(cuts=(Span(HEADER_CUT.start, len(RAW)),)),
    "a document kept and cut": planned(documents=(KEPT, replace(REMOVED, action=Action.KEEP))),
    "a document removed and not cut": planned(documents=(replace(KEPT, action=Action.REMOVE), REMOVED)),
    "a document outside": planned(documents=(replace(KEPT, span=Span(0, len(RAW) + 9)), REMOVED)),
    "documents beyond measure": planned(documents=(KEPT,) * (MAX_DOCUMENTS + 1)),
    "a recoding outside": planned(recodings=(Recoding(Span(0, 0), Span(5, len(RAW) + 1)),)),
    "a recoding before its field": planned(recodings=(Recoding(Span(50, 60), Span(5, 9)),)),
    "a recoding of what is cut": planned(recodings=(Recoding(Span(0, 0), PART_CUT),)),
    # What is put on top
    "no Received": planned(prepend=b"To: ventes@petit.example\r\n"),
    "another Received": planned(prepend=PLAN.prepend.replace(b"relay.test", b"evil.example")),
    "a field of another name": planned(prepend=PLAN.prepend + b"Bcc: thief@evil.example\r\n"),
    "another address in To": planned(prepend=PLAN.prepend.replace(b"ventes@petit", b"achats@petit")),
    "a From of its own": planned(prepend=PLAN.prepend + b"From: thief@evil.example\r\n"),
    "the end of the header": planned(prepend=PLAN.prepend + b"\r\nPay at once.\r\n"),
    "a bare LF": planned(prepend=PLAN.prepend + b"Reply-To: a@b.example\nBcc: c@d.example\r\n"),
    "a line without an end": planned(prepend=PLAN.prepend + b"Reply-To: a@b.example"),
    "fields beyond measure": planned(prepend=PLAN.prepend + b"Reply-To: a@b.example\r\n" * 20_000),
    # What it is known by
    "no fingerprint": replace(TRUE, fingerprint=""),
    "a fingerprint of other letters": replace(TRUE, fingerprint="G" * 64),
    "a short digest": replace(TRUE, content_digest=b"x"),
    "a Message-ID of two lines": replace(TRUE, message_id="<a@b>\r\n<c@d>"),
    "a document without a digest": planned(documents=(replace(KEPT, report=replace(KEPT.report, sha256="")), REMOVED)),
    "a document larger than its message": planned(
        documents=(replace(KEPT, report=replace(KEPT.report, size=len(RAW) + 1)), REMOVED)
    ),
    "a report without a digest": replace(TRUE, reports=(replace(TRUE.reports[0], sha256="x"),)),
    "reports beyond measure": replace(TRUE, reports=TRUE.reports[:1] * (MAX_DOCUMENTS + 1)),
}


def test_the_true_answer_is_taken() -> None:
    verify(TRUE, ASKED, RAW, CASE.directory)
    assert (PLAN.to, [each.action for each in PLAN.documents]) == (
        ("ventes@petit.example",), [Action.KEEP, Action.REMOVE],
    )  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_out(lie: str) -> None:
    with pytest.raises(FalseAnswer):
        verify(LIES[lie], ASKED, RAW, CASE.directory)


@pytest.mark.parametrize(
    "settings",
    [
        {"clients": {"petit": {"share_with_firm": False}}},
        {"clients": {"petit": {"transmit_documents": False}}},
        {"destination": {"max_mail_size": 100}},
        {"destination": {"max_attachments": 0}},
        {"clients": {"petit": {"recipients": ()}, "martin": {}}, "destination": {"from_header": "x@y.example"}},
    ],
    ids=["not shared", "transmission off", "too large", "too many documents", "another From"],
)
def test_what_the_settings_forbid_is_found_out(settings: dict[str, Any]) -> None:
    forbidding = setting(ROW | {"settings": settings})
    given = planned(prepend=PLAN.prepend + b"From: a@b.example\r\n") if "from_header" in str(settings) else TRUE
    with pytest.raises(FalseAnswer):
        verify(given, ASKED, RAW, forbidding.directory)


def test_an_answer_survives_the_channel() -> None:
    header, text = answer_of(TRUE, steps=True)
    read = read_answer(header_of(serialization.dump(header)), [text])
    assert read == replace(TRUE, plans_json=text)
    assert serialization.load(tuple[Plan, ...], read.plans_json) == TRUE.decision.plans  # type: ignore[arg-type]


GARBLED: dict[str, Callable[[dict[str, Any]], object]] = {
    "no reports": lambda header: header.pop("reports"),
    "a report elsewhere": lambda header: header.update(reports=[[0, 9]]),
    "a report before the first": lambda header: header.update(reports=[[-1, 0]]),
    "a report of another kind": lambda header: header.update(reports=["x"]),
    "a flaw of its own": lambda header: header.update(flaw="awful"),
    "a digest that is none": lambda header: header.update(content_digest="zz"),
    "a fingerprint that is no text": lambda header: header.update(fingerprint=7),
    "a refusal without a reason": lambda header: header.update(refusal={"detail": "x"}),
    "a refusal of its own": lambda header: header.update(refusal={"reason": "whim"}),
}


@pytest.mark.parametrize("how", GARBLED)
def test_a_garbled_answer_is_no_answer(how: str) -> None:
    header, text = answer_of(TRUE, steps=False)
    said = header_of(serialization.dump(header))
    GARBLED[how](said)
    with pytest.raises(ValueError):
        read_answer(said, [text])


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[1]", b"[" * 100_000, b'[{"disposition":"whim"}]', b'[{"disposition":"relay","cuts":[["a","b"]]}]',
     b'[{"disposition":"relay","cuts":[[1]]}]', b'[{"disposition":"relay","cuts":[[1,2,3]]}]',
     b'[{"disposition":"relay","to":[7]}]', b'[{"to":[]}]'],
)  # fmt: skip
def test_garbled_plans_are_no_answer(text: bytes) -> None:
    header, _ = answer_of(TRUE, steps=False)
    with pytest.raises(ValueError):
        read_answer(header_of(serialization.dump(header)), [text])
