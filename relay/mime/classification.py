"""What kind of message it is, which of its parts are documents though no field says so, and which images only
decorate it."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

from relay.mime.file_type import file_type, is_pdf
from relay.mime.headers import parse_value
from relay.mime.message import Entity, MimeMessage, is_document
from relay.mime.transfer_decoder import IDENTITY, UUENCODE, decode, head
from relay.model import Span

_PKCS7 = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_TNEF = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_DELIVERY_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_READ_RECEIPTS = frozenset({"message/disposition-notification", "message/global-disposition-notification"})
_PGP = b"-----BEGIN PGP MESSAGE-----"

# Content types of a CMS object (RFC 5652 §5.1, §6.1; RFC 5083 §2), as they stand in DER.
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_ENVELOPED_DATA = (bytes.fromhex("06092a864886f70d010703"), bytes.fromhex("060b2a864886f70d0109100117"))
_HEAD = 800


def is_signed(message: MimeMessage) -> bool:
    """Would a cut break a signature? multipart/signed (RFC 1847 §2.1) anywhere, or a whole message in S/MIME
    signed-data.

    A DKIM signature is none in this sense: it is the transport's, and ours replaces it. Neither is an attached .p7m.
    """
    return "multipart/signed" in message.media_types or _pkcs7(message, "signed-data", (_SIGNED_DATA,))


def is_encrypted(message: MimeMessage) -> bool:
    """Are its documents out of reach? multipart/encrypted, S/MIME enveloped-data, or a text that is a PGP message."""
    if "multipart/encrypted" in message.media_types:
        return True
    if _pkcs7(message, "enveloped-data", _ENVELOPED_DATA) or _pkcs7(message, "authenveloped-data", ()):
        return True
    return any(_inline_pgp(message, entity) for entity in message.entities if entity.media_type == "text/plain")


def is_partial(message: MimeMessage) -> bool:
    """Is it a fragment (message/partial, RFC 2046 §5.2.2)?"""
    return "message/partial" in message.media_types


def has_tnef(message: MimeMessage) -> bool:
    """Does it carry a winmail.dat (MS-OXTNEF), in which documents may hide?"""
    if not _TNEF.isdisjoint(message.media_types):
        return True
    return "winmail.dat" in [entity.filename.casefold() for entity in message.entities if entity.filename]


def is_auto_submitted(message: MimeMessage) -> bool:
    """Did a program write it, so that no program may answer? RFC 3834 §2, §5; Precedence as of old."""
    submitted = (message.root.first("auto-submitted") or "").partition(";")[0].strip().lower()
    if submitted not in ("", "no"):
        return True
    if (message.root.first("precedence") or "").strip().lower() in ("bulk", "junk", "list", "auto_reply"):
        return True
    if message.root.first("list-id") is not None or message.root.first("x-autoreply") is not None:
        return True
    return (message.root.first("return-path") or "").strip() == "<>" or message.root.media_type == "multipart/report"


def automatic_kind(message: MimeMessage) -> str | None:
    """What kind of report or automatic reply it is, in words; None for an ordinary message.

    RFC 3464 and RFC 8098 (multipart/report), RFC 3834 (Auto-Submitted), and the fields that programs used before.
    """
    report = message.root.params.get("report-type", "").lower() if message.root.media_type == "multipart/report" else ""
    types = message.media_types
    if report == "disposition-notification" or not types.isdisjoint(_READ_RECEIPTS):
        return "read receipt"
    if report or message.root.media_type == "multipart/report" or not types.isdisjoint(_DELIVERY_STATUS):
        return "delivery status notification"
    sender = (message.root.first("from") or "").lower()
    if "mailer-daemon@" in sender or sender.strip() == "mailer-daemon":
        return "delivery status notification"
    submitted = parse_value(message.root.first("auto-submitted") or "")[0]
    precedence = (message.root.first("precedence") or "").strip().lower()
    replied = any(message.root.first(name) is not None for name in ("x-autoreply", "x-autorespond", "x-autoresponder"))
    if submitted == "auto-replied" or precedence == "auto_reply" or replied:
        return "automatic reply"
    return "automatic message" if submitted not in ("", "no") else None


def is_report(message: MimeMessage) -> bool:
    """Is it a report on another message (RFC 6522)? The documents in it are that message's, returned and not sent."""
    return message.root.media_type == "multipart/report"


def _pkcs7(message: MimeMessage, smime_type: str, objects: tuple[bytes, ...]) -> bool:
    """Is the whole message one CMS object of this type? By its smime-type, or by the object itself when it says
    none."""
    root = message.root
    if root.media_type not in _PKCS7:
        return False
    declared = root.params.get("smime-type", "").lower()
    if declared:
        return declared == smime_type
    start = _head(message, root)
    return any(octets in start for octets in objects)


def _head(message: MimeMessage, entity: Entity) -> bytes:
    return head(memoryview(message.raw)[entity.body.start : entity.body.end], entity.encoding, _HEAD)


def _inline_pgp(message: MimeMessage, entity: Entity) -> bool:
    if entity.children:
        return False
    return _head(message, entity).lstrip().startswith(_PGP)


_FIELDS_WITHIN = 8 * 1024
_MOST_BEGINS = 1_000
_BINHEX = frozenset({"application/mac-binhex40", "application/mac-binhex", "application/binhex"})
_NOT_SCANNED = frozenset({"text/xml", "text/rfc822-headers"})

_DOCUMENT = (
    re.compile(rb"\nbegin [0-7]{3,4} [^\r\n]{1,255}\r?\n[ -`]{2,}\r?\n"),
    re.compile(rb"\nbegin-base64 [0-7]{3,4} "),
    re.compile(rb"\n=ybegin (?:part=|line=|total=|size=)"),
    re.compile(rb"\n\(This file must be converted with BinHex"),
    re.compile(rb"\n%PDF-[0-9]"),
    re.compile(rb"\n(?:JVBERi0|UEsDB)[A-Za-z0-9+/]{40}"),
    re.compile(rb"\nPD94bWwg[A-Za-z0-9+/]{40}"),
    re.compile(rb"data:application/(?:pdf|xml|zip|octet-stream)[;,]", re.IGNORECASE),
)
_CONTENT_FIELD = (
    rb"[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-(?:[Tt][Yy][Pp][Ee]|[Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-|[Dd][Ii][Ss][Pp][Oo])"
)
_PART = re.compile(rb"\n--[^\r\n]{1,72}\r?\n" + _CONTENT_FIELD)
_ENCODED_PART = re.compile(rb"\nContent-Transfer-Encoding[ \t]*:[ \t]*(?:base64|x-uu)", re.IGNORECASE)
_FIELDS = re.compile(rb"\s*(?:[!-9;-~]{1,76}[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*){0,50}?" + _CONTENT_FIELD + rb"[^\n:]*:")


def undeclared(message: MimeMessage) -> tuple[str, ...]:
    """Names of the flaws by which a document may stand where no field of a header says so; () when there is none.

    "document-in-text", "parts-in-text": a text holds one, or parts of a multipart. "fields-in-body": a body begins with
    header fields, an empty line came too early. "document-outside-parts": it stands before the first part or after the
    last one.
    """
    flaws: dict[str, None] = {}
    for entity in message.entities:
        if entity.children:
            outside = [b"\n" + message.raw[start:end] for start, end in _outside(entity)]
            if any(_holds_document(lines) or _holds_parts(lines) for lines in outside):
                flaws.setdefault("document-outside-parts")
        elif flaw := _flaw(message, entity):
            flaws.setdefault(flaw)
    return tuple(flaws)


def _flaw(message: MimeMessage, entity: Entity) -> str | None:
    if entity.media_type in _BINHEX:
        return "document-in-text"
    if entity.media_type in _NOT_SCANNED or entity.media_type.startswith("multipart/"):
        return None
    start, end = entity.body
    is_text, is_report = entity.media_type.startswith("text/"), entity.media_type.startswith("message/")
    if (
        not is_report
        and entity.encoding in IDENTITY
        and _FIELDS.match(message.raw[start : min(end, start + _FIELDS_WITHIN)])
    ):
        return "fields-in-body"
    if not (is_text or is_report) or is_document(message.head(entity), entity.media_type):
        return None  # a document by its octets is judged as one
    if entity.encoding in UUENCODE:
        return "document-in-text"
    body = message.raw[start:end]
    lines = b"\n" + (body if entity.encoding in IDENTITY else decode(body, entity.encoding).octets)
    if _holds_document(lines):
        return "document-in-text"
    return "parts-in-text" if is_text and _holds_parts(lines) else None


def _holds_document(lines: bytes) -> bool:
    if lines.count(b"\nbegin ") > _MOST_BEGINS:
        return True  # no text of a person; and each match costs a microsecond
    return any(pattern.search(lines) for pattern in _DOCUMENT)


def _holds_parts(lines: bytes) -> bool:
    return _PART.search(lines) is not None or _ENCODED_PART.search(lines) is not None


def _outside(multipart: Entity) -> Iterator[Span]:
    """What stands before the first part and after the last one (rfc2046#5.1.1: to be ignored)."""
    if not multipart.media_type.startswith("multipart/"):
        return
    yield Span(multipart.body.start, multipart.children[0].cut.start)
    yield Span(multipart.children[-1].span.end, multipart.body.end)


SMALL = 32 * 1024
"""Encoded octets up to which an image that bears the name of a decoration is one, wherever it stands."""

_SHOWN = frozenset({"image/png", "image/gif", "image/jpeg", "application/x-riff", "text/xml", None})
"""What `file_type` says of images that mail programs show: PNG, GIF, JPEG, WebP, SVG, and formats it does not know.
A TIFF is none of them: scanners write it."""
_NAME = re.compile(
    r"image[0-9]{3}(?:[@.].*)?|oledata.*|outlook-.*|.*(?:logo|signature|banner|banniere|footer|header|"
    r"icone?|picto|facebook|linkedin|twitter|instagram|youtube|pixel|spacer).*"
)
_CID = re.compile(rb"""cid:([^\s"'<>)]{1,200})""", re.IGNORECASE)


def is_decorative(message: MimeMessage, entity: Entity) -> bool:
    """Is it an image of the text, whatever its Content-Disposition?

    One that stands in a multipart/related (RFC 2387) beside its root, one that has a Content-ID and is shown inline or
    named by the HTML, or a small one with the name of a decoration (`image001.png`, `logo.gif`).
    """
    octets = message.head(entity)
    if not entity.media_type.startswith("image/") or is_pdf(octets) or file_type(octets) not in _SHOWN:
        return False
    if entity.media_type in ("image/tiff", "image/tif"):
        return False
    content_id = (entity.first("content-id") or "").strip().strip("<>")
    if content_id and (entity.disposition != "attachment" or content_id in shown_images(message)):
        return True
    small = entity.body.end - entity.body.start <= SMALL
    return entity.span in message.related or (small and _NAME.fullmatch((entity.filename or "").casefold()) is not None)


def shown_images(message: MimeMessage) -> frozenset[str]:
    """Content-IDs that the HTML of the message shows (`cid:`, RFC 2392)."""
    content_ids: set[str] = set()
    for entity in message.entities:
        if entity.media_type == "text/html" and not entity.children:
            html = decode(memoryview(message.raw)[entity.body.start : entity.body.end], entity.encoding).octets
            content_ids |= {unquote(name.decode("utf-8", "replace")) for name in _CID.findall(html)}
    return frozenset(content_ids)
