"""Can what a worker answered be true? A worker parses untrusted content; one that was taken over may say anything.

Here its answer is held against the message, the envelope and the directory in force: no document goes to another
client, nothing but whole parts and known header fields is cut, nothing but well-formed fields is put on top. What a
document holds, only the worker knows: its verdict is believed."""

import re
from collections.abc import Sequence
from itertools import pairwise

from relay.checker.evaluation import Evaluation, EvaluationRequest
from relay.inspection import Report
from relay.mime.rewriting import size
from relay.model import Action, Disposition, Document, Plan, Role, Span
from relay.routing.directory import Directory
from relay.routing.outgoing_header import LEFT_OUT, PUT_ON_TOP
from relay.routing.plans import MAX_MESSAGES
from relay.routing.policy import Addresses, Client
from relay.routing.role import address_for

MAX_PREPEND = 256 * 1024
MAX_TEXT = 4_096
"""Characters of a detail, a name, an identifier."""

MAX_DOCUMENTS = 4_096
"""In a plan, and reports in an answer: a message has at most 2,000 parts."""

_HEX = re.compile(r"[0-9a-f]{64}")
_WRITTEN_FIELD = re.compile(rb"([!-9;-~]{1,76}):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
_RECEIVED_FIELD = re.compile(rb"([!-9;-~]{1,998})[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*\n?")
_RESENT = b"resent-"
_MBOX_LINE = re.compile(rb">?From [^\n]*\n")
_DELIMITER = (b"--", b"\r\n--", b"\n--")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class FalseAnswer(ValueError):
    """What a worker answered cannot be true; str() says what, without content of the message."""


def verify(evaluation: Evaluation, asked: EvaluationRequest, raw: bytes, directory: Directory) -> None:
    """Raise FalseAnswer unless `evaluation` can be that of the message `raw`, by `directory`."""
    decision = evaluation.decision
    _require(len(evaluation.reports) <= MAX_DOCUMENTS, "too many reports")
    for report in evaluation.reports:
        _verify_report(report, raw)
    if evaluation.flaw is not None:
        _require(not decision.plans and decision.refusal is None, "a flaw and a decision")
        return
    if decision.refusal is not None:
        _verify_text(decision.refusal.detail)
        return
    _verify_marks(evaluation)
    addresses = asked.envelope.addresses
    _require(0 < len(decision.plans) <= MAX_MESSAGES * len(addresses), "no plans, or too many")
    _require({each for plan in decision.plans for each in plan.answers} == {*addresses}, "a recipient without a plan")
    line = asked.received(directory.terms.hostname)
    for plan in decision.plans:
        _verify_plan(plan, raw, directory, line)


def _require(true: bool, what: str) -> None:
    if not true:
        raise FalseAnswer(what)


def _verify_marks(evaluation: Evaluation) -> None:
    _require(_HEX.fullmatch(evaluation.fingerprint) is not None, "no fingerprint")
    _require(len(evaluation.content_digest) == 32, "no digest of the content")
    _verify_text(evaluation.message_id)


def _verify_text(text: str) -> None:
    _require(len(text) <= MAX_TEXT and _CONTROL.search(text) is None, "a text that is too long, or not of one line")


def _verify_report(report: Report, raw: bytes) -> None:
    _require(_HEX.fullmatch(report.sha256) is not None, "a document without a digest")
    _require(0 <= report.size <= len(raw), "a document larger than its message")


# One plan


def _verify_plan(plan: Plan, raw: bytes, directory: Directory, line: bytes) -> None:
    relayed = plan.disposition is Disposition.RELAY
    _require(plan.disposition is not Disposition.REFUSE, "a refused plan of an accepted message")
    _require(relayed == (plan.reason is None), "held without a reason, or relayed with one")
    _verify_text(plan.detail)
    _require(len(plan.documents) <= MAX_DOCUMENTS, "too many documents")
    _verify_client(plan, directory)
    _verify_cuts(plan, raw)
    _verify_header_fields(plan, directory, line)
    destination = directory.terms.destination(plan.destination)
    if relayed:
        _require(size(raw, plan.prepend, plan.cuts) <= destination.max_mail_size, "too large for its destination")
        kept = sum(document.action is Action.KEEP for document in plan.documents)
        _require(kept <= destination.max_attachments, "too many documents for its destination")


def _verify_client(plan: Plan, directory: Directory) -> None:
    """To whom it goes: only to a client's own address for this role."""
    terms = directory.terms
    client = terms.clients.get(f"{plan.firm}/{plan.dossier}") if plan.firm and plan.dossier else None
    _require(client is not None or plan.dossier is None, "a client that there is not")
    _require(plan.firm is None or bool(directory.by_firm(plan.firm)), "a firm that there is not")
    _require(plan.return_path == terms.return_path, "another return path")
    if client is None:
        _require(plan.disposition is not Disposition.RELAY and not plan.to, "an address without a client")
    elif plan.to:
        theirs = len(plan.to) == 1 and plan.to[0] in _addresses(client.addresses, plan.role)
        _require(theirs, "not the client's address for this role")
    if plan.disposition is Disposition.RELAY:
        assert client is not None
        _require(bool(plan.to), "relayed to nobody")
        _require(client.share_with_firm and client.transmit_documents, "relayed against the client's settings")
    if client is not None and plan.by is not None:
        _require(_way(plan) == _way_of(client), "not the client's way")


def _way(plan: Plan) -> tuple[str, str]:
    return plan.destination, plan.smarthost


def _way_of(client: Client) -> tuple[str, str]:
    return client.destination, client.smarthost


def _addresses(addresses: Addresses, role: Role) -> set[str | None]:
    """Where documents of this role may go. Several roles in one message: to an address that several share."""
    allowed = {address_for(addresses, role, credit_note).to for credit_note in (False, True)}
    if role is Role.UNKNOWN:
        given = [addresses.purchases, addresses.sales, addresses.credit_notes, addresses.statements]
        allowed |= {each for each in given if given.count(each) > 1}
    return allowed


# What is cut


def _verify_cuts(plan: Plan, raw: bytes) -> None:
    """Ascending, disjoint, inside; each a whole part, or whole fields of the header that may be left out."""
    _verify_spans(plan.cuts, raw)
    parts = [cut for cut in plan.cuts if raw.startswith(_DELIMITER, cut.start)]
    for cut in plan.cuts:
        whole = _is_whole_part(raw, cut) if cut in parts else _is_whole_fields(raw, cut)
        _require(whole, "a cut that is no whole part and no whole field")
    for document in plan.documents:
        _verify_document(document, parts, raw)
    edits = [each for recoding in plan.recodings for each in (recoding.field, recoding.body)]
    _verify_spans(edits, raw)
    _require(not any(_overlap(edit, cut) for edit in edits for cut in plan.cuts), "a recoding of what is cut")


def _verify_spans(spans: Sequence[Span], raw: bytes) -> None:
    inside = all(0 <= span.start <= span.end <= len(raw) for span in spans)
    ascending = all(earlier.end <= later.start for earlier, later in pairwise(spans))
    _require(inside and ascending, "spans outside of the message, or not one after the other")


def _verify_document(document: Document, parts: Sequence[Span], raw: bytes) -> None:
    _verify_spans((document.span,), raw)
    _verify_text(document.filename)
    _verify_report(document.report, raw)
    if document.action is Action.KEEP:
        _require(not any(_overlap(document.span, cut) for cut in parts), "a document is kept and cut")
    else:
        inside = any(cut.start <= document.span.start and document.span.end <= cut.end for cut in parts)
        _require(inside, "a document is removed and not cut")


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _is_whole_part(raw: bytes, cut: Span) -> bool:
    """From one delimiter line to another, or to the end of what holds the part; the line break before a delimiter line
    belongs to it (rfc2046#5.1.1)."""
    return _at_delimiter(raw, cut.start) and (cut.end == len(raw) or _at_delimiter(raw, cut.end))


def _at_delimiter(raw: bytes, place: int) -> bool:
    if raw.startswith(b"--", place):
        return place == 0 or raw.startswith(b"\n", place - 1)
    return raw.startswith(_DELIMITER, place)


def _is_whole_fields(raw: bytes, cut: Span) -> bool:
    """Fields of the message's own header that may be left out, or the mbox line on top of it."""
    end = raw.find(b"\r\n\r\n")
    place, stop = cut
    if not (place == 0 or raw.startswith(b"\n", place - 1)) or (0 <= end < stop - 2):
        return False
    if place == 0 and (mbox := _MBOX_LINE.match(raw, 0, stop)) is not None:
        place = mbox.end()
    while place < stop:
        field = _RECEIVED_FIELD.match(raw, place)
        if field is None or not _may_be_left_out(field[1]):
            return False
        place = field.end()
    return place == stop


def _may_be_left_out(name: bytes) -> bool:
    lower = name.lower()
    return lower.startswith(_RESENT) or lower.decode("ascii") in LEFT_OUT


# What is put on top


def _verify_header_fields(plan: Plan, directory: Directory, line: bytes) -> None:
    """Our Received line, then well-formed fields of the names that we write; To names whom it goes to."""
    _require(plan.prepend.startswith(line) and len(plan.prepend) <= MAX_PREPEND, "not our Received field")
    place = len(line)
    while place < len(plan.prepend):
        field = _WRITTEN_FIELD.match(plan.prepend, place)
        if field is None:
            raise FalseAnswer("what is put on top is no header field")
        name, value = field[1].lower(), field[0].partition(b":")[2].strip()
        _require(name.decode("ascii") in PUT_ON_TOP, "a field that we do not write")
        if name == b"to":
            _require([value.decode("utf-8", "surrogateescape")] == list(plan.to), "another address in To")
        if name == b"from":
            destination = directory.terms.destination(plan.destination)
            _require(value.decode("utf-8", "surrogateescape") == destination.from_header, "another address in From")
        place = field.end()
