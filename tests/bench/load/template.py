"""The messages of the bench: one template a size, patched in place: each message is another invoice, and costs nothing.

A token (run and serial number, 16 characters) is Message-ID, BT-1 of the XML, title of the XMP and text of the pages.
The PDFs' streams are not compressed, so the lines of base64 that hold a token are encoded anew for each message.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import pybase64

from relay.demo.sample_pdf import facturx_pdf, original_pdf
from relay.demo.samples import invoice_xml
from tests.support import mails

BLANK = b"B000000-00000000"
TOKEN = re.compile(rb"<(B[0-9a-f]{6}-\d{8})@bench\.invalid>")
SENDER = "noreply@jefacture.example"
LINE_OCTETS, LINE_LENGTH = 57, 78
BUYER = "542051180"


def token(run: str, serial: int) -> bytes:
    """run: six hexadecimal digits, another for each run of senders. serial: 0 to 99,999,999."""
    return f"B{run}-{serial:08d}".encode()


@dataclass(frozen=True)
class Template:
    """octets: the message with BLANK for a token, CRLF lines, dots not stuffed (no line begins with one).

    recipient: RCPT TO. documents: the PDFs it carries, the Factur-X first; also with BLANK.
    """

    name: str
    recipient: str
    octets: bytes
    documents: tuple[bytes, ...]

    def mail(self, name: bytes) -> bytearray:
        """The message of this token."""
        made = bytearray(self.octets)
        for at in self._plain:
            made[at : at + len(BLANK)] = name
        for at, lines in self._encoded:
            made[at : at + _encoded_size(len(lines))] = _encode(lines.replace(BLANK, name))
        return made

    def digests(self, name: bytes) -> tuple[bytes, ...]:
        """sha256 of each document of the message of this token."""
        return tuple(sha256(document.replace(BLANK, name)).digest() for document in self.documents)

    @cached_property
    def _plain(self) -> tuple[int, ...]:
        return tuple(match.start() for match in re.finditer(re.escape(BLANK), self.octets))

    @cached_property
    def _encoded(self) -> tuple[tuple[int, bytes], ...]:
        """Place in the message and octets of every group of base64 lines that holds a token."""
        found: list[tuple[int, bytes]] = []
        for document in self.documents:
            start = self.octets.index(_encode(document))
            for first, last in _groups(document):
                found.append((start + first * LINE_LENGTH, document[first * LINE_OCTETS : (last + 1) * LINE_OCTETS]))
        return tuple(found)


def _groups(document: bytes) -> Iterator[tuple[int, int]]:
    """First and last line of base64 of each token; those that touch are one."""
    first = last = -1
    for match in re.finditer(re.escape(BLANK), document):
        begin, end = match.start() // LINE_OCTETS, (match.end() - 1) // LINE_OCTETS
        if begin <= last:
            last = end
            continue
        if last >= 0:
            yield first, last
        first, last = begin, end
    if last >= 0:
        yield first, last


def _encode(octets: bytes) -> bytes:
    return pybase64.encodebytes(octets).replace(b"\n", b"\r\n")


def _encoded_size(size: int) -> int:
    lines, rest = divmod(size, LINE_OCTETS)
    return lines * LINE_LENGTH + ((rest + 2) // 3 * 4 + 2 if rest else 0)


def template(
    name: str,
    recipient: str,
    siren: str,
    profile: str = "en16931",
    emergency_reserve: int = 0,
    original: int | None = None,
    lines: int = 1,
) -> Template:
    """A sale of the client of `siren`. ballast, original: octets of noise in the Factur-X, and in an original PDF.

    lines: of the invoice; more than one break its sums.
    """
    number = BLANK.decode()
    xml = _with_lines(invoice_xml(number, profile=profile, seller_siren=siren, buyer_siren=BUYER), lines)
    facturx = facturx_pdf(
        xml, padding=emergency_reserve, archival=emergency_reserve > 0
    )  # no PDF/A fits in the smallest message
    documents = [facturx]
    if original is not None:
        documents.append(original_pdf(xml, padding=original))
    names = (f"{number}.pdf", "original.pdf")
    parts = [mails.text(f"Bonjour,\r\n\r\nvoici la facture {number}.\r\n")]
    parts += [mails.pdf(each, name) for each, name in zip(documents, names, strict=False)]
    octets = mails.mail(parts, to=recipient, message_id=f"<{number}@bench.invalid>")
    return Template(name, recipient, octets, tuple(documents))


def _with_lines(xml: bytes, lines: int) -> bytes:
    head, tag, rest = xml.partition(b"<ram:IncludedSupplyChainTradeLineItem>")
    inner, end, tail = rest.partition(b"</ram:IncludedSupplyChainTradeLineItem>")
    if not tag or lines == 1:
        return xml
    one, number = tag + inner + end, b"<ram:LineID>%d<"
    return head + b"".join(one.replace(number % 1, number % each) for each in range(1, lines + 1)) + tail


SIZES = {
    "a": ("minimum", 0, None),
    "b": ("en16931", 88_000, None),
    "c": ("en16931", 88_000, 340_000),
}
"""(a) 9 KB, a Factur-X of the smallest profile; (b) 130 KB, one Factur-X; (c) 600 KB, a Factur-X and its original."""


def of_size(size: str, recipient: str, siren: str) -> Template:
    """The message of a size of `SIZES`, or of so many KB ("2500": an EN 16931 Factur-X with ballast)."""
    if size in SIZES:
        return template(size, recipient, siren, *SIZES[size])
    return template(size, recipient, siren, "en16931", max(0, int(size) * 1000 * LINE_OCTETS // LINE_LENGTH - 9000))
