"""One decoder for every Content-Transfer-Encoding: what real programs write, well and badly, against its octets."""

import base64
import binascii
import quopri

import pytest

from relay.demo import samples
from relay.inspection import Candidate
from relay.mime.transfer_decoder import Decoded, Problem, decode, decode_document, head

PDF = samples.facturx_pdf(samples.invoice_xml("F-9"))
OTHER = samples.plain_pdf("another document")
PADDED = OTHER + b"\n" * (2 - len(OTHER) % 3 + 3)
"""OTHER so long that its base64 ends with a padding."""


def lines(content: bytes, width: int = 76, end: bytes = b"\r\n") -> bytes:
    text = base64.b64encode(content)
    return end.join(text[place : place + width] for place in range(0, len(text), width))


def pieces(content: bytes, size: int) -> bytes:
    """Each piece encoded and padded for itself, as a program does that encodes its buffer before it is full."""
    return b"".join(lines(content[place : place + size]) + b"\r\n" for place in range(0, len(content), size))


def uu(content: bytes, name: bytes = b"f.pdf", *, backtick: bool = True, end: bytes = b"\r\n") -> bytes:
    rows = [
        binascii.b2a_uu(content[at : at + 45], backtick=backtick).rstrip(b"\n") for at in range(0, len(content), 45)
    ]
    return end.join([b"begin 644 " + name, *rows, b"`" if backtick else b" ", b"end", b""])


def stripped(encoded: bytes) -> bytes:
    """Without the spaces at the ends of lines, which many a transport removes."""
    return b"\r\n".join(line.rstrip(b" ") for line in encoded.split(b"\r\n"))


def checked(encoded: bytes) -> bytes:
    """With a character of a checksum after each line, as some encoders write it."""
    first, *rows, grave, end, last = encoded.split(b"\r\n")
    return b"\r\n".join([first, *(row + b"#" for row in rows), grave, end, last])


def soft(content: bytes) -> bytes:
    return quopri.encodestring(content.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


TEXT = b"%PDF-1.4\r\n" + b"caf\xc3\xa9 = 1, une ligne assez longue pour une coupure douce apres 76 caracteres\r\n" * 9

READ: dict[str, tuple[str, bytes, bytes]] = {
    "base64": ("base64", lines(PDF), PDF),
    "base64 upper case": ("BASE64 ", lines(PDF), PDF),
    "base64 one line of 100 KB": ("base64", base64.b64encode(b"%PDF-" + b"x" * 100_000), b"%PDF-" + b"x" * 100_000),
    "base64 lines of 1024": ("base64", lines(PDF, 1024), PDF),
    "base64 lines of 7": ("base64", lines(PDF, 7), PDF),
    "base64 lf": ("base64", lines(PDF, end=b"\n"), PDF),
    "base64 without padding": ("base64", lines(b"%PDF-12").rstrip(b"="), b"%PDF-12"),
    "base64 without padding of two": ("base64", lines(b"%PDF-123").rstrip(b"="), b"%PDF-123"),
    "base64 too much padding": ("base64", lines(PDF).rstrip(b"=") + b"====\r\n", PDF),
    "base64 padding on a line of its own": ("base64", lines(b"%PDF-12").rstrip(b"=") + b"\r\n==\r\n", b"%PDF-12"),
    "base64 in pieces of 1024 octets": ("base64", pieces(PDF, 1024), PDF),
    "base64 in pieces of 1000 octets": ("base64", pieces(PDF, 1000), PDF),
    "base64 in pieces of one octet": ("base64", pieces(PDF[:200], 1), PDF[:200]),
    "base64 whose pieces end in a misaligned letter of padding": ("base64", b"QQ==QQ==", b"AA"),
    "base64 junk between lines": ("base64", lines(PDF).replace(b"\r\n", b" \t!\x0b\xa0\r\n\r\n"), PDF),
    "base64 blank lines": ("base64", b"\r\n\r\n" + lines(PDF).replace(b"\r\n", b"\r\n\r\n"), PDF),
    "base64 empty": ("base64", b"", b""),
    "quoted-printable": ("quoted-printable", soft(TEXT), TEXT),
    "quoted-printable lower case": ("Quoted-Printable", b"%PDF=2d1=c3=a9", b"%PDF-1\xc3\xa9"),
    "quoted-printable every octet": ("quoted-printable", b"".join(b"=%02X" % each for each in PDF[:900]), PDF[:900]),
    "quoted-printable soft breaks with spaces": ("quoted-printable", b"%PDF= \r\n-1.4=\r\n x", b"%PDF-1.4 x"),
    "uuencode": ("x-uuencode", uu(PDF), PDF),
    "uuencode by its other names": ("x-uue", uu(PDF), PDF),
    "uuencode bare": ("uuencode", uu(PDF), PDF),
    "uuencode with spaces": ("x-uuencode", uu(PDF, backtick=False), PDF),
    "uuencode with spaces removed at the ends": ("x-uuencode", stripped(uu(PDF, backtick=False)), PDF),
    "uuencode lf": ("x-uuencode", uu(PDF, end=b"\n"), PDF),
    "uuencode after words": ("x-uuencode", b"Bonjour,\r\n\r\n" + uu(PDF, b"ma facture.pdf"), PDF),
    "uuencode with a checksum character": ("x-uuencode", checked(uu(PDF)), PDF),
    "uuencode -m": ("x-uuencode", b"begin-base64 644 f.pdf\r\n" + lines(PDF) + b"\r\n====\r\n", PDF),
    "7bit": ("7bit", b"abc", b"abc"),
    "8bit": ("8bit", PDF, PDF),
    "binary": ("binary", PDF, PDF),
    "none": ("", PDF, PDF),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_mail_programs_open_is_read_without_a_problem(name: str) -> None:
    encoding, encoded, wanted = READ[name]
    assert decode(encoded, encoding) == Decoded(wanted)
    assert decode(memoryview(encoded), encoding) == Decoded(wanted)
    assert decode_document(Candidate(encoded, encoding)) == (wanted, None)
    assert head(encoded, encoding, 1024) == wanted[:1024]


ODD: dict[str, tuple[str, bytes, bytes, Problem]] = {
    "raw PDF called base64": ("base64", PDF, PDF, Problem.MISLABELED),
    "raw PDF after an empty line called base64": ("base64", b"\r\n" + PDF, b"\r\n" + PDF, Problem.MISLABELED),
    "raw PDF called quoted-printable": ("quoted-printable", PDF, PDF, Problem.MISLABELED),
    "raw PDF called x-uuencode": ("x-uuencode", PDF, PDF, Problem.MISLABELED),
    "raw XML called base64": ("base64", b"<?xml version='1.0'?><a/>", b"<?xml version='1.0'?><a/>", Problem.MISLABELED),
    "ZIP called base64": ("base64", b"PK\x03\x04abc", b"PK\x03\x04abc", Problem.MISLABELED),
    "base64 called 7bit": ("7bit", lines(PDF), PDF, Problem.MISLABELED),
    "base64 without any encoding": ("", b"\r\n" + lines(PDF), PDF, Problem.MISLABELED),
    "base64 called 8bit": ("8bit", lines(PDF), PDF, Problem.MISLABELED),
    "base64 called binary": ("binary", lines(b"PK\x03\x04abcdefghijkl"), b"PK\x03\x04abcdefghijkl", Problem.MISLABELED),
    "base64 called quoted-printable": ("quoted-printable", lines(PDF), PDF, Problem.MISLABELED),
    "base64 called x-uuencode": ("x-uuencode", lines(PDF), PDF, Problem.MISLABELED),
    "uuencode called 7bit": ("7bit", uu(PDF), PDF, Problem.MISLABELED),
    "uuencode called base64": ("base64", uu(PDF), PDF, Problem.MISLABELED),
    "uuencode called quoted-printable": ("quoted-printable", uu(PDF), PDF, Problem.MISLABELED),
    "two documents in base64": ("base64", lines(PADDED) + b"\r\n" + lines(PDF), PADDED + PDF, Problem.AMBIGUOUS),
    "two files in uuencode": ("x-uuencode", uu(OTHER) + uu(PDF), OTHER, Problem.AMBIGUOUS),
    "base64 cut off in a group": ("base64", b"QUJDR", b"ABC", Problem.DAMAGED),
    "uuencode without its end": ("x-uuencode", uu(PDF).removesuffix(b"end\r\n"), PDF, Problem.DAMAGED),
    "uuencode without any": ("x-uuencode", b"Bonjour", b"", Problem.DAMAGED),
    "unknown": ("x-yenc", PDF, PDF, Problem.UNKNOWN),
    "unknown, a comment": ("(base64)", b"QUJD", b"QUJD", Problem.UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_body_that_contradicts_its_encoding_is_read_as_what_it_is_with_a_problem(name: str) -> None:
    encoding, encoded, wanted, problem = ODD[name]
    assert decode(encoded, encoding) == Decoded(wanted, problem)
    octets, finding = decode_document(Candidate(encoded, encoding))
    assert octets == wanted
    assert finding is not None and finding.rule == f"ENCODING-{problem.value.upper()}"


@pytest.mark.parametrize("count", [1 << 10, 1 << 20])
@pytest.mark.parametrize(
    "unit", [b"=", b"A=", b"A==", b"QQ==\r\n", b"begin 644 x\n", b"M\r\n", b"\r\n", b"=\r\n", b"!"]
)
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-uuencode", "7bit"])
def test_hostile_bodies_are_read_to_an_end(encoding: str, unit: bytes, count: int) -> None:
    body = unit * (count // len(unit))
    assert len(decode(body, encoding).octets) <= len(body)
