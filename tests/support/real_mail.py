"""A row of the oracle as a message with real documents: Factur-X and plain PDFs that the daemon checks itself."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from relay.demo.sample_pdf import facturx_pdf, original_text, plain_pdf
from relay.demo.samples import invoice_xml
from tests.support.decisions import multipart

STRANGERS = {"stranger": "123456782", "foreign": "542051180", "other-stranger": "987654324"}
"""A party abroad is another French stranger here: our samples write French invoices."""


@dataclass(frozen=True)
class RealMail:
    """recipients of the envelope, raw octets, and the sha256 of each document by its file name."""

    recipients: tuple[str, ...]
    raw: bytes
    documents: Mapping[str, str]


def real(number: int, mail: Mapping[str, Any]) -> RealMail:
    files: dict[str, bytes] = {}
    invoice = next((recipe["facturx"] for recipe in mail["parts"] if "facturx" in recipe), None)
    for recipe in mail["parts"]:
        ((kind, fields),) = recipe.items()
        files[fields["name"]] = _facturx(fields) if kind == "facturx" else _plain(fields, invoice)
    headers = {
        "From": "Plateforme <noreply@jefacture.example>",
        "To": "Client <client@jefacture.example>",
        "Subject": f"Piece {number}",
        "Date": "Tue, 24 Nov 2026 09:00:00 +0100",
        "Message-ID": f"<oracle-{number}@jefacture.example>",
        "MIME-Version": "1.0",
        **mail.get("headers", {}),
    }
    top = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    text = b"Content-Type: text/plain; charset=utf-8\r\n\r\nBonjour,\r\n\r\nvoici une nouvelle piece.\r\n"
    parts = [text, *(_leaf(name, content) for name, content in files.items())]
    hashes = {name: sha256(content).hexdigest() for name, content in files.items()}
    return RealMail(tuple(mail["to"]), top + multipart("mixed", parts, f"=_{number}"), hashes)


def _facturx(fields: Mapping[str, Any]) -> bytes:
    return facturx_pdf(_xml(fields), text=f"{fields['name']}: Facture {fields['number']}")


def _xml(fields: Mapping[str, Any]) -> bytes:
    return invoice_xml(
        number=fields["number"],
        type_code=fields["type"],
        seller_siren=_siren(fields["seller"]),
        buyer_siren=_siren(fields["buyer"]),
    )


def _plain(fields: Mapping[str, Any], invoice: Mapping[str, Any] | None) -> bytes:
    """The original of `invoice` when it mentions its number, else an annex."""
    name = fields["name"].removesuffix(".pdf")
    if invoice is None or invoice["number"] not in fields.get("mentions", ()):
        return plain_pdf(f"{name}: annexe")
    return plain_pdf(f"{name}\n{original_text(_xml(invoice))}")


def _siren(party: str) -> str:
    return STRANGERS.get(party) or party.removeprefix("siren:")


def _leaf(name: str, content: bytes) -> bytes:
    head = f'Content-Type: application/pdf; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n'
    head += f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
    return head.encode() + base64.encodebytes(content).replace(b"\n", b"\r\n")
