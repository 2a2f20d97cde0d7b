"""Messages whose documents cannot be recognised, or that have none. What cannot be seen cannot be checked, and does not
leave."""

import re

from relay.inspection import Report
from relay.mime.classification import (
    automatic_kind,
    has_tnef,
    is_encrypted,
    is_partial,
    is_report,
    is_signed,
    undeclared,
)
from relay.mime.message import Entity, MimeMessage
from relay.mime.transfer_decoder import KNOWN, Problem
from relay.reasons import Detail, Reason
from relay.routing.document_group import DecisionContext, RuleResult, hold
from relay.routing.documents import body_text
from relay.routing.policy import Policy
from relay.single_line import single_line

_URL = re.compile(r"https?://[^\s\"'<>\\^`{|}\x00-\x20\x7f]{4,500}", re.IGNORECASE)
_DOCUMENT = re.compile(
    r"\.(?:pdf|xml|zip)(?:$|[?#])|t[ée]l[ée]charge|download|factur|invoice|document|pi[eè]ces?-?jointes?", re.IGNORECASE
)
MAX_LINKS = 5
MAX_READ = 256 * 1024


def document_links(message: MimeMessage) -> tuple[str, ...]:
    """Up to five links of the message text that seem to lead to a document, without their query (it may be a key)."""
    links: dict[str, None] = {}
    for entity in message.entities:
        if entity.media_type not in ("text/plain", "text/html") or entity.children:
            continue
        for url in _URL.findall(body_text(message, entity, MAX_READ)):
            host, _, path = url.partition("://")[2].partition("/")
            if _DOCUMENT.search(path):
                links.setdefault(f"{host}/{re.split('[?#]', path)[0]}"[:120])
    return tuple(list(links)[:MAX_LINKS])


def why_no_document(message: MimeMessage) -> str:
    """What a message without a document is, as the detail of its reason; "" when it is not known."""
    if kind := automatic_kind(message):
        return str(Detail(kind.replace(" ", "_")))
    return str(Detail("links", {"count": len(links)})) if (links := document_links(message)) else ""


# Two parsers may read such a message in two ways; ours must not pass what the next one finds a document in.
_AMBIGUOUS = frozenset(
    {"encoded-multipart", "duplicate-content-type", "duplicate-content-transfer-encoding", "duplicate-boundary"}
    | {"no-blank-line"}
)
_PKCS7 = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_REPORTS = frozenset(
    {"message/delivery-status", "message/disposition-notification", "message/feedback-report"}
    | {"message/global-delivery-status", "message/global-disposition-notification", "message/global-headers"}
    | {"message/tracking-status", "message/rfc822-headers"}
)
"""Types of message/ that hold fields and no document."""

_ENCODING_FLAWS = {
    f"ENCODING-{problem.value.upper()}": f"{problem.value}-encoding"
    for problem in (Problem.MISLABELED, Problem.AMBIGUOUS)
}


def why_opaque(context: DecisionContext) -> RuleResult | None:
    """What hides documents of the message, as a result that holds it; None when all can be seen."""
    message = context.message
    if is_partial(message):
        return hold(Reason.PARTIAL_MAIL)
    if is_encrypted(message) or (is_signed(message) and message.root.media_type in _PKCS7):
        return hold(Reason.ENCRYPTED_MAIL)
    if has_tnef(message):
        return hold(Reason.TNEF_MAIL)
    if is_report(message) and context.directory.terms.check.on_no_document is Policy.HOLD:
        return hold(Reason.NO_DOCUMENT, why_no_document(message))  # a returned invoice was not sent to this relay
    if unknown := next((entity for entity in message.entities if _is_undecoded(entity)), None):
        return hold(Reason.UNKNOWN_ENCODING, single_line(unknown.encoding)[:40] or "?")
    defects = [defect for defect in message.defects if defect in _AMBIGUOUS]
    defects += [entity.media_type for entity in message.entities if _unseen(entity)]
    defects += [flaw for report in context.reports for flaw in _encoding_flaws(report)]
    defects += undeclared(message) if not defects else ()
    return hold(Reason.MALFORMED_MAIL, defects[0]) if defects else None


def _is_undecoded(entity: Entity) -> bool:
    return not entity.children and entity.encoding not in KNOWN


def _unseen(entity: Entity) -> bool:
    """A multipart that could not be divided, a forwarded message that was not read (the second level, or encoded), a
    reference to a body elsewhere (message/external-body)."""
    if entity.children:
        return False
    if entity.media_type.startswith("message/"):
        return entity.media_type not in _REPORTS
    return entity.media_type.startswith("multipart/")


def _encoding_flaws(report: Report) -> list[str]:
    return [_ENCODING_FLAWS[finding.rule] for finding in report.findings if finding.rule in _ENCODING_FLAWS]
