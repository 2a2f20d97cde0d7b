"""A file is what its first octets say: a container that holds a PDF is none, a few octets of junk make none of it."""

import email.message
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable

import pytest

from relay.demo import samples
from relay.facturx.inspect import inspect
from relay.inspection import PDF_WITHIN, Candidate, Kind, Options, Report, Verdict
from relay.mime.file_type import SNIFF, file_type, is_pdf

PDF = samples.facturx_pdf(samples.invoice_xml())


def check(content: bytes, **how: str) -> Report:
    (report,) = inspect([Candidate(content, **how)], Options(level="structure"))
    return report


def zipped(method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("facture.pdf", PDF)
    return out.getvalue()


def tarred(form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        entry = tarfile.TarInfo("facture.pdf")
        entry.size = len(PDF)
        archive.addfile(entry, io.BytesIO(PDF))
    return out.getvalue()


def old_tar() -> bytes:
    """Before POSIX: no magic, only the sum of the header tells."""
    header = bytearray(512)
    header[0:11] = b"facture.pdf"
    header[100:107], header[124:135] = b"0000644", b"%011o" % len(PDF)
    header[148:156] = b" " * 8
    header[148:155] = b"%06o\0" % sum(header)
    return bytes(header) + PDF


def der(tag: int, content: bytes, *, forever: bool = False) -> bytes:
    if forever:
        return bytes([tag, 0x80]) + content + b"\0\0"
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def signed(content: bytes = PDF, *, forever: bool = False) -> bytes:
    """PKCS #7 signed data round `content` (CAdES); forever: indefinite lengths, as streaming programs write them."""
    data, signed_data = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
    inner = der(0x30, data + der(0xA0, der(0x04, content), forever=forever), forever=forever)
    body = der(0x30, der(0x02, b"\x01") + der(0x31, b"") + inner, forever=forever)
    return der(0x30, signed_data + der(0xA0, body, forever=forever), forever=forever)


def message() -> bytes:
    made = email.message.EmailMessage()
    made["From"], made["Subject"] = "a@b.example", "Facture"
    made.set_content("x")
    return bytes(made).split(b"\n\n")[0] + b"\n\n" + PDF


CONTAINERS: dict[str, Callable[[], bytes]] = {
    "zip-stored": zipped,
    "zip-with-a-marker-of-volumes": lambda: b"PK00" + zipped(),
    "tar-ustar": lambda: tarred(tarfile.USTAR_FORMAT),
    "tar-gnu": lambda: tarred(tarfile.GNU_FORMAT),
    "tar-before-posix": old_tar,
    "gzip": lambda: b"\x1f\x8b\x08\x08\0\0\0\0\0\0%PDF-1.7.pdf\0" + gzip.compress(PDF)[10:],
    "bzip2": lambda: b"BZh9" + PDF,
    "xz": lambda: b"\xfd7zXZ\0" + PDF,
    "7z": lambda: b"7z\xbc\xaf\x27\x1c\0\4" + PDF,
    "rar": lambda: b"Rar!\x1a\x07\x01\0" + PDF,
    "cab": lambda: b"MSCF\0\0\0\0" + PDF,
    "cpio": lambda: b"070701" + b"0" * 104 + b"facture.pdf\0" + PDF,
    "ar": lambda: b"!<arch>\nfacture.pdf/    0           0     0     644     9         `\n" + PDF,
    "pkcs7-der": signed,
    "pkcs7-ber": lambda: signed(forever=True),
    "pkcs7-small": lambda: signed(b"%PDF-1.7"),
    "pkcs7-pem": lambda: b"-----BEGIN PKCS7-----\n" + PDF + b"\n-----END PKCS7-----\n",
    "cms-pem-after-a-line": lambda: b"\r\n-----BEGIN CMS-----\n" + PDF,
    "pgp-clear-signed": lambda: b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + PDF,
    "message": message,
    "message-of-mbox": lambda: b"From a@b.example Fri Nov 27 10:00:00 2026\n" + message(),
    "message-after-a-line": lambda: b"\n" + message(),
    "mime-part": lambda: b"Content-Type: application/pdf\r\n\r\n" + PDF,
    "mime-multipart": lambda: b"--=_1\r\nContent-Type: application/pdf\r\n\r\n" + PDF,
    "html": lambda: b"<!DOCTYPE html><html><body>%PDF-1.7 " + PDF,
    "html-after-bom": lambda: b"\xef\xbb\xbf  <html>" + PDF,
    "html-of-an-error-page": lambda: b"<br />\n<b>Warning</b>: file_get_contents() <html>\n" + PDF,
    "postscript": lambda: b"%!PS-Adobe-3.0\n%%Title: " + PDF,
    "eps-for-dos": lambda: b"\xc5\xd0\xd3\xc6" + b"\0" * 28 + PDF,
    "rtf": lambda: b"{\\rtf1 " + PDF,
    "ole": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504 + PDF,
    "tnef": lambda: b"\x78\x9f\x3e\x22\0\0" + PDF,
    "jpeg": lambda: b"\xff\xd8\xff\xe0\0\x10JFIF\0" + PDF,
    "png": lambda: b"\x89PNG\r\n\x1a\n" + PDF,
    "program-of-windows": lambda: b"MZ\x90\0" + b"\0" * 100 + PDF,
    "program-of-linux": lambda: b"\x7fELF\2\1\1" + PDF,
    "script": lambda: b"#!/bin/sh\nexit\n" + PDF,
    "fdf": lambda: b"%FDF-1.2\n" + PDF,
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("filename", ["facture.pdf", "facture.bin"])
def test_a_container_with_a_pdf_within_is_no_pdf(name: str, filename: str) -> None:
    content = CONTAINERS[name]()
    assert b"%PDF-" in content[:SNIFF]
    assert not is_pdf(content)
    report = check(content, filename=filename, media_type="application/pdf")
    assert (report.kind, report.verdict, report.number) == (Kind.OTHER, Verdict.NOT_FACTURX, None)
    assert [each.rule for each in report.findings] == [PDF_WITHIN]


@pytest.mark.parametrize("place", [0, 1, 9, 500, 1018, 1019, 1023])
@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x1f\x8b", b"<html>", b"Rar!\x1a\x07", b"From: a@b.example\n\n"])
def test_a_container_is_none_wherever_the_header_stands(start: bytes, place: int) -> None:
    assert not is_pdf(start + b"." * max(0, place - len(start)) + PDF)


JUNK = {
    "nothing": b"",
    "line-ends": b"\r\n\r\n",
    "blanks": b"   \t",
    "nul": b"\0" * 16,
    "bom": b"\xef\xbb\xbf",
    "mac-binary": b"\0\x0bfacture.pdf".ljust(65, b"\0") + b"PDF CARO".ljust(63, b"\0"),
    "printer-commands": b"\x1b%-12345X@PJL ENTER LANGUAGE=PDF\r\n",
    "http-status": b"HTTP/1.1 200 OK\r\n",
    "text": b"facture du mois\n",
    "digits": b"0123456789\n",
    "random": bytes(range(128, 160)),
    "up-to-the-end-of-the-first-kib": b"\n" * 1023,
}


@pytest.mark.parametrize("name", JUNK)
def test_a_few_octets_before_the_header_are_accepted_with_a_finding(name: str) -> None:
    report = check(JUNK[name] + PDF)
    assert (report.kind, report.verdict, report.number) == (Kind.FACTURX, Verdict.VALID, "FA-2026-0001")
    assert ("PDF-HEADER-LATE" in {each.rule for each in report.findings}) == bool(JUNK[name])


def test_a_header_beyond_the_first_kib_is_none() -> None:
    assert not is_pdf(b"\n" * 1030 + PDF)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PDF, "application/pdf"),
        (b"PK\x05\x06" + b"\0" * 18, "application/zip"),
        (b"\x1f\x8b\x08", "application/gzip"),
        (tarred(tarfile.PAX_FORMAT), "application/x-tar"),
        (signed(b"x"), "application/pkcs7-mime"),
        (b"<?xml version='1.0'?><a/>", "text/xml"),
        (b"<!doctype HTML>", "text/html"),
        (b"Received: by x", "message/rfc822"),
        (b"MZ", "application/x-executable"),
        (b"", None),
        (b"0", None),
        (b"Bonjour : voici", None),
        (b"Facture: F-1\n", None),
    ],
)
def test_the_first_octets_tell_the_type(content: bytes, media_type: str | None) -> None:
    assert file_type(content) == media_type


def test_an_invoice_xml_that_mentions_a_pdf_is_still_one() -> None:
    report = check(samples.invoice_xml().replace(b"<ram:Content>", b"<ram:Content>%PDF-1.7 ", 1))
    assert (report.kind, report.number) == (Kind.CII, "FA-2026-0001")
