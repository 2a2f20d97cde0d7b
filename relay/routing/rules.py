"""The rules for the documents of one message and one client. Each gives a result; the first that does not pass holds.

Order: whose is it (conflict, contradiction, wrong client) · is anything sent at all (share, transmit) · is it good
(verdict, type) · where to (address, loop). So a withheld invoice was never a doubtful one, and releasing it is safe."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from relay.inspection import Report, Severity, Verdict
from relay.model import Disposition, Role
from relay.reasons import Reason
from relay.routing.client import Identified, contradicted
from relay.routing.document_group import (
    RELAY,
    DecisionContext,
    DocumentGroup,
    RuleResult,
    address_steps,
    by_policy,
    hold,
    others_steps,
    role_steps,
    rules,
    verdict_steps,
)
from relay.routing.documents import Invoice, SplitInvoice, allowed, can_stand_alone, content_type
from relay.routing.opaque import why_no_document
from relay.routing.policy import Client, Policy
from relay.routing.role import (
    ELIMINATION,
    Address,
    KnownRole,
    NoRole,
    address_for,
    is_statement,
    role_in,
    role_of_message,
)
from relay.routing.trace_steps import Step

WHOSE = frozenset(
    {
        Reason.CONFLICTING_COPIES,
        Reason.CONTRADICTION,
        Reason.WRONG_CLIENT,
        Reason.UNIDENTIFIED_PARTY,
        Reason.BOTH_PARTIES,
    }
)


def apply_invoice_rules(
    context: DecisionContext, who: Identified, invoice: Invoice
) -> tuple[DocumentGroup, tuple[Step, ...]]:
    """The group of one invoice (Factur-X, original, XML) and the steps that led to it."""
    client, report = who.client, context.reports[invoice.facturx]
    role = role_in(report, client, who.addressed)
    known, by = (Role.UNKNOWN, "") if isinstance(role, NoRole) else (role.role, role.by)
    address = address_for(client.addresses, known, report.is_credit_note)
    required, removed, kept_steps = _keep_or_remove(context, client, invoice)
    results = (
        _conflict(report, invoice),
        _whose(context, client, report, role),
        sharing(client),
        _verdict(context, report),
        _types(context, client, required),
        _active(context, (*required, *invoice.others)),
        destination_of(context, address),
    )
    steps = (
        Step("facturx", str(invoice.facturx + 1)),
        *kept_steps,
        *role_steps(context, report, role, address),
        *verdict_steps(context, report, invoice.facturx),
    )
    return DocumentGroup(required, invoice.others, removed, known, address.to, _first(results), by), steps


def apply_split_invoice_rules(
    context: DecisionContext, who: Identified, split: SplitInvoice
) -> tuple[DocumentGroup, tuple[Step, ...]]:
    """The group of an invoice in two parts. The XML says for both whose it is; neither leaves without the other, except
    that an XML which the destination does not accept is removed beside a PDF whose text is this invoice."""
    client, report = who.client, context.reports[split.xml]
    role = role_in(report, client, who.addressed)
    known, by = (Role.UNKNOWN, "") if isinstance(role, NoRole) else (role.role, role.by)
    address = address_for(client.addresses, known, report.is_credit_note)
    drop = split.text_matches and not _types(context, client, (split.xml,)).passes
    required = split.pdfs if drop else split.members
    results = (
        _whose(context, client, report, role),
        sharing(client),
        _without_facturx(context, split.pdfs),
        _types(context, client, required),
        destination_of(context, address),
    )
    shown = ", ".join(str(index + 1) for index in split.pdfs)
    steps = [Step("split_invoice", f"{shown} + {split.xml + 1}")]
    if drop:
        steps.append(Step("xml_removed", str(split.xml + 1)))
    steps += role_steps(context, report, role, address)
    return DocumentGroup(required, (), (split.xml,) if drop else (), known, address.to, _first(results), by), tuple(
        steps
    )


def apply_other_rules(
    context: DecisionContext, who: Identified, recipients: Sequence[str], invoices: Sequence[DocumentGroup]
) -> tuple[tuple[DocumentGroup, ...], tuple[Step, ...]]:
    """All groups of the message: `invoices`, and the documents of no invoice.

    They travel with the only invoice; beside several they get a message of their own, for nobody knows to which they
    belong. A document that may not leave is held apart, so that it stops nothing else. Without any invoice the whole
    message is one group.
    """
    client = who.client
    statements, rest = _statements(context, client, recipients)
    steps: list[Step] = []
    good: tuple[int, ...] = ()
    groups: list[DocumentGroup] = []
    if rest or not (invoices or statements):
        role, address = _way_of_others(context, who, recipients, invoices)
        result, good, groups = _group_of(context, client, rest, invoices, role, address)
        if len(invoices) != 1 and (good or not (invoices or groups)):
            groups.insert(0, DocumentGroup((), good, role=role, to=address.to, result=result))
        steps += others_steps(context, invoices, role, address)
    if statements:
        address = address_for(client.addresses, Role.STATEMENT)
        result, accepted, apart = _group_of(context, client, statements, invoices, Role.STATEMENT, address)
        if accepted:
            groups.append(DocumentGroup((), accepted, role=Role.STATEMENT, to=address.to, result=result))
        groups += apart
        steps += [Step("statement", ", ".join(str(index + 1) for index in statements)), *address_steps(address)]
    if good and len(invoices) == 1:
        invoices = (replace(invoices[0], optional=(*invoices[0].optional, *good)),)
    return (*invoices, *groups), tuple(steps)


def _group_of(
    context: DecisionContext,
    client: Client,
    indexes: Iterable[int],
    invoices: Sequence[DocumentGroup],
    role: Role,
    address: Address,
) -> tuple[RuleResult, tuple[int, ...], list[DocumentGroup]]:
    """The result for these documents, those it applies to, and a group for each that has a result of its own."""
    base = _base(context, client, address, invoices)
    good: list[int] = []
    apart: list[DocumentGroup] = []
    for index in indexes:
        result = _document(context, client, index, bool(invoices))
        if result.passes or not base.passes:
            good.append(index)
        else:
            apart.append(DocumentGroup((index,), role=role, to=address.to, result=result))
    return base, tuple(good), apart


def _statements(
    context: DecisionContext, client: Client, recipients: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Documents of no invoice: bank statements by their names, and the rest. One that the message names is for all."""
    kinds, others = context.directory.terms.kinds, context.classification.others
    if role_of_message(client, recipients, context.message, kinds) is not Role.UNKNOWN:
        return (), others
    named = tuple([index for index in others if is_statement(context.entities[index].filename or "", kinds)])
    return named, tuple([index for index in others if index not in named])


def _base(context: DecisionContext, client: Client, address: Address, invoices: Sequence[DocumentGroup]) -> RuleResult:
    """The result for documents of no invoice as such. Beside an invoice of doubtful owner they are doubtful too."""
    if not invoices:
        return _first((sharing(client), _missing(context), destination_of(context, address)))
    doubtful = next((group.result for group in invoices if group.result.reason in WHOSE), RELAY)
    return _first((doubtful, sharing(client), destination_of(context, address)))


def sharing(client: Client) -> RuleResult:
    """The client's master switch and the connection's first button."""
    if not client.share_with_firm:
        return RuleResult(Disposition.WITHHOLD, Reason.NOT_SHARED)
    if not client.transmit_documents:
        return RuleResult(Disposition.WITHHOLD, Reason.TRANSMISSION_OFF)
    return RELAY


def destination_of(context: DecisionContext, address: Address) -> RuleResult:
    """Is there an address, and does it not lead back to us?"""
    if address.to is None:
        return hold(address.reason or Reason.NO_ADDRESS, address.kind if address.reason is Reason.NO_ADDRESS else "")
    if context.directory.accepts(address.to):
        return hold(Reason.LOOP, address.to)
    return RELAY


def _first(results: Iterable[RuleResult]) -> RuleResult:
    for result in results:
        if not result.passes:
            return result
    return RELAY


def _conflict(report: Report, invoice: Invoice) -> RuleResult:
    return hold(Reason.CONFLICTING_COPIES, report.number or "") if invoice.conflicting else RELAY


def _whose(context: DecisionContext, client: Client, report: Report, role: KnownRole | NoRole) -> RuleResult:
    if contradiction := contradicted(report, client, context.directory):
        return hold(Reason.CONTRADICTION, contradiction)
    if isinstance(role, KnownRole):
        policy = context.directory.terms.check.on_unidentified_party if role.by == ELIMINATION else Policy.RELAY
        return by_policy(policy, Reason.UNIDENTIFIED_PARTY, f"{role.other}, ?")
    if role.reason is Reason.WRONG_CLIENT:
        return by_policy(context.directory.terms.check.on_wrong_client, role.reason, role.detail)
    return hold(role.reason, role.detail)


def _whose_other(context: DecisionContext, client: Client, report: Report) -> RuleResult:
    """XRechnung, UBL, Order-X name parties too: if both SIRENs are known and neither is the client's, the
    document is not the client's."""
    role = role_in(report, client)
    if isinstance(role, NoRole) and role.reason is Reason.WRONG_CLIENT and report.seller.siren and report.buyer.siren:
        return by_policy(context.directory.terms.check.on_wrong_client, role.reason, role.detail)
    return RELAY


def _verdict(context: DecisionContext, report: Report) -> RuleResult:
    check = context.directory.terms.check
    if not context.checked or report.verdict is Verdict.VALID:
        return RELAY
    if report.verdict is Verdict.UNDETERMINED:
        return by_policy(check.on_undetermined, Reason.UNDETERMINED, rules(report))
    errors = {finding.rule for finding in report.findings if finding.severity is Severity.ERROR}
    if report.active and errors <= {*report.active}:
        return RELAY  # `on_active_content` is for that
    return by_policy(check.on_invalid, Reason.INVALID_FACTURX, rules(report))


def _active(context: DecisionContext, indexes: Iterable[int]) -> RuleResult:
    """Documents that leave and hold active content, named by their places in the message."""
    documents = [f"{index + 1} ({', '.join(active)})" for index in indexes if (active := context.reports[index].active)]
    if not context.checked or not documents:
        return RELAY
    return by_policy(context.directory.terms.check.on_active_content, Reason.ACTIVE_CONTENT, "; ".join(documents))


def _types(context: DecisionContext, client: Client, indexes: Iterable[int]) -> RuleResult:
    types = context.directory.terms.destination(client.destination).attachment_types
    for index in indexes:
        media_type = content_type(context.message, context.entities[index], context.reports[index])
        if not allowed(media_type, types):
            return hold(Reason.ATTACHMENT_TYPE, f"{index + 1} ({media_type})")
    return RELAY


def _document(context: DecisionContext, client: Client, index: int, beside_invoice: bool) -> RuleResult:
    """One document of no invoice: whose it is if it says so, its type, active content, and whether it could be read."""
    whose = _whose_other(context, client, context.reports[index])
    result = _first((whose, _types(context, client, (index,)), _active(context, (index,))))
    if result.passes and beside_invoice and _unread(context, index):
        policy = context.directory.terms.check.on_undetermined
        return by_policy(policy, Reason.UNDETERMINED, rules(context.reports[index]))
    return result


def _unread(context: DecisionContext, index: int) -> bool:
    report = context.reports[index]
    undetermined = report.verdict is Verdict.UNDETERMINED or report.encrypted or not report.openable
    return context.checked and undetermined


def _missing(context: DecisionContext) -> RuleResult:
    """A message without any Factur-X: without any document it follows `on_no_document`, with one that could not be read
    `on_undetermined`, else `on_missing`."""
    if not context.documents:
        policy = context.directory.terms.check.on_no_document
        return by_policy(policy, Reason.NO_DOCUMENT, why_no_document(context.message))
    return _without_facturx(context, context.classification.others)


def _without_facturx(context: DecisionContext, indexes: Iterable[int]) -> RuleResult:
    """Documents of which none is a Factur-X: one that could not be read might be."""
    check = context.directory.terms.check
    unread = [index for index in indexes if _unread(context, index)]
    if unread:
        return by_policy(check.on_undetermined, Reason.UNDETERMINED, rules(context.reports[unread[0]]))
    return by_policy(check.on_missing, Reason.NO_FACTURX)


def _keep_or_remove(
    context: DecisionContext, client: Client, invoice: Invoice
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Step, ...]]:
    """Required and removed documents: the original PDF by its setting, and only if the Factur-X can stand alone; the
    XML by what the destination accepts."""
    removed: list[int] = []
    steps: list[Step] = []
    if invoice.originals:
        shown = ", ".join(str(index + 1) for index in invoice.originals)
        if client.original_pdf or invoice.conflicting:
            steps.append(Step("kept", shown))
        elif can_stand_alone(context.reports[invoice.facturx], context.checked):
            removed += invoice.originals
            steps.append(Step("removed", shown))
        else:
            steps.append(Step("kept_by_rule", shown))
    if invoice.xml and not _types(context, client, invoice.xml).passes:
        removed += invoice.xml
        steps.append(Step("xml_removed", ", ".join(str(index + 1) for index in invoice.xml)))
    whole = (invoice.facturx, *invoice.originals, *invoice.xml, *invoice.conflicting)
    required = tuple(sorted(index for index in whole if index not in removed))
    return required, tuple(sorted(removed)), tuple(steps)


def _way_of_others(
    context: DecisionContext, who: Identified, recipients: Sequence[str], groups: Sequence[DocumentGroup]
) -> tuple[Role, Address]:
    """Where documents of no invoice go: with the invoices if these all go one way, else by what names their kind."""
    ways = {(group.role, group.to) for group in groups}
    if len(ways) == 1:
        role, to = ways.pop()
        return role, Address(to, role.value, reason=None if to else Reason.NO_ADDRESS)
    client = who.client
    known = [role_in(context.reports[index], client, who.addressed) for index in context.classification.others]
    roles = {role.role if isinstance(role, KnownRole) else role for role in known} - {Role.UNKNOWN}
    if not groups and len(roles) == 1 and isinstance(one := roles.pop(), Role):
        return one, address_for(client.addresses, one)
    role = role_of_message(client, recipients, context.message, context.directory.terms.kinds)
    return role, address_for(client.addresses, role)
