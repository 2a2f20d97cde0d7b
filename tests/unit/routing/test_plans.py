"""decide(): what does not fit a row of the decision table."""

import pytest

from relay.mime.parser import parse
from relay.mime.rewriting import render_recoded
from relay.model import Disposition
from relay.reasons import Reason
from relay.routing.decision import decide
from relay.routing.opaque import document_links
from relay.routing.originals import stem
from relay.routing.plans import MAX_MESSAGES
from tests.support.decisions import RECEIVED, setting


def test_more_outgoing_messages_than_the_limit_are_held() -> None:
    parts = [{"facturx": {"name": f"{number}.pdf", "number": f"F-{number}"}} for number in range(MAX_MESSAGES + 1)]
    (plan,) = setting({"mail": {"parts": parts}}).decide().plans
    assert (plan.disposition, plan.reason) == (Disposition.HOLD, Reason.TOO_MANY_ATTACHMENTS)
    assert len(plan.documents) == MAX_MESSAGES + 1
    assert plan.to == ("martin@agiris.example",)


def test_every_one_of_many_invoices_has_its_own_message_and_message_id() -> None:
    parts = [{"facturx": {"name": f"{number}.pdf", "number": f"F-{number}"}} for number in range(MAX_MESSAGES)]
    plans = setting({"mail": {"parts": parts}}).decide().plans
    assert len(plans) == MAX_MESSAGES
    assert len({plan.prepend for plan in plans}) == MAX_MESSAGES
    assert {plan.disposition for plan in plans} == {Disposition.RELAY}


def test_reports_of_another_message_are_an_error_of_ours() -> None:
    case = setting({"mail": {"parts": [{"facturx": {"name": "f.pdf"}}]}})
    with pytest.raises(ValueError, match="0 reports for 1 attachments"):
        decide(case.envelope, case.message, (), case.directory, queue_id="Q", arrived=0.0, received=RECEIVED)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Facture 12.pdf", "facture 12.PDF"),
        ("F12_factur-x.pdf", "F12.pdf"),
        ("F12-facturx.pdf", "F12_original.pdf"),
        ("F12 (1).pdf", "F12.pdf"),
        ("factur-x_F12.pdf", "original-F12.pdf"),
        ("C:\\export\\F12.pdf", "export/F12.pdf"),
        ("caf\u00e9.pdf", "cafe\u0301.pdf"),
        ("F12", "f12.pdf"),
    ],
)
def test_file_names_that_have_one_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other) != ""


@pytest.mark.parametrize(("one", "other"), [("F12.pdf", "F13.pdf"), ("F1.2.pdf", "F1.3.pdf"), ("F12_a.pdf", "F12.pdf")])
def test_file_names_that_have_two_stems(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@pytest.mark.parametrize("name", ["factur-x.pdf", "original.pdf", "document.pdf", "copie.pdf", ".pdf", ""])
def test_file_names_of_common_words_have_no_stem(name: str) -> None:
    assert stem(name) == ""


def test_links_are_named_without_their_key_and_only_those_that_lead_to_a_document() -> None:
    text = (
        "Voir https://x.example/pdf/F-1.pdf?key=secret#a et <https://x.example/telecharger/2>\r\n"
        "https://x.example/ https://x.example/contact https://x.example/pdf/F-1.pdf?key=again\r\n"
    )
    message = parse(f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}".encode())
    assert document_links(message) == ("x.example/pdf/F-1.pdf", "x.example/telecharger/2")


def test_a_text_in_eight_bits_is_planned_to_be_recoded_in_each_message_that_keeps_it() -> None:
    parts = [{"facturx": {"name": "a.pdf", "number": "A-1"}}, {"facturx": {"name": "b.pdf", "number": "A-2"}}]
    eight_bit = setting({"mail": {"parts": parts, "text": "voici la pièce"}})
    plans = eight_bit.decide().plans
    assert len(plans) == 2
    for plan in plans:
        [recoding] = plan.recodings
        start, end = recoding.body
        assert eight_bit.message.raw[start:end] == "voici la pièce\r\n".encode()
        assert b"".join(render_recoded(eight_bit.message.raw, plan.prepend, plan.cuts, plan.recodings)).isascii()
    assert all(plan.recodings == () for plan in setting({"mail": {"parts": parts, "text": "ok"}}).decide().plans)
