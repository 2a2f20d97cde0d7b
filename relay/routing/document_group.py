"""Documents that travel together, where to, and what the rules said of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.inspection import Report, Severity, Verdict
from relay.mime.message import Entity, MimeMessage
from relay.model import Disposition, DocumentPart, Envelope, Role
from relay.reasons import Reason
from relay.routing.directory import Directory
from relay.routing.documents import Classification
from relay.routing.policy import Policy
from relay.routing.role import ELIMINATION, SELF_BILLED, Address, KnownRole, NoRole
from relay.routing.trace_steps import Step


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What becomes of a group of documents and why. RELAY has no reason."""

    disposition: Disposition = Disposition.RELAY
    reason: Reason | None = None
    detail: str = ""

    @property
    def passes(self) -> bool:
        return self.disposition is Disposition.RELAY


RELAY = RuleResult()


def hold(reason: Reason, detail: str = "") -> RuleResult:
    return RuleResult(Disposition.HOLD, reason, detail)


def by_policy(policy: Policy, reason: Reason, detail: str = "") -> RuleResult:
    """What the setting `policy` makes of `reason`."""
    if policy is Policy.RELAY:
        return RELAY
    return RuleResult(Disposition.HOLD if policy is Policy.HOLD else Disposition.REFUSE, reason, detail)


@dataclass(frozen=True, slots=True)
class DocumentGroup:
    """Numbers are indexes of message.attachments.

    required: travel in one message or not at all. optional: come along, in a message of their own if they do not fit.
    removed: documents of this group that do not leave. role_by: as of a Plan.
    """

    required: tuple[int, ...]
    optional: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    role: Role = Role.UNKNOWN
    to: str | None = None
    result: RuleResult = RELAY
    role_by: str = ""


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """One message under decision: what was received, what it contains, and the terms in force.

    checked: is a verdict to be expected at all? documents: all attachments but those of the message text itself.
    """

    envelope: Envelope
    message: MimeMessage
    reports: Sequence[Report]
    directory: Directory
    queue_id: str
    received: bytes
    entities: tuple[Entity, ...]
    checked: bool
    classification: Classification
    parts: dict[int, DocumentPart]
    documents: tuple[int, ...]


def parts_of(classification: Classification, xml: frozenset[int]) -> dict[int, DocumentPart]:
    """The part of each document. `xml`: bare XML invoices among the others."""
    parts = {index: DocumentPart.XML if index in xml else DocumentPart.OTHER for index in classification.others}
    for split in classification.split:
        parts |= {split.xml: DocumentPart.XML} | dict.fromkeys(split.pdfs, DocumentPart.OTHER)
    for invoice in classification.invoices:
        parts |= dict.fromkeys(invoice.others, DocumentPart.OTHER)
        parts |= dict.fromkeys(invoice.xml, DocumentPart.XML)
        parts |= dict.fromkeys(invoice.originals, DocumentPart.ORIGINAL)
        parts |= dict.fromkeys((invoice.facturx, *invoice.conflicting), DocumentPart.FACTURX)
    return parts


def rules(report: Report) -> str:
    """Ids of the first errors: never the content of the invoice."""
    errors = list(dict.fromkeys(finding.rule for finding in report.findings if finding.severity is Severity.ERROR))
    return ", ".join(errors[:3]) + (" …" if len(errors) > 3 else "") or report.verdict.value


def role_steps(context: DecisionContext, report: Report, role: KnownRole | NoRole, address: Address) -> Iterable[Step]:
    if isinstance(role, NoRole):
        if role.reason is Reason.WRONG_CLIENT and context.directory.terms.check.on_wrong_client == "relay":
            yield Step("wrong_client_relayed", role.detail)
    else:
        yield Step("role", role.role.value)
        if role.by == ELIMINATION:
            yield Step("role_by_elimination", role.other)
        elif role.by:
            yield Step("role_by", role.by)
    if report.type_code in SELF_BILLED:
        yield Step("self_billed", report.type_code or "")
    yield from address_steps(address)


def address_steps(address: Address) -> Iterable[Step]:
    """Which address, and that it is not the one of this kind."""
    if address.fallback and address.to:
        yield Step("fallback", address.kind)
    if address.to:
        yield Step("address", address.to)


def verdict_steps(context: DecisionContext, report: Report, index: int) -> Iterable[Step]:
    check = context.directory.terms.check
    if context.checked and report.active and check.on_active_content == "relay":
        yield Step("active_relayed", f"{index + 1} ({', '.join(report.active)})")
        if {finding.rule for finding in report.findings if finding.severity is Severity.ERROR} <= {*report.active}:
            return
    if not context.checked or report.verdict is Verdict.VALID:
        return
    if report.verdict is Verdict.UNDETERMINED:
        if check.on_undetermined == "relay":
            yield Step("undetermined_relayed", str(index + 1))
    elif check.on_invalid == "relay":
        yield Step("invalid_relayed", rules(report))


def others_steps(
    context: DecisionContext, groups: Sequence[DocumentGroup], role: Role, address: Address
) -> Iterable[Step]:
    """For documents of no invoice, `groups` being those of the invoices."""
    if groups:
        return
    check = context.directory.terms.check
    active = [
        f"{index + 1} ({', '.join(broken)})"
        for index in context.classification.others
        if (broken := context.reports[index].active)
    ]
    if context.checked and active and check.on_active_content == "relay":
        yield Step("active_relayed", "; ".join(active))
    unread = [
        index for index in context.classification.others if context.reports[index].verdict is Verdict.UNDETERMINED
    ]
    if context.checked and unread and check.on_undetermined == "relay":
        yield Step("undetermined_relayed", ", ".join(str(index + 1) for index in unread))
    elif not context.documents:
        if check.on_no_document == "relay":
            yield Step("no_document_relayed")
    elif check.on_missing == "relay":
        yield Step("missing_relayed")
    yield Step("role", role.value)
    yield from address_steps(address)
