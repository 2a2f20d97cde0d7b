"""Cutting: what is cut is gone, what is kept is kept octet for octet."""

import email
import email.policy

import pytest

from relay.mime.parser import parse
from relay.mime.rewriting import header_cuts, merge, part_cuts, render, size
from relay.model import Span
from tests.support.mails import mail, multipart, pdf, rfc822, text


def cut(raw: bytes, *filenames: str, prepend: bytes = b"") -> bytes:
    message = parse(raw)
    cuts = part_cuts(message, [entity for entity in message.root.walk() if entity.filename in filenames])
    octets = b"".join(render(raw, prepend, cuts))
    assert size(raw, prepend, cuts) == len(octets)
    return octets


def seen(raw: bytes) -> list[str | None]:
    """File names as Python's own parser sees them."""
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    return [each.get_filename() for each in message.walk() if each.get_filename()]


def test_no_plan_no_change_no_copy():
    raw = mail()
    (piece,) = render(raw, b"", ())
    assert piece.obj is raw and piece == raw


def test_the_pieces_are_views_of_the_message():
    raw = mail()
    assert [piece.obj is raw for piece in render(raw, b"X: y\r\n", [Span(5, 9)])] == [False, True, True]


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("gone", ["1.pdf", "2.pdf", "3.pdf"])
def test_cutting_any_part_leaves_the_message_that_was_never_given_it(gone, closed):
    kept = [name for name in ("1.pdf", "2.pdf", "3.pdf") if name != gone]

    def build(names):
        return mail([pdf(name.encode(), name) for name in names], boundary="b", closed=closed, preamble=b"pre\r\n")

    assert cut(build(["1.pdf", "2.pdf", "3.pdf"]), gone) == build(kept)
    assert cut(build(["1.pdf", "2.pdf", "3.pdf"]), *kept) == build([gone])


def test_a_multipart_keeps_its_one_part():
    raw = cut(mail([text("a"), pdf(b"x", "x.pdf")], boundary="b"), "x.pdf")
    assert raw == mail([text("a")], boundary="b")
    assert parse(raw).root.media_type == "multipart/mixed"


def test_an_emptied_multipart_goes_whole():
    inner = multipart([pdf(b"1", "1.pdf"), pdf(b"2", "2.pdf")], boundary="in")
    raw = mail([text("a"), inner], boundary="out")
    assert cut(raw, "1.pdf", "2.pdf") == mail([text("a")], boundary="out")
    assert cut(raw, "1.pdf") == mail([text("a"), multipart([pdf(b"2", "2.pdf")], boundary="in")], boundary="out")


def test_cutting_within_a_forwarded_message():
    raw = mail([text("a"), rfc822(mail([pdf(b"1", "1.pdf"), pdf(b"2", "2.pdf")], boundary="in"))], boundary="out")
    assert seen(cut(raw, "1.pdf")) == ["2.pdf"]
    assert len(parse(cut(raw, "1.pdf", "2.pdf")).root.children) == 1


def test_a_missing_inner_closing_delimiter():
    inner = multipart([pdf(b"1", "1.pdf"), pdf(b"2", "2.pdf")], boundary="in", closed=False)
    left = multipart([pdf(b"1", "1.pdf")], boundary="in", closed=False)
    assert cut(mail([inner, text("a")], boundary="out"), "2.pdf") == mail([left, text("a")], boundary="out")


def test_prepended_fields_come_first():
    assert cut(mail(), prepend=b"X: y\r\n") == b"X: y\r\n" + mail()


def test_merge():
    assert merge([Span(5, 9), Span(1, 3), Span(3, 4), Span(6, 7), Span(20, 20)]) == ((1, 4), (5, 9))
    assert merge([]) == ()


def test_header_cuts_take_whole_fields_of_the_message_itself():
    raw = mail([pdf()], headers=[("To", "a@b,\r\n c@d"), ("X-Keep", "1")])
    cuts = header_cuts(parse(raw), ("TO", "subject"))
    left = b"".join(render(raw, b"", cuts))
    assert [header.name for header in parse(left).root.headers][:3] == ["x-keep", "from", "message-id"]
    assert len(raw) - len(left) == sum(end - start for start, end in cuts)


@pytest.mark.parametrize("span", [Span(-1, 3), Span(0, 10_000)])
def test_a_plan_of_another_message_is_an_error(span):
    with pytest.raises(ValueError):
        render(mail(), b"", [span])
    with pytest.raises(ValueError):
        size(mail(), b"", [span])
