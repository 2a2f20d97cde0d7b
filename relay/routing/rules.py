"""Rulings on the documents of one mail for one client. Each check gives a ruling; the first that does not pass counts.

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
from relay.routing.role import ELIMINATION, Address, KnownRole, NoRole, address_for, is_statement, role_in, role_of_mail
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
    case: DecisionContext, who: Identified, invoice: Invoice
) -> tuple[DocumentGroup, tuple[Step, ...]]:
    """The unit of one invoice (Factur-X, original, XML) and how it came about."""
    client, report = who.client, case.reports[invoice.facturx]
    role = role_in(report, client, who.addressed)
    known, by = (Role.UNKNOWN, "") if isinstance(role, NoRole) else (role.role, role.by)
    address = address_for(client.addresses, known, report.is_credit_note)
    core, removed, kept_steps = _keep_or_remove(case, client, invoice)
    rulings = (
        _conflict(report, invoice),
        _whose(case, client, report, role),
        sharing(client),
        _verdict(case, report),
        _types(case, client, core),
        _active(case, (*core, *invoice.others)),
        destination_of(case, address),
    )
    steps = (
        Step("facturx", str(invoice.facturx + 1)),
        *kept_steps,
        *role_steps(case, report, role, address),
        *verdict_steps(case, report, invoice.facturx),
    )
    return DocumentGroup(core, invoice.others, removed, known, address.to, _first(rulings), by), steps


def judge_split(case: DecisionContext, who: Identified, split: SplitInvoice) -> tuple[DocumentGroup, tuple[Step, ...]]:
    """The unit of an invoice in two parts: whose it is, its XML tells for both; neither leaves without the other, but
    for an XML that the destination does not take beside the PDF that says it is this invoice."""
    client, report = who.client, case.reports[split.xml]
    role = role_in(report, client, who.addressed)
    known, by = (Role.UNKNOWN, "") if isinstance(role, NoRole) else (role.role, role.by)
    address = address_for(client.addresses, known, report.is_credit_note)
    drop = split.told and not _types(case, client, (split.xml,)).passes
    core = split.pdfs if drop else split.members
    rulings = (
        _whose(case, client, report, role),
        sharing(client),
        _without_facturx(case, split.pdfs),
        _types(case, client, core),
        destination_of(case, address),
    )
    shown = ", ".join(str(index + 1) for index in split.pdfs)
    steps = [Step("split_invoice", f"{shown} + {split.xml + 1}")]
    if drop:
        steps.append(Step("xml_removed", str(split.xml + 1)))
    steps += role_steps(case, report, role, address)
    return DocumentGroup(core, (), (split.xml,) if drop else (), known, address.to, _first(rulings), by), tuple(steps)


def apply_other_rules(
    case: DecisionContext, who: Identified, recipients: Sequence[str], invoices: Sequence[DocumentGroup]
) -> tuple[tuple[DocumentGroup, ...], tuple[Step, ...]]:
    """All units of the message: `invoices`, and the documents of no invoice.

    One invoice takes them along; several leave them in a message of their own, for nobody knows whose they are. A
    document
    that may not go is held apart, so that it stops nothing else. Without any invoice the whole message is one unit.
    """
    client = who.client
    statements, rest = _statements(case, client, recipients)
    steps: list[Step] = []
    good: tuple[int, ...] = ()
    units: list[DocumentGroup] = []
    if rest or not (invoices or statements):
        role, address = _way_of_others(case, who, recipients, invoices)
        ruling, good, units = _unit_of(case, client, rest, invoices, role, address)
        if len(invoices) != 1 and (good or not (invoices or units)):
            units.insert(0, DocumentGroup((), good, role=role, to=address.to, ruling=ruling))
        steps += others_steps(case, invoices, role, address)
    if statements:
        address = address_for(client.addresses, Role.STATEMENT)
        ruling, told, apart = _unit_of(case, client, statements, invoices, Role.STATEMENT, address)
        if told:
            units.append(DocumentGroup((), told, role=Role.STATEMENT, to=address.to, ruling=ruling))
        units += apart
        steps += [Step("statement", ", ".join(str(index + 1) for index in statements)), *address_steps(address)]
    if good and len(invoices) == 1:
        invoices = (replace(invoices[0], loose=(*invoices[0].loose, *good)),)
    return (*invoices, *units), tuple(steps)


def _unit_of(
    case: DecisionContext,
    client: Client,
    indexes: Iterable[int],
    invoices: Sequence[DocumentGroup],
    role: Role,
    address: Address,
) -> tuple[RuleResult, tuple[int, ...], list[DocumentGroup]]:
    """The ruling on these documents, those that it is for, and a unit for each that has a ruling of its own."""
    base = _base(case, client, address, invoices)
    good: list[int] = []
    apart: list[DocumentGroup] = []
    for index in indexes:
        ruling = _document(case, client, index, bool(invoices))
        if ruling.passes or not base.passes:
            good.append(index)
        else:
            apart.append(DocumentGroup((index,), role=role, to=address.to, ruling=ruling))
    return base, tuple(good), apart


def _statements(
    case: DecisionContext, client: Client, recipients: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Documents of no invoice: bank statements by their names, and the rest. A kind told for the message is for all."""
    kinds, others = case.directory.terms.kinds, case.sorting.others
    if role_of_mail(client, recipients, case.message, kinds) is not Role.UNKNOWN:
        return (), others
    named = tuple([index for index in others if is_statement(case.entities[index].filename or "", kinds)])
    return named, tuple([index for index in others if index not in named])


def _base(case: DecisionContext, client: Client, address: Address, invoices: Sequence[DocumentGroup]) -> RuleResult:
    """The ruling on documents of no invoice as such. Beside an invoice of doubtful owner they are doubtful too."""
    if not invoices:
        return _first((sharing(client), _missing(case), destination_of(case, address)))
    doubtful = next((unit.ruling for unit in invoices if unit.ruling.reason in WHOSE), RELAY)
    return _first((doubtful, sharing(client), destination_of(case, address)))


def sharing(client: Client) -> RuleResult:
    """The client's master switch and the connection's first button."""
    if not client.share_with_firm:
        return RuleResult(Disposition.WITHHOLD, Reason.NOT_SHARED)
    if not client.transmit_documents:
        return RuleResult(Disposition.WITHHOLD, Reason.TRANSMISSION_OFF)
    return RELAY


def destination_of(case: DecisionContext, address: Address) -> RuleResult:
    """Is there an address, and does it not lead back to us?"""
    if address.to is None:
        return hold(address.reason or Reason.NO_ADDRESS, address.kind if address.reason is Reason.NO_ADDRESS else "")
    if case.directory.accepts(address.to):
        return hold(Reason.LOOP, address.to)
    return RELAY


def _first(rulings: Iterable[RuleResult]) -> RuleResult:
    for ruling in rulings:
        if not ruling.passes:
            return ruling
    return RELAY


def _conflict(report: Report, invoice: Invoice) -> RuleResult:
    return hold(Reason.CONFLICTING_COPIES, report.number or "") if invoice.conflicting else RELAY


def _whose(case: DecisionContext, client: Client, report: Report, role: KnownRole | NoRole) -> RuleResult:
    if contradiction := contradicted(report, client, case.directory):
        return hold(Reason.CONTRADICTION, contradiction)
    if isinstance(role, KnownRole):
        policy = case.directory.terms.check.on_unidentified_party if role.by == ELIMINATION else Policy.RELAY
        return by_policy(policy, Reason.UNIDENTIFIED_PARTY, f"{role.other}, ?")
    if role.reason is Reason.WRONG_CLIENT:
        return by_policy(case.directory.terms.check.on_wrong_client, role.reason, role.detail)
    return hold(role.reason, role.detail)


def _whose_other(case: DecisionContext, client: Client, report: Report) -> RuleResult:
    """XRechnung, UBL, Order-X name parties too: with both SIRENs known and neither the client's, it is not his."""
    role = role_in(report, client)
    if isinstance(role, NoRole) and role.reason is Reason.WRONG_CLIENT and report.seller.siren and report.buyer.siren:
        return by_policy(case.directory.terms.check.on_wrong_client, role.reason, role.detail)
    return RELAY


def _verdict(case: DecisionContext, report: Report) -> RuleResult:
    check = case.directory.terms.check
    if not case.checked or report.verdict is Verdict.VALID:
        return RELAY
    if report.verdict is Verdict.UNDETERMINED:
        return by_policy(check.on_undetermined, Reason.UNDETERMINED, rules(report))
    errors = {each.rule for each in report.findings if each.severity is Severity.ERROR}
    if report.active and errors <= {*report.active}:
        return RELAY  # `on_active_content` is for that
    return by_policy(check.on_invalid, Reason.INVALID_FACTURX, rules(report))


def _active(case: DecisionContext, indexes: Iterable[int]) -> RuleResult:
    """Documents that leave and hold active content, named by their places in the message."""
    found = [f"{index + 1} ({', '.join(active)})" for index in indexes if (active := case.reports[index].active)]
    if not case.checked or not found:
        return RELAY
    return by_policy(case.directory.terms.check.on_active_content, Reason.ACTIVE_CONTENT, "; ".join(found))


def _types(case: DecisionContext, client: Client, indexes: Iterable[int]) -> RuleResult:
    types = case.directory.terms.destination(client.destination).attachment_types
    for index in indexes:
        media_type = content_type(case.message, case.entities[index], case.reports[index])
        if not allowed(media_type, types):
            return hold(Reason.ATTACHMENT_TYPE, f"{index + 1} ({media_type})")
    return RELAY


def _document(case: DecisionContext, client: Client, index: int, beside_invoice: bool) -> RuleResult:
    """One document of no invoice: whose it is if it tells, its type, active content, and whether it could be read."""
    whose = _whose_other(case, client, case.reports[index])
    ruling = _first((whose, _types(case, client, (index,)), _active(case, (index,))))
    if ruling.passes and beside_invoice and _unread(case, index):
        policy = case.directory.terms.check.on_undetermined
        return by_policy(policy, Reason.UNDETERMINED, rules(case.reports[index]))
    return ruling


def _unread(case: DecisionContext, index: int) -> bool:
    report = case.reports[index]
    undetermined = report.verdict is Verdict.UNDETERMINED or report.encrypted or not report.openable
    return case.checked and undetermined


def _missing(case: DecisionContext) -> RuleResult:
    """A message without any Factur-X: without any document it follows `on_no_document`, with one that could not be read
    `on_undetermined`, else `on_missing`."""
    if not case.documents:
        policy = case.directory.terms.check.on_no_document
        return by_policy(policy, Reason.NO_DOCUMENT, why_no_document(case.message))
    return _without_facturx(case, case.sorting.others)


def _without_facturx(case: DecisionContext, indexes: Iterable[int]) -> RuleResult:
    """Documents of which none is a Factur-X: one that could not be read might be."""
    check = case.directory.terms.check
    unread = [index for index in indexes if _unread(case, index)]
    if unread:
        return by_policy(check.on_undetermined, Reason.UNDETERMINED, rules(case.reports[unread[0]]))
    return by_policy(check.on_missing, Reason.NO_FACTURX)


def _keep_or_remove(
    case: DecisionContext, client: Client, invoice: Invoice
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Step, ...]]:
    """Core and removed documents: the second button, never against DESIGN rule 5; XML as the destination takes it."""
    removed: list[int] = []
    steps: list[Step] = []
    if invoice.originals:
        shown = ", ".join(str(index + 1) for index in invoice.originals)
        if client.original_pdf or invoice.conflicting:
            steps.append(Step("kept", shown))
        elif can_stand_alone(case.reports[invoice.facturx], case.checked):
            removed += invoice.originals
            steps.append(Step("removed", shown))
        else:
            steps.append(Step("kept_by_rule", shown))
    if invoice.xml and not _types(case, client, invoice.xml).passes:
        removed += invoice.xml
        steps.append(Step("xml_removed", ", ".join(str(index + 1) for index in invoice.xml)))
    whole = (invoice.facturx, *invoice.originals, *invoice.xml, *invoice.conflicting)
    core = tuple(sorted(index for index in whole if index not in removed))
    return core, tuple(sorted(removed)), tuple(steps)


def _way_of_others(
    case: DecisionContext, who: Identified, recipients: Sequence[str], units: Sequence[DocumentGroup]
) -> tuple[Role, Address]:
    """Where documents of no invoice go: with the invoices if these all go one way, else by what tells their kind."""
    ways = {(unit.role, unit.to) for unit in units}
    if len(ways) == 1:
        role, to = ways.pop()
        return role, Address(to, role.value, reason=None if to else Reason.NO_ADDRESS)
    client = who.client
    found = [role_in(case.reports[index], client, who.addressed) for index in case.sorting.others]
    roles = {each.role if isinstance(each, KnownRole) else each for each in found} - {Role.UNKNOWN}
    if not units and len(roles) == 1 and isinstance(one := roles.pop(), Role):
        return one, address_for(client.addresses, one)
    role = role_of_mail(client, recipients, case.message, case.directory.terms.kinds)
    return role, address_for(client.addresses, role)
