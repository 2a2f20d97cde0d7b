"""What an attachment is by its content; its name and its declared type may lie."""

import re
from fnmatch import translate
from functools import lru_cache

from relay.file_type import PDF, SNIFF, file_type
from relay.file_type import is_pdf as is_pdf_by_octets
from relay.mail.images import is_decorative
from relay.mail.message import Entity, Message, is_document
from relay.mail.transfer_decoder import head
from relay.report import PDF_WITHIN, Kind, Report, Verdict

_BODY_TYPES = frozenset(
    {
        "text/plain",
        "text/html",
        "text/calendar",
        "text/x-amp-html",
        "text/enriched",
        "text/watch-html",
        "text/rfc822-headers",
    }
)
_SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})
_PDF_KINDS = frozenset({Kind.FACTURX, Kind.ORDERX, Kind.ZUGFERD1, Kind.PDF})
_PLAINER = ("image/", "text/", "application/xml")
"""Of these types a file shows all it holds: no container is one of them."""
_XML_KINDS = frozenset({Kind.CII, Kind.UBL, Kind.XRECHNUNG})
_XML_TYPES = frozenset({"application/xml", "text/xml"})


def is_body(message: Message, entity: Entity, report: Report) -> bool:
    """Is it part of the letter and not a document: text, a report, a signature, an image that decorates the text?

    By its octets, too: what begins as a document is none of these, whatever it is called.
    """
    if is_pdf(message=None, entity=entity, report=report) or report.kind in _XML_KINDS or is_container(report):
        return False
    if entity.media_type in _SIGNATURES:
        return True
    if entity.media_type in _BODY_TYPES or entity.media_type.startswith("message/"):
        return not is_document(_head(message, entity), entity.media_type)
    return is_decorative(message, entity)


def is_pdf(message: Message | None, entity: Entity, report: Report) -> bool:
    """Is it a PDF? Its octets are asked only in doubt: UBL may stand in a PDF or alone, a name may lie."""
    if report.kind is Kind.PDF and not report.openable and not report.encrypted and message is not None:
        return is_pdf_by_octets(_head(message, entity))
    if report.kind in _PDF_KINDS or report.claimed:
        return True
    if report.kind in (Kind.UBL, Kind.XRECHNUNG):
        return message is not None and is_pdf_by_octets(_head(message, entity))
    unread = report.encrypted or not report.openable or report.verdict is Verdict.UNDETERMINED
    if not unread or report.kind is Kind.CII or not _says_pdf(entity):
        return False
    return message is None or file_type(_head(message, entity)) in (None, PDF)


def is_container(report: Report) -> bool:
    """Does it hold a PDF within another format (ZIP, PKCS #7, a message, HTML …)? It is no PDF, and no body either."""
    return any(each.rule == PDF_WITHIN for each in report.findings)


def is_xml(message: Message, entity: Entity, report: Report) -> bool:
    """Is it an invoice as bare XML?"""
    if report.kind is Kind.CII:
        return True
    return report.kind in (Kind.UBL, Kind.XRECHNUNG) and not is_pdf(message, entity, report)


def content_type(message: Message, entity: Entity, report: Report) -> str:
    """The media type its content bears out; a declared PDF that is none becomes application/octet-stream."""
    if is_pdf(message, entity, report):
        return "application/pdf"
    if is_xml(message, entity, report):
        return "application/xml"
    if entity.media_type == PDF or (is_container(report) and entity.media_type.startswith(_PLAINER)):
        return "application/octet-stream"
    return entity.media_type


def allowed(media_type: str, types: tuple[str, ...]) -> bool:
    """Does the destination take it? `types` may hold patterns (`image/*`); empty takes all. Both XML types are one."""
    if not types:
        return True
    names = _XML_TYPES if media_type in _XML_TYPES else {media_type}
    return any(_any_of(types).match(name) for name in names)


@lru_cache(maxsize=64)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(each.lower()) for each in patterns))


def _says_pdf(entity: Entity) -> bool:
    return entity.media_type == PDF or (entity.filename or "").casefold().endswith(".pdf")


def body_text(message: Message, entity: Entity, limit: int) -> str:
    """The first octets of a text part, decoded as far as it goes; for searching, not for showing."""
    return _decoded(message, entity, limit).decode("utf-8", "replace")


def _head(message: Message, entity: Entity) -> bytes:
    return _decoded(message, entity, SNIFF)


def _decoded(message: Message, entity: Entity, limit: int) -> bytes:
    """Up to `limit` octets of the decoded body."""
    return head(memoryview(message.raw)[entity.body.start : entity.body.end], entity.encoding, limit)
