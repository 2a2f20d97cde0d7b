"""Signed, encrypted, partial, TNEF; and what a person or a log reads of a message."""

import base64

import pytest

from relay.mime.classification import has_tnef, is_encrypted, is_partial, is_signed
from relay.mime.parser import parse
from relay.mime.text import header_value, message_id, octets, safe_filename
from relay.mime.text import text as text_of
from tests.support.mails import mail, multipart, part, pdf, rfc822, text

SIGNED = bytes.fromhex("3080") + bytes.fromhex("06092a864886f70d010702a0800000")
ENVELOPED = bytes.fromhex("3080") + bytes.fromhex("06092a864886f70d010703a0800000")
P7M = "application/pkcs7-mime"


def traits(raw: bytes) -> set[str]:
    message = parse(raw)
    tests = {"signed": is_signed, "encrypted": is_encrypted, "partial": is_partial, "tnef": has_tnef}
    return {name for name, test in tests.items() if test(message)}


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (mail(), set()),
        (mail([text(), pdf(), part(b"0\x80", P7M + "; smime-type=signed-data", "f.pdf.p7m")]), set()),
        (
            mail(entity=multipart([text(), part(b"x", "application/pkcs7-signature", "smime.p7s")], "signed")),
            {"signed"},
        ),
        (mail([multipart([text(), pdf()], "signed"), text("-- list footer")]), {"signed"}),
        (mail([text(), rfc822(mail(entity=multipart([text(), pdf()], "signed")))]), {"signed"}),
        (mail(entity=part(b"x", P7M + "; smime-type=signed-data", "smime.p7m")), {"signed"}),
        (mail(entity=part(SIGNED, P7M, "smime.p7m")), {"signed"}),
        (mail(entity=part(SIGNED, P7M, "smime.p7m", encoding="binary")), {"signed"}),
        (mail(entity=part(ENVELOPED, "application/x-pkcs7-mime", "smime.p7m")), {"encrypted"}),
        (mail(entity=part(b"x", P7M + "; smime-type=Enveloped-Data", "smime.p7m")), {"encrypted"}),
        (mail(entity=part(b"x", P7M + "; smime-type=authEnveloped-data", "smime.p7m")), {"encrypted"}),
        (mail(entity=part(b"x", P7M + "; smime-type=certs-only", "smime.p7c")), set()),
        (
            mail(entity=multipart([part(b"Version: 1", "application/pgp-encrypted"), part(b"x")], "encrypted")),
            {"encrypted"},
        ),
        (mail([text("-----BEGIN PGP MESSAGE-----\n\nx"), pdf()]), {"encrypted"}),
        (mail([text("see: -----BEGIN PGP MESSAGE-----"), pdf()]), set()),
        (mail(entity=part(b"x", "message/partial; number=1; total=2; id=a", encoding="7bit")), {"partial"}),
        (mail([text(), part(b"x", "application/ms-tnef", "winmail.dat")]), {"tnef"}),
        (mail([text(), part(b"x", "application/octet-stream", "WINMAIL.DAT")]), {"tnef"}),
    ],
)
def test_traits(raw, wanted):
    assert traits(raw) == wanted


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit", "binary", "x-unknown"])
def test_octets_undo_the_transfer_encoding(encoding):
    content = b"caf\xc3\xa9 = 1\r\n" * 20 + b"end"
    message = parse(mail([part(content, encoding=encoding)]))
    assert octets(message, message.root.children[0]) == content


@pytest.mark.parametrize("broken", [b"QUJD!RA==", b"QUJDR", b"QUJDRA", b"QUJD\r\n\r\n=", b"QUJD QUJ"])
def test_broken_base64_is_read_as_far_as_it_goes(broken):
    message = parse(b"Content-Transfer-Encoding: base64\r\n\r\n" + broken)
    assert octets(message, message.root).startswith(b"ABC")


@pytest.mark.parametrize(
    ("charset", "octet"), [("iso-8859-1", b"\xe9"), ("utf-8", b"\xc3\xa9"), ("x", b"\xe9"), ("hex", b"\xc3\xa9")]
)
def test_text_by_its_charset(charset, octet):
    message = parse(b"Content-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\n" + octet + b"\r\nx")
    assert text_of(message, message.root) == "é\nx"


def test_a_header_value_is_one_line():
    evil = base64.b64encode(b"x\r\nBcc: a@b\x1b[2J").decode()
    message = parse(mail(headers={"X-A": f"=?utf-8?B?{evil}?=", "X-B": "caf\u00e9\r\n\tau lait"}))
    assert header_value(message, "X-A") == "x Bcc: a@b [2J"
    assert header_value(message, "x-b") == "café au lait"
    assert header_value(message, "x-c") is None


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("<a@b>", "<a@b>"),
        (" (c) <a@b> x", "<a@b>"),
        ("a@b", "a@b"),
        ("a b", ""),
        ("<a\tb>", ""),
        ("é", ""),
        ("<" + "x" * 2_000 + ">", ""),
    ],
)
def test_message_id(value, wanted):
    assert message_id(parse(mail(message_id="", headers={"Message-ID": value}))) == wanted
    assert message_id(parse(mail(message_id=""))) == ""


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("facture.pdf", "facture.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\f.pdf", "f.pdf"),
        ("a\r\nb\x00.pdf", "a b .pdf"),
        ("e\u0301te\u0301.pdf", "été.pdf"),
        ("fdp\u202efdp.exe", "fdp fdp.exe"),
        (".bashrc", "bashrc"),
        ('a<b>"c".pdf', "a_b__c_.pdf"),
        ("x" * 300 + ".pdf", "x" * 146 + ".pdf"),
        ("..", "unnamed"),
        ("", "unnamed"),
        (None, "unnamed"),
    ],
)
def test_safe_file_names(name, wanted):
    assert safe_filename(name) == wanted
