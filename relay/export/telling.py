"""The steps that tell a ruling: what the role, the verdict and the settings made of a document."""

from collections.abc import Iterable, Sequence

from relay.export.role import ELIMINATION, SELF_BILLED, Address, KnownRole, NoRole
from relay.export.steps import Step
from relay.export.unit import Case, Unit
from relay.model import Role
from relay.reason import Reason
from relay.report import Report, Severity, Verdict


def rules(report: Report) -> str:
    """Ids of the first errors: never the content of the invoice."""
    errors = list(dict.fromkeys(each.rule for each in report.findings if each.severity is Severity.ERROR))
    return ", ".join(errors[:3]) + (" …" if len(errors) > 3 else "") or report.verdict.value


def role_steps(case: Case, report: Report, role: KnownRole | NoRole, address: Address) -> Iterable[Step]:
    if isinstance(role, NoRole):
        if role.reason is Reason.WRONG_CLIENT and case.directory.terms.check.on_wrong_client == "relay":
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


def verdict_steps(case: Case, report: Report, index: int) -> Iterable[Step]:
    check = case.directory.terms.check
    if case.checked and report.active and check.on_active_content == "relay":
        yield Step("active_relayed", f"{index + 1} ({', '.join(report.active)})")
        if {each.rule for each in report.findings if each.severity is Severity.ERROR} <= {*report.active}:
            return
    if not case.checked or report.verdict is Verdict.VALID:
        return
    if report.verdict is Verdict.UNDETERMINED:
        if check.on_undetermined == "relay":
            yield Step("undetermined_relayed", str(index + 1))
    elif check.on_invalid == "relay":
        yield Step("invalid_relayed", rules(report))


def others_steps(case: Case, units: Sequence[Unit], role: Role, address: Address) -> Iterable[Step]:
    """For documents of no invoice, `units` being those of the invoices."""
    if units:
        return
    check = case.directory.terms.check
    active = [
        f"{index + 1} ({', '.join(broken)})" for index in case.sorting.others if (broken := case.reports[index].active)
    ]
    if case.checked and active and check.on_active_content == "relay":
        yield Step("active_relayed", "; ".join(active))
    unread = [index for index in case.sorting.others if case.reports[index].verdict is Verdict.UNDETERMINED]
    if case.checked and unread and check.on_undetermined == "relay":
        yield Step("undetermined_relayed", ", ".join(str(index + 1) for index in unread))
    elif not case.documents:
        if check.on_no_document == "relay":
            yield Step("no_document_relayed")
    elif check.on_missing == "relay":
        yield Step("missing_relayed")
    yield Step("role", role.value)
    yield from address_steps(address)
