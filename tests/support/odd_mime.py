# ruff: noqa: E501
"""Odd MIME: one document in every shape that a broken, old or hostile program may give it, and what it is judged to be.

`SHAPES[name](content) -> raw message`. A shape knows nothing of the code under test.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.checker.evaluation import EvaluationRequest
from relay.checker.evaluator import Item, evaluate
from relay.checker.verification import verify
from relay.demo.sample_pdf import facturx_pdf, plain_pdf
from relay.demo.samples import invoice_xml
from relay.facturx.inspect import inspect
from relay.inspection import Options
from relay.mime.message import MimeMessage
from relay.mime.parser import parse
from relay.model import Envelope, Recipient
from relay.routing.decision import Decision
from relay.routing.directory import Directory
from tests.support.decisions import terms

MARTIN, STRANGER, OTHER = "732829320", "123456782", "987654324"
STRUCTURE = Options(level="structure")
TOP = (
    b"From: plateforme@jefacture.example\r\nTo: martin@export.test\r\nSubject: Facture\r\n"
    b"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMessage-ID: <m1@jefacture.example>\r\nMIME-Version: 1.0\r\n"
)
WORDS = b"Content-Type: text/plain; charset=utf-8\r\n\r\nBonjour, voici votre facture.\r\n"
NAMED = b'Content-Type: application/pdf; name="f.pdf"\r\nContent-Disposition: attachment; filename="f.pdf"\r\n'

Shape = Callable[[bytes], bytes]


def page(number: str) -> str:
    """What the pages of an invoice, and its original, print."""
    return (
        f"Facture {number}\nDate : 02/11/2026\nMenuiserie Dupont SARL - SIREN 123 456 782\nClient : Librairie Martin SAS\n"
        "Total HT 200,00 EUR\nTVA 20 % 40,00 EUR\nTotal TTC 240,00 EUR"
    )


def invoice(number: str, buyer: str = MARTIN, seller: str = STRANGER) -> bytes:
    """A Factur-X of `seller` to `buyer` (SIREN)."""
    return facturx_pdf(invoice_xml(number=number, seller_siren=seller, buyer_siren=buyer), text=page(number))


def original(number: str) -> bytes:
    return plain_pdf(page(number))


@dataclass(frozen=True)
class Judged:
    """A raw message and what became of it."""

    message: MimeMessage
    decision: Decision


def judged(raw: bytes, *, original_pdf: bool = False, **check: object) -> Judged:
    """`raw`, sent to Martin, read and judged by the very steps of the daemon."""
    directory = Directory(terms({"clients": {"martin": {"original_pdf": original_pdf}}, "check": check}))
    asked = EvaluationRequest(
        Envelope("p@jefacture.example", (Recipient("martin@export.test"),)), "Q1", 0.0, any_line_ends=True
    )
    item = Item(asked, raw, directory)
    (evaluation,) = evaluate([item], lambda index, candidates, options: inspect(candidates, STRUCTURE))
    verify(evaluation, asked, raw, directory)
    return Judged(parse(raw), evaluation.decision)


# Bodies


def b64(content: bytes, width: int = 76, end: bytes = b"\r\n") -> bytes:
    text = base64.b64encode(content)
    return end.join(text[at : at + width] for at in range(0, len(text), width)) + b"\r\n"


def pieces(content: bytes, size: int = 1000) -> bytes:
    return b"".join(b64(content[at : at + size]) for at in range(0, len(content), size))


def uu(content: bytes, name: bytes = b"f.pdf", backtick: bool = False) -> bytes:
    rows = [binascii.b2a_uu(content[at : at + 45], backtick=backtick)[:-1] for at in range(0, len(content), 45)]
    return b"\r\n".join([b"begin 644 " + name, *rows, b"`" if backtick else b" ", b"end", b""])


def qp(content: bytes) -> bytes:
    """Every octet that is not plain is quoted, the line ends too; soft breaks at 76."""
    text = b"".join(b"%c" % each if 32 < each < 127 and each != 61 else b"=%02X" % each for each in content)
    lines, at = [], 0
    while at < len(text):
        end = min(at + 72, len(text))
        while end < len(text) and b"=" in text[end - 2 : end]:
            end -= 1
        lines.append(text[at:end])
        at = end
    return b"=\r\n".join(lines) + b"\r\n"


def raw8(content: bytes) -> bytes:
    return content + b"\r\n"


# Messages


def mixed(*parts: bytes, boundary: bytes = b"=_b1", head: bytes | None = None, closed: bool = True) -> bytes:
    head = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n' if head is None else head
    body = b"".join(b"--" + boundary + b"\r\n" + part.removesuffix(b"\r\n") + b"\r\n" for part in parts)
    return head + b"\r\n" + body + (b"--" + boundary + b"--\r\n" if closed else b"")


def part(header: bytes, encoding: str, body: bytes) -> bytes:
    cte = f"Content-Transfer-Encoding: {encoding}\r\n".encode() if encoding else b""
    return header + cte + b"\r\n" + body


def labelled(header: bytes, encoding: str = "base64", how: Callable[[bytes], bytes] = b64) -> Shape:
    """A part with this header, beside the words."""
    return lambda content: TOP + mixed(WORDS, part(header, encoding, how(content)))


def coded(encoding: str, how: Callable[[bytes], bytes]) -> Shape:
    return labelled(NAMED, encoding, how)


def _words(text: Callable[[bytes], bytes], header: bytes = b"Content-Type: text/plain\r\n") -> Shape:
    return lambda content: TOP + header + b"\r\nBonjour,\r\n\r\n" + text(content)


ENCODINGS: dict[str, Shape] = {
    "base64": coded("base64", b64),
    "base64 upper case": coded("BASE64", b64),
    "base64 with a comment": coded("base64 (RFC 2045)", b64),
    "base64 in one line": coded("base64", lambda c: b64(c, 10**9)),
    "base64 in lines of 1024": coded("base64", lambda c: b64(c, 1024)),
    "base64 in lines of 3": coded("base64", lambda c: b64(c, 3)),
    "base64 without padding": coded("base64", lambda c: b64(c + b"\n" * (4 - len(c) % 3)).replace(b"=", b"")),
    "base64 in padded pieces": coded("base64", pieces),
    "base64 in pieces of one line": coded("base64", lambda c: pieces(c, 56)),
    "base64 with junk between the lines": coded("base64", lambda c: b64(c).replace(b"\r\n", b" \xa0!\t\r\n\r\n")),
    "quoted-printable": coded("quoted-printable", qp),
    "binary": coded("binary", raw8),
    "8bit": coded("8bit", raw8),
    "no encoding field": coded("", raw8),
    "x-uuencode": coded("x-uuencode", uu),
    "x-uue": coded("x-uue", uu),
    "uuencode": coded("uuencode", lambda c: uu(c, backtick=True)),
}
"""One named PDF part: read, whatever the encoding."""

LABELS: dict[str, Shape] = {
    "text/plain without a name": labelled(b"Content-Type: text/plain\r\n"),
    "text/plain without a name, raw": labelled(b"Content-Type: text/plain\r\n", "8bit", raw8),
    "text/plain without a name, quoted-printable": labelled(b"Content-Type: text/plain\r\n", "quoted-printable", qp),
    "text/html": labelled(b"Content-Type: text/html\r\n"),
    "text/calendar": labelled(b"Content-Type: text/calendar\r\n"),
    "text/rfc822-headers": labelled(b"Content-Type: text/rfc822-headers\r\n"),
    "text/plain with the name of a text": labelled(b'Content-Type: text/plain; name="note.txt"\r\n'),
    "no Content-Type": labelled(b""),
    "empty Content-Type": labelled(b"Content-Type:\r\n"),
    "Content-Type: PDF": labelled(b"Content-Type: PDF\r\nContent-Disposition: inline\r\n"),
    "Content-Type with a comment": labelled(b"Content-Type: application/pdf (a comment)\r\n"),
    "Content-Type with a comment first": labelled(b"Content-Type: (a comment) application/pdf\r\n"),
    "Content-Type with blanks": labelled(b"Content-Type: application / pdf\r\n"),
    "Content-Type of semicolons": labelled(b"Content-Type: APPLICATION/PDF;;; ;\r\n"),
    "Content-Type encoded": labelled(b"Content-Type: =?utf-8?Q?application/pdf?=\r\n"),
    "Content-Type without a subtype": labelled(b"Content-Type: application\r\n"),
    "Content-Type of three": labelled(b"Content-Type: application/pdf/x\r\n"),
    "a program": labelled(b'Content-Type: application/octet-stream; name="setup.exe"\r\n'),
    "an image of the text": labelled(b"Content-Type: image/png\r\nContent-ID: <a>\r\nContent-Disposition: inline\r\n"),
    "a logo": labelled(b'Content-Type: image/png; name="logo.png"\r\n'),
    "a signature": labelled(b"Content-Type: application/pgp-signature\r\n"),
    "an S/MIME signature": labelled(b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\n"),
    "a delivery status": labelled(b"Content-Type: message/delivery-status\r\n"),
    "a message of its own": lambda content: TOP + part(NAMED, "base64", b64(content)),
    "a message of its own, as text": lambda content: TOP + part(b"", "base64", b64(content)),
    "within multipart/related": lambda content: (
        TOP + mixed(mixed(WORDS, part(b"Content-Type: image/gif\r\nContent-ID: <a>\r\n", "base64", b64(content)),
                          head=b"Content-Type: multipart/related; boundary=r\r\n", boundary=b"r"))
    ),
    "within multipart/alternative": lambda content: (
        TOP + mixed(WORDS, part(NAMED, "base64", b64(content)),
                    head=b"Content-Type: multipart/alternative; boundary=r\r\n", boundary=b"r")
    ),
    "within multipart/digest": lambda content: (
        TOP + mixed(TOP + part(NAMED, "base64", b64(content)), head=b"Content-Type: multipart/digest; boundary=r\r\n\r\n"[:-2], boundary=b"r").replace(b"--r\r\nFrom", b"--r\r\n\r\nFrom")
    ),
    "forwarded": lambda content: TOP + mixed(WORDS, b"Content-Type: message/rfc822\r\n\r\n" + coded("base64", b64)(content), boundary=b"y"),
    "unclosed": lambda content: TOP + mixed(WORDS, part(NAMED, "base64", b64(content)), closed=False),
    "a boundary that is the start of another": lambda content: (
        TOP + mixed(mixed(WORDS, boundary=b"=_b11", head=None), part(NAMED, "base64", b64(content)))
    ),
    "folded fields": labelled(b"Content-Type:\r\n application/pdf;\r\n\tname=\r\n \"f.pdf\"\r\n"),
    "two Content-Dispositions": labelled(b"Content-Type: text/plain\r\nContent-Disposition: inline\r\nContent-Disposition: attachment\r\n"),
}  # fmt: skip
"""The document is found, whatever its part is called."""

AMBIGUOUS: dict[str, Shape] = {
    "a line without colon in the header": lambda c: TOP + b"no field\r\n" + mixed(WORDS, part(NAMED, "base64", b64(c))),
    "a line without colon after the type": lambda c: (
        TOP + b'Content-Type: multipart/mixed; boundary="=_b1"\r\nno field\r\n' + mixed(WORDS, part(NAMED, "base64", b64(c)), head=b"X-A: b\r\n")
    ),
    "a line without colon in a part": labelled(NAMED + b"no field\r\n"),
    "a line without colon on top of a part": labelled(b"no field\r\n" + NAMED),
    "a header without an end": lambda c: TOP + mixed(WORDS, NAMED + b"Content-Transfer-Encoding: base64\r\n" + b64(c)),
    "an empty line too early": lambda c: TOP + b"\r\n" + mixed(WORDS, part(NAMED, "base64", b64(c))),
    "an empty line after the first field": lambda c: b"From: a@b.example\r\n\r\n" + TOP + mixed(WORDS, part(NAMED, "base64", b64(c))),
    "an empty line too early in a part": lambda c: TOP + mixed(WORDS, b"\r\n" + part(NAMED, "base64", b64(c))),
    "an empty line after the type of a part": lambda c: TOP + mixed(WORDS, NAMED + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64(c)),
    "an empty line after the type of a text part": lambda c: (
        TOP + mixed(WORDS, b"Content-Type: text/plain\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64(c))
    ),
    "two Content-Types": labelled(b"Content-Type: text/plain\r\n" + NAMED),
    "two encodings": labelled(NAMED + b"Content-Transfer-Encoding: 7bit\r\n"),
    "no boundary parameter": lambda c: TOP + mixed(WORDS, part(NAMED, "base64", b64(c)), head=b"Content-Type: multipart/mixed\r\n"),
    "a boundary without its semicolon": lambda c: TOP + mixed(WORDS, part(NAMED, "base64", b64(c)), head=b"Content-Type: multipart/mixed boundary==_b1\r\n"),
    "another boundary": lambda c: TOP + mixed(WORDS, part(NAMED, "base64", b64(c)), head=b"Content-Type: multipart/mixed; boundary=other\r\n"),
    "two boundaries": lambda c: TOP + mixed(WORDS, part(NAMED, "base64", b64(c)), head=b"Content-Type: multipart/mixed; boundary=other; boundary=\"=_b1\"\r\n"),
    "a multipart without a subtype": lambda c: TOP + mixed(WORDS, part(NAMED, "base64", b64(c)), head=b"Content-Type: multipart; boundary=\"=_b1\"\r\n"),
    "a multipart without a type": lambda c: TOP + mixed(WORDS, part(NAMED, "base64", b64(c)), head=b""),
    "a multipart called text": lambda c: TOP + mixed(WORDS, part(NAMED, "base64", b64(c)), head=b"Content-Type: text/plain; boundary=\"=_b1\"\r\n"),
    "a multipart within a text part": lambda c: TOP + mixed(WORDS, b"Content-Type: text/plain\r\n\r\nBonjour\r\n" + mixed(WORDS, part(NAMED, "base64", b64(c)), boundary=b"x")),
    "an encoded multipart": lambda c: TOP + b'Content-Type: multipart/mixed; boundary="=_b1"\r\nContent-Transfer-Encoding: base64\r\n\r\n' + b64(mixed(WORDS, part(NAMED, "base64", b64(c)))),
    "the same boundary within": lambda c: TOP + mixed(WORDS, mixed(part(NAMED, "base64", b64(c)))),
    "before the first part": lambda c: TOP + mixed(WORDS).replace(b"\r\n\r\n--", b"\r\n\r\n" + part(NAMED, "base64", b64(c)) + b"--", 1),
    "after the last part": lambda c: TOP + mixed(WORDS) + b"--=_b1\r\n" + part(NAMED, "base64", b64(c)),
    "after the last part, bare": lambda c: TOP + mixed(WORDS) + b64(c),
    "after the last part, raw": lambda c: TOP + mixed(WORDS) + c,
    "after the last part, uuencode": lambda c: TOP + mixed(WORDS) + uu(c),
    "a body elsewhere": lambda c: TOP + mixed(WORDS, b'Content-Type: message/external-body; access-type=URL; URL="https://x.example/f.pdf"\r\n\r\n' + part(NAMED, "base64", b64(c))),
    "forwarded in base64": lambda c: TOP + mixed(WORDS, part(b"Content-Type: message/rfc822\r\n", "base64", b64(coded("base64", b64)(c)))),
    "forwarded twice": lambda c: TOP + mixed(WORDS, b"Content-Type: message/rfc822\r\n\r\n" + TOP + mixed(WORDS, b"Content-Type: message/rfc822\r\n\r\n" + coded("base64", b64)(c), boundary=b"y")),
    "a text that ends in uuencode": _words(uu),
    "a text that ends in uuencode with backticks": _words(lambda c: uu(c, b"Ma facture no 1.pdf", backtick=True)),
    "a text that ends in uuencode -m": _words(lambda c: b"begin-base64 644 f.pdf\r\n" + b64(c) + b"====\r\n"),
    "a text coded in base64 that ends in uuencode": lambda c: TOP + part(b"Content-Type: text/plain\r\n", "base64", b64(b"Bonjour\r\n" + uu(c))),
    "an HTML that ends in uuencode": _words(uu, b"Content-Type: text/html\r\n"),
    "a named text that ends in uuencode": lambda c: TOP + mixed(WORDS, b"Content-Type: text/plain; name=a.txt\r\n\r\nVoir\r\n" + uu(c)),
    "a text that ends in base64": _words(b64),
    "a text that ends in a PDF": _words(raw8),
    "a text that ends in yEnc": _words(lambda c: b"=ybegin line=128 size=%d name=f.pdf\r\n" % len(c) + bytes((o + 42) % 256 for o in c if (o + 42) % 256 not in (0, 10, 13, 61)) + b"\r\n=yend\r\n"),
    "a text that ends in BinHex": _words(lambda c: b"(This file must be converted with BinHex 4.0)\r\n:" + b64(c)),
    "an HTML with a data: link": _words(lambda c: b'<a href="data:application/pdf;base64,' + base64.b64encode(c) + b'">facture</a>\r\n', b"Content-Type: text/html\r\n"),
    "a part in BinHex": lambda c: TOP + mixed(WORDS, part(b"Content-Type: application/mac-binhex40; name=f.pdf.hqx\r\n", "7bit", b"(This file must be converted with BinHex 4.0)\r\n:" + b64(c))),
    "an unknown encoding": coded("x-yencode", b64),
    "an unknown encoding, raw": coded("utf-8", raw8),
    "an unknown encoding of a text": labelled(b"Content-Type: text/plain\r\n", "x-hqx", b64),
    "an encoding in quotes": coded('"base64"', b64),
    "an encoding misspelt": coded("base-64", b64),
    "base64 called 7bit": coded("7bit", b64),
    "base64 without an encoding field": coded("", b64),
    "base64 called quoted-printable": coded("quoted-printable", b64),
    "base64 called x-uuencode": coded("x-uuencode", b64),
    "raw called base64": coded("base64", raw8),
    "raw called quoted-printable": coded("quoted-printable", raw8),
    "raw called x-uuencode": coded("x-uuencode", raw8),
    "uuencode called base64": coded("base64", uu),
    "uuencode without an encoding field": coded("", uu),
    "uuencode of a nameless part": labelled(b"", "7bit", uu),
    "a part called partial": labelled(b"Content-Type: message/partial; id=a; number=1; total=2\r\n", "7bit", raw8),
    "winmail.dat": labelled(b"Content-Type: application/ms-tnef; name=winmail.dat\r\n"),
    "two documents in one part": coded("base64", lambda c: b64(plain_pdf("Bonjour") + b"\n" * (5 - len(plain_pdf("Bonjour")) % 3)) + b64(c)),
}  # fmt: skip
"""Two programs may read it in two ways, or none of ours can: held."""

SHAPES: dict[str, Shape] = ENCODINGS | LABELS | AMBIGUOUS


def names(shapes: dict[str, Shape]) -> Sequence[str]:
    return list(shapes)
