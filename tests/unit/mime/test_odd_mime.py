"""A document in every odd shape of MIME: found and judged, or held; another client's never leaves."""

import pytest

from relay.model import Disposition, DocumentPart
from relay.reasons import Reason
from tests.support.odd_mime import AMBIGUOUS, ENCODINGS, LABELS, OTHER, SHAPES, TOP, invoice, judged, mixed

OWN, ANOTHERS = invoice("F-2026-117"), invoice("W-1", buyer=OTHER)


@pytest.mark.parametrize("name", [*ENCODINGS, *LABELS])
def test_a_document_is_found_whatever_its_part_is_called(name: str) -> None:
    (plan,) = judged(SHAPES[name](OWN)).decision.plans
    assert plan.disposition is Disposition.RELAY
    assert [each.part for each in plan.documents] == [DocumentPart.FACTURX]
    assert plan.documents[0].report.number == "F-2026-117"


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_two_programs_may_read_in_two_ways_is_held_with_its_flaw(name: str) -> None:
    (plan,) = judged(SHAPES[name](OWN)).decision.plans
    assert plan.disposition is Disposition.HOLD
    assert plan.reason in (
        Reason.MALFORMED_MAIL,
        Reason.UNKNOWN_ENCODING,
        Reason.PARTIAL_MAIL,
        Reason.TNEF_MAIL,
    )
    assert plan.detail or plan.reason in (Reason.PARTIAL_MAIL, Reason.TNEF_MAIL)


@pytest.mark.parametrize("name", SHAPES)
def test_an_invoice_of_another_client_is_held_in_every_shape(name: str) -> None:
    for plan in judged(SHAPES[name](ANOTHERS)).decision.plans:
        assert plan.disposition is Disposition.HOLD
        assert name in AMBIGUOUS or plan.reason is Reason.WRONG_CLIENT


ORDINARY = {
    "a text": b"Content-Type: text/plain\r\n\r\nBonjour,\r\n-- \r\nDupont\r\n",
    "no field at all": b"\r\nBonjour\r\n",
    "a text that speaks of formats": b"\r\nLe format %PDF-1.7, begin 644 et base64 JVBERi0 dans une phrase.\r\n",
    "a begin in prose": b"\r\nWe will\r\nbegin 100 metres from here.\r\nThen turn left.\r\n",
    "rules of hyphens": b"\r\nTotal\r\n------------------------\r\nContenu : rien\r\n",
    "a note like a field": b"\r\nNote: le paiement est attendu.\r\nContact: compta@x.example\r\n",
    "an HTML": b"Content-Type: text/html\r\n\r\n<html><body><p>Bonjour</p></body></html>\r\n",
    "an XHTML": b"Content-Type: text/html\r\n\r\n<?xml version='1.0'?>\r\n<html xmlns='http://www.w3.org/1999/xhtml'/>\r\n",
    "a text in base64": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nQm9uam91ciw=\r\n",
    "a calendar": b"Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
    "a named text": b"Content-Type: text/plain; name=ATT00001.txt\r\nContent-Disposition: attachment\r\n\r\nMerci.\r\n",
    "a PGP signature": b"Content-Type: application/pgp-signature; name=a.asc\r\n\r\n-----BEGIN PGP SIGNATURE\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_text_beside_an_invoice_is_no_flaw(name: str) -> None:
    raw = ENCODINGS["base64"](OWN).replace(b"--=_b1--", b"--=_b1\r\n" + ORDINARY[name] + b"\r\n--=_b1--")
    (plan,) = judged(raw).decision.plans
    assert (plan.disposition, plan.reason, plan.detail) == (Disposition.RELAY, None, "")
    assert [each.part for each in plan.documents] == [DocumentPart.FACTURX]


@pytest.mark.parametrize(
    "unit",
    [
        b"begin 644 \r\n",
        b"begin 644 x\r\n",
        b"--a\r\n",
        b"a:b\r\n",
        b"Content-\r\n",
        b"data:application/",
        b"cid:",
        b"\r\n",
    ],
)
@pytest.mark.parametrize("media_type", [b"text/plain", b"text/html"])
def test_a_hostile_text_is_searched_to_its_end(media_type: bytes, unit: bytes) -> None:
    text = b"Content-Type: " + media_type + b"\r\n\r\n" + unit * (1_000_000 // len(unit))
    logo = b"Content-Type: image/png\r\nContent-ID: <a>\r\nContent-Disposition: attachment\r\n\r\n\x89PNG\r\n\x1a\n\r\n"
    (plan,) = judged(TOP + mixed(text, logo)).decision.plans
    assert plan.disposition is Disposition.HOLD
