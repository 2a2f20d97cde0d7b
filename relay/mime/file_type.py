"""What a file is by its first octets, whatever it is called: the one place that says which octets are a PDF."""

import re

HEADER_WITHIN = 1024
SNIFF = HEADER_WITHIN + len(b"%PDF-")
"""Octets that decide: a PDF's header begins within its first 1,024 (ISO 32000-1, Annex H, implementation note 13)."""

PDF = "application/pdf"
PKCS7 = "application/pkcs7-mime"
PEM = "application/x-pem-file"
TAR = "application/x-tar"
MESSAGE = "message/rfc822"
PROGRAM = "application/x-executable"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"PK\x07\x08", "application/zip"),
    (b"PK00PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x04\x22\x4d\x18", "application/x-lz4"),
    (b"\x1f\x9d", "application/x-compress"),
    (b"\x1f\xa0", "application/x-compress"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"MSCF", "application/vnd.ms-cab-compressed"),
    (b"!<arch>\n", "application/x-archive"),
    (b"070701", "application/x-cpio"),
    (b"070702", "application/x-cpio"),
    (b"070707", "application/x-cpio"),
    (b"xar!", "application/x-xar"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
    (b"%!", "application/postscript"),
    (b"\xc5\xd0\xd3\xc6", "application/postscript"),
    (b"%FDF-", "application/vnd.fdf"),
    (b"{\\rtf", "application/rtf"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"RIFF", "application/x-riff"),
    (b"MZ", PROGRAM),
    (b"\x7fELF", PROGRAM),
    (b"\xfe\xed\xfa\xce", PROGRAM),
    (b"\xfe\xed\xfa\xcf", PROGRAM),
    (b"\xce\xfa\xed\xfe", PROGRAM),
    (b"\xcf\xfa\xed\xfe", PROGRAM),
    (b"\xca\xfe\xba\xbe", PROGRAM),  # Mach-O of several architectures, or a Java class
    (b"\x00asm", PROGRAM),
    (b"dex\n", PROGRAM),
    (b"L\x00\x00\x00\x01\x14\x02\x00", PROGRAM),  # a Windows shortcut, which starts a program
    (b"#!", PROGRAM),
)
_STARTS = frozenset(magic[:2] for magic, _ in _MAGIC)

_BOM_OR_SPACE = b"\xef\xbb\xbf \t\r\n\x0c"
_MARKUP = re.compile(rb"<[!?/A-Za-z]")
_DER = re.compile(rb"\x30(?:[\x00-\x80]|\x81.|\x82..|\x83...|\x84....)\x06[\x01-\x20]", re.DOTALL)
_FIELD_NAMES = (
    rb"(?:from|to|cc|bcc|sender|reply-to|subject|date|message-id|mime-version|received|return-path|delivered-to|"
    rb"in-reply-to|references|authentication-results|dkim-signature|arc-[a-z-]+|content-[a-z-]+|list-[a-z-]+|"
    rb"resent-[a-z-]+|x-[a-z0-9-]+)"
)
_MESSAGE = re.compile(
    rb"(?:From \S+[^\r\n]*\r?\n)?(?:--[^\r\n]{1,70}\r?\n)?" + _FIELD_NAMES + rb"[ \t]*:", re.IGNORECASE
)
_TAR_SUM = slice(148, 156)


def is_pdf(data: bytes) -> bool:
    """`%PDF-` within the first 1,024 octets and nothing before it that is the beginning of another format.

    A few octets of no format before the header (white space, MacBinary, printer commands) do not matter to readers.
    """
    if data.startswith(b"%PDF-"):
        return True
    return data.find(b"%PDF-", 0, SNIFF) > 0 and file_type(data) is None


def file_type(data: bytes) -> str | None:
    """The media type that the first octets of `data` show; None for a text or a format that is not known here."""
    if data.startswith(b"%PDF-"):
        return PDF
    if data[:2] in _STARTS:
        for magic, media_type in _MAGIC:
            if data.startswith(magic):
                return media_type
    head = data[:SNIFF]
    if _DER.match(head):
        return PKCS7
    if head[2:5] == b"-lh" and head[6:7] == b"-":
        return "application/x-lzh"
    if _is_tar(head):
        return TAR
    text = head.lstrip(_BOM_OR_SPACE)
    if _MARKUP.match(text):
        return "text/html" if re.search(rb"<!doctype html|<html", text, re.IGNORECASE) else "text/xml"
    if text.startswith(b"-----BEGIN "):
        return "application/pgp-encrypted" if text.startswith(b"-----BEGIN PGP ") else PEM
    if _MESSAGE.match(text):
        return MESSAGE
    return None


def _is_tar(head: bytes) -> bool:
    """The sum in a tar header is that of its 512 octets, those of the sum itself taken as spaces (POSIX ustar, V7)."""
    if len(head) < 512 or not head[0]:
        return False
    try:
        stated = int(head[_TAR_SUM].strip(b" \x00"), 8)
    except ValueError:
        return False
    return stated == sum(head[:148]) + 8 * 0x20 + sum(head[156:512])
