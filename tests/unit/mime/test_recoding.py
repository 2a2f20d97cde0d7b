"""A message for a next hop without 8BITMIME: its text in quoted-printable, every document octet for octet."""

import email
import quopri
from email import policy
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mime.parser import parse
from relay.mime.rewriting import FIELD, part_cuts, recodings, render, render_recoded
from relay.model import Recoding, Span
from tests.support.decisions import multipart
from tests.support.mails import part, pdf, text

TOP = b"From: a@b.example\r\nSubject: Vos documents\r\nMIME-Version: 1.0\r\n"
ACCENTS = "Bonjour,\r\n\r\nvoici la pièce du mois d'août.\r\n.\r\nÀ bientôt \r\n"
HTML = "<p>" + "é" * 2000 + "</p>"
PDF = b"%PDF-1.7\n\xff\xfe\x00 =20 \r\n"


def recoded(raw: bytes, cut_documents: bool = False) -> bytes:
    message = parse(raw)
    cuts = part_cuts(message, message.attachments) if cut_documents else ()
    return b"".join(render_recoded(raw, b"X-Top: 1\r\n", cuts, recodings(message, cuts)))


def leaves(raw: bytes) -> list[bytes]:
    found = email.message_from_bytes(raw, policy=policy.SMTP)
    return [each.get_payload(decode=True) for each in found.walk() if not each.is_multipart()]


BODY_8BIT = text(ACCENTS)
MESSAGES = {
    "a text alone": TOP + text(ACCENTS),
    "a text beside a PDF": TOP + multipart("mixed", [text(ACCENTS), pdf(PDF)], "b"),
    "text and HTML": TOP + multipart("alternative", [text(ACCENTS), text(HTML, "html")], "b"),
    "a text among 7-bit ones": TOP + multipart("mixed", [text("Hello\r\n"), text(ACCENTS), pdf(PDF)], "b"),
    "a text without the field": TOP + multipart("mixed", [text(ACCENTS, encoding=""), pdf(PDF)], "b"),
    "a text that says 7bit": TOP + multipart("mixed", [text(ACCENTS, encoding="7bit"), pdf(PDF)], "b"),
    "a text that says binary": TOP + multipart("mixed", [text(ACCENTS, encoding="binary"), pdf(PDF)], "b"),
    "a text without header": TOP + multipart("mixed", [b"\r\n" + ACCENTS.encode(), pdf(PDF)], "b"),
    "the field folded": TOP + BODY_8BIT.replace(b"Encoding: 8bit", b"Encoding:\r\n\t8bit"),
    "a forwarded mail": TOP
    + multipart("mixed", [text("Hi"), b"Content-Type: message/rfc822\r\n\r\n" + TOP + text(ACCENTS)], "b"),
    "no header at all": b"\r\n" + ACCENTS.encode(),
}


@pytest.mark.parametrize("raw", MESSAGES.values(), ids=MESSAGES.keys())
def test_text_is_recoded_and_nothing_else(raw: bytes) -> None:
    out = recoded(raw)
    assert out.isascii() and max(map(len, out.split(b"\r\n"))) <= 998 and b"\n" not in out.replace(b"\r\n", b"")
    assert leaves(out) == leaves(raw)
    assert recoded(raw) == out
    assert parse(out).defects == parse(raw).defects


def test_every_octet_outside_of_the_texts_is_as_it_came() -> None:
    raw = MESSAGES["a text beside a PDF"]
    before, after = parse(raw), parse(recoded(raw))
    [original], [kept] = before.attachments, after.attachments
    digests = [
        sha256(message.raw[entity.span.start : entity.span.end]).digest()
        for message, entity in ((before, original), (after, kept))
    ]
    assert digests[0] == digests[1]
    [change] = recodings(before, ())
    start, end = change.body
    assert recoded(raw).startswith(b"X-Top: 1\r\n" + raw[: change.field.start] + FIELD + raw[change.field.end : start])
    assert recoded(raw).endswith(raw[end:])


UNTOUCHED = {
    "only ASCII": TOP + multipart("mixed", [text("Hello"), pdf(PDF)], "b"),
    "a quoted-printable text": TOP + text(ACCENTS, encoding="quoted-printable"),
    "a text of an unknown encoding": TOP + text(ACCENTS, encoding="x-rot13"),
    "an attached text": TOP + multipart("mixed", [part(ACCENTS, "text/csv", "a.csv", encoding="8bit")], "b"),
    "a PDF in binary": TOP + multipart("mixed", [text("Hello"), pdf(PDF, encoding="binary")], "b"),
    "a signed mail": TOP + multipart("signed", [text(ACCENTS), part(b"s", "application/pgp-signature")], "b"),
}


@pytest.mark.parametrize("raw", UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_what_is_no_text_of_the_message_is_never_recoded(raw: bytes) -> None:
    assert recodings(parse(raw), ()) == ()
    assert recoded(raw) == b"X-Top: 1\r\n" + raw


def test_what_is_cut_is_not_recoded() -> None:
    raw = MESSAGES["a text beside a PDF"]
    out = recoded(raw, cut_documents=True)
    assert out.isascii() and b"application/pdf" not in out
    message = parse(raw)
    assert recodings(message, (message.root.children[0].cut,)) == ()


@pytest.mark.parametrize("body", [Span(2, 99), Span(0, 3), Span(4, 2)])
def test_a_recoding_of_another_message_is_an_error(body: Span) -> None:
    with pytest.raises(ValueError, match="outside of a message"):
        render_recoded(b"A: b\r\n\r\n", b"", (Span(0, 2),), (Recoding(Span(2, 2), body),))


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=200), max_size=20)
)
def test_any_text_comes_back(lines: list[str]) -> None:
    body = "\r\n".join([*lines, "é"]).encode()
    raw = TOP + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body
    message = parse(raw)
    out = b"".join(render_recoded(raw, b"", (), recodings(message, ())))
    head, _, coded = out.partition(b"\r\n\r\n")
    assert out.isascii() and max(map(len, coded.split(b"\r\n"))) <= 76
    assert quopri.decodestring(coded) == body
    assert head + b"\r\n" == raw[: message.root.body.start - 2].replace(b"Content-Transfer-Encoding: 8bit\r\n", FIELD)
    assert b"".join(render(raw, b"", ())) == raw
