"""The MIME tree: what real and hostile messages look like to the parser."""

import pytest

from relay.mime.headers import MAX_HEADER
from relay.mime.message import MalformedMail
from relay.mime.parser import MAX_DEPTH, MAX_PARTS, parse
from tests.support import mails
from tests.support.mails import mail, multipart, part, pdf, rfc822, text


def body(message, entity) -> bytes:
    return message.raw[entity.body.start : entity.body.end]


def names(raw: bytes) -> list[str | None]:
    return [entity.filename for entity in parse(raw).attachments]


def shapes(raw: bytes) -> list[tuple[int, str]]:
    return [(entity.depth, entity.media_type) for entity in parse(raw).root.walk()]


def test_a_message_with_text_and_pdf():
    message = parse(mail([text("Bonjour"), pdf(b"%PDF-1.7 x", "facture.pdf")]))
    letter, document = message.root.children
    assert (letter.media_type, letter.params["charset"], letter.encoding) == ("text/plain", "utf-8", "8bit")
    assert body(message, letter) == b"Bonjour"
    assert (document.media_type, document.encoding, document.disposition) == ("application/pdf", "base64", "attachment")
    assert body(message, document) == b"JVBERi0xLjcgeA=="
    assert message.attachments == (document,)
    assert message.defects == ()


def test_a_message_that_is_one_part():
    message = parse(mail(entity=part(b"x", "application/pdf", "f.pdf")))
    assert [entity.filename for entity in message.attachments] == ["f.pdf"]
    assert message.root.cut == message.root.span == (0, len(message.raw))


def test_a_message_without_mime():
    message = parse(b"Subject: x\r\n\r\nhello\r\n")
    assert (message.root.media_type, body(message, message.root), message.attachments) == (
        "text/plain",
        b"hello\r\n",
        (),
    )


@pytest.mark.parametrize("style", ["quoted", "token", "rfc2231", "continued", "rfc2047"])
def test_file_names_in_every_encoding(style):
    name = "Facture d'été n° 12 (copie) – Société Générale.pdf"
    assert names(mail([pdf(filename=name, style=style)])) == [name]
    assert names(mail([pdf(filename=name, style=style, disposition="")])) == [name]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('attachment; filename="a;b.pdf"', "a;b.pdf"),
        ('attachment; filename="a \\"b\\".pdf"', 'a "b".pdf'),
        ('attachment; filename="a "b".pdf"; size=3', 'a "b".pdf'),
        ('attachment; filename="C:\\temp\\f.pdf"', "C:\\temp\\f.pdf"),
        ('attachment; filename="never closed.pdf', "never closed.pdf"),
        ('attachment; filename="a.pdf" size=3', "a.pdf"),
        ("attachment; filename=a.pdf \t; size=3", "a.pdf"),
        ("attachment;filename=ma facture.pdf;size=3", "ma facture.pdf"),
        ("attachment; FileName = x.pdf", "x.pdf"),
        ("attachment; filename=a.pdf; filename*=utf-8''%C3%A9.pdf", "é.pdf"),
        ("attachment; filename*=iso-8859-1'fr'%E9.pdf", "é.pdf"),
        ("attachment; filename*=windows-1252''%80.pdf", "€.pdf"),
        ("attachment; filename*=no-such''%C3%A9.pdf", "é.pdf"),
        ("attachment; filename*=punycode''%C3%A9.pdf", "é.pdf"),
        ("attachment; filename*0*=utf-8''%C3; filename*1*=%A9; filename*2=.pdf", "é.pdf"),
        ("attachment; filename*2=c.pdf; filename*0=a; filename*1=b", "abc.pdf"),
        ("attachment; filename*0=a; filename*2=c.pdf", "a"),
        ("attachment; filename*1=b; filename=a.pdf", "a.pdf"),
        ("attachment; filename=a.pdf; filename=b.pdf", "a.pdf"),
        ("attachment; filename*=%41.pdf", "A.pdf"),
        ('attachment; filename="=?utf-8?Q?=C3=A9_1?= =?utf-8?Q?.pdf?="', "é 1.pdf"),
        ('attachment; filename="=?utf-8?B?w?= =?utf-8?Q?=C3?= =?utf-8?Q?=A9.pdf?="', "=?utf-8?B?w?= é.pdf"),
        ('attachment; filename="=?utf-8?Q?x=0D=0ABcc:_y?=.pdf"', "x Bcc: y.pdf"),
        ("attachment; filename*=utf-8''a%00b%E2%80%AEfdp.pdf", "a b fdp.pdf"),
        ('attachment;;; ;filename="a.pdf";', "a.pdf"),
        ("attachment; =x; filename=a.pdf", "a.pdf"),
        ('attachment; filename=""', None),
        ("attachment", None),
    ],
)
def test_what_programs_make_of_file_names(written, read):
    raw = mail(entity=mails.lines({"Content-Disposition": written}) + b"\r\nx")
    assert parse(raw).root.filename == read


def test_a_raw_latin_1_file_name():
    raw = mail(entity=b'Content-Disposition: attachment; filename="\xe9t\xe9.pdf"\r\n\r\nx')
    assert parse(raw).root.filename == "été.pdf"


def test_folded_header_and_comments():
    raw = mail(
        entity=b"Content-Type:\r\n Application/PDF;\r\n\tname=a.pdf\r\nContent-Transfer-Encoding: BASE64 (x)\r\n\r\n"
    )
    root = parse(raw).root
    assert (root.media_type, root.filename, root.encoding) == ("application/pdf", "a.pdf", "base64")
    assert root.first("content-type") == "Application/PDF;\tname=a.pdf"


def test_header_spans_are_the_fields_whole():
    raw = b"A: 1\r\nB:\r\n 2\r\n 3\r\nC : 4\r\n\r\nbody"
    assert [(h.name, h.value, raw[h.span.start : h.span.end]) for h in parse(raw).root.headers] == [
        ("a", "1", b"A: 1\r\n"),
        ("b", "2 3", b"B:\r\n 2\r\n 3\r\n"),
        ("c", "4", b"C : 4\r\n"),
    ]


def test_a_boundary_that_is_the_prefix_of_another():
    inner = multipart([pdf(b"1", "1.pdf"), pdf(b"2", "2.pdf")], boundary="b1")
    message = parse(mail([inner, pdf(b"3", "3.pdf")], boundary="b"))
    assert [entity.filename for entity in message.attachments] == ["1.pdf", "2.pdf", "3.pdf"]
    assert [entity.depth for entity in message.attachments] == [2, 2, 1]
    assert message.defects == ()


def test_the_outer_boundary_ends_an_inner_multipart():
    message = parse(mail([multipart([pdf(b"1", "1.pdf")], boundary="in", closed=False), pdf(b"2", "2.pdf")]))
    assert [entity.filename for entity in message.attachments] == ["1.pdf", "2.pdf"]
    assert message.defects == ("missing-final-boundary",)


def test_padding_preamble_epilogue_and_a_boundary_within_text():
    head = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    parts = b"--b \t \r\n\r\none --b\r\n --b\r\n--bc\r\n--b\r\n\r\ntwo\r\n--b-- \r\n"
    message = parse(head + b"preamble --b\r\n" + parts + b"epilogue\n--b\r\n\r\nno\r\n")
    assert [body(message, child) for child in message.root.children] == [b"one --b\r\n --b\r\n--bc", b"two"]


@pytest.mark.parametrize(
    "rest", [b"--b\r\n--b--", b"--b\r\n\r\n--b--\r\n", b"--b\r\n\r\n\r\n--b--", b"--b", b"--b\r\n", b"--b\t"]
)
def test_empty_parts(rest):
    message = parse(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + rest)
    assert [body(message, child) for child in message.root.children] == [b""]
    assert all(child.span.start <= child.body.start <= child.span.end for child in message.root.children)


def test_a_part_without_header():
    message = parse(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n--b\r\nno header here\r\n--b--"
    )
    assert [body(message, child) for child in message.root.children] == [b"plain", b"no header here"]
    assert message.defects == ("no-blank-line",)


def test_bare_lf_counts_as_a_line_end():
    raw = mail([text("a"), pdf(b"x", "x.pdf")]).replace(b"\r\n", b"\n")
    assert shapes(raw) == [(0, "multipart/mixed"), (1, "text/plain"), (1, "application/pdf")]


def test_an_unknown_disposition_is_an_attachment():
    assert parse(mail(entity=part(b"x", "text/plain", disposition="form-data"))).root.disposition == "attachment"


def test_a_first_line_that_continues_nothing_is_body():
    message = parse(b" x: y\r\nSubject: z\r\n\r\nbody")
    assert (message.root.headers, message.root.body.start, message.defects) == ((), 0, ("no-blank-line",))


def test_an_mbox_line_on_top_is_passed_over():
    assert next(header.name for header in parse(b"From a@b Tue Nov 24\r\n" + mail()).root.headers) == "from"


def test_one_level_of_forwarded_message():
    innermost = mail([pdf(b"3", "3.pdf")], boundary="b3")
    inner = mail([pdf(b"2", "2.pdf"), rfc822(innermost)], boundary="b2")
    message = parse(mail([pdf(b"1", "1.pdf"), rfc822(inner)], boundary="b1"))
    assert [entity.filename for entity in message.attachments] == ["1.pdf", "2.pdf"]
    assert message.defects == ("nested-message",)


def test_a_digest_holds_messages():
    raw = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n" + mail([pdf()]) + b"\r\n--b--\r\n"
    assert [media_type for _, media_type in shapes(raw)][:3] == [
        "multipart/digest",
        "message/rfc822",
        "multipart/mixed",
    ]


@pytest.mark.parametrize(
    ("entity", "defect"),
    [
        (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--", "no-boundary-parameter"),
        (b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--b\r\n\r\nx\r\n--b--", "no-delimiter"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b", "missing-final-boundary"),
        (b"Content-Type: pdf\r\n\r\nx", "invalid-content-type"),
        (b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx", "duplicate-content-type"),
        (b"Subject: again\r\n\r\nx", "duplicate-subject"),
        (b"\xc3\xa9: x\r\n\r\nx", "no-blank-line"),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            b"--b\r\n\r\nx\r\n--b--",
            "encoded-multipart",
        ),
    ],
)
def test_defects_have_names(entity, defect):
    assert defect in parse(mail(entity=entity)).defects


def test_a_boundary_over_70_characters_is_tolerated():
    assert len(parse(mail([text(), pdf()], boundary="b" * 200)).root.children) == 2


def nested(depth: int) -> bytes:
    entity = text("x")
    for level in range(depth):
        entity = multipart([entity], boundary=f"b{level}x")
    return mail(entity=entity)


@pytest.mark.parametrize(
    ("raw", "defect"),
    [
        (b"", "empty"),
        (b"X: " + b"x" * MAX_HEADER + b"\r\n\r\nx", "header-too-large"),
        (b"X: x\r\n" * 5_001 + b"\r\nx", "header-too-large"),
        (b"X: x\r\n" + b" y\r\n" * 5_000 + b"\r\nx", "header-too-large"),
        (mail([b"X: " + b"x" * MAX_HEADER + b"\r\n\r\nx"]), "header-too-large"),
        (mail([b"X: " + b"x" * 250_000] * 9), "headers-too-large"),
        (mail([b"X: x\r\n" * 4_500] * 5), "headers-too-large"),
        (nested(MAX_DEPTH + 1), "nesting-too-deep"),
        (nested(2_000), "nesting-too-deep"),
        (mail([b""] * MAX_PARTS), "too-many-parts"),
        (mail([b""] * (20 * MAX_PARTS)), "too-many-parts"),
        (mail([multipart([b"\r\n"] * 40, boundary=f"b{n}x") for n in range(60)]), "too-many-parts"),
    ],
)
def test_limits_refuse_the_message_and_say_nothing_of_it(raw, defect):
    with pytest.raises(MalformedMail) as caught:
        parse(raw)
    assert caught.value.defect == defect
    assert "x" * 4 not in str(caught.value)


@pytest.mark.parametrize("before", range(1, 12))
def test_a_field_across_the_limit_does_not_end_the_header_there(before):
    field = b"Subject: y\r\n"
    filling = b"p" * (MAX_HEADER - before - len(b"P: \r\n"))
    with pytest.raises(MalformedMail) as caught:
        parse(b"P: " + filling + b"\r\n" + field + b"\r\nz")
    assert caught.value.defect == "header-too-large"
    fits = parse(b"P: " + filling[len(field) :] + b"\r\n" + field + b"\r\nz")
    assert [each.name for each in fits.root.headers] == ["p", "subject"]


def test_at_the_limits_a_message_is_read():
    assert max(entity.depth for entity in parse(nested(MAX_DEPTH)).root.walk()) == MAX_DEPTH
    assert len(parse(mail([b""] * (MAX_PARTS - 1))).root.children) == MAX_PARTS - 1
    assert parse(b"X: x\r\n" * 5_000 + b"\r\nx").defects == ()


def test_a_long_body_without_line_ends_is_no_header():
    message = parse(mail([b"x" * (2 * MAX_HEADER), text("y")]))
    assert len(body(message, message.root.children[0])) == 2 * MAX_HEADER
