"""Document groups to plans: one outgoing message each, as spans to cut and octets to put on top, within the
destination's limits."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from relay.mime.classification import is_signed
from relay.mime.headers import after_mbox_line
from relay.mime.rewriting import merge, part_cuts, recodings, size
from relay.model import Action, Disposition, Document, DocumentPart, Plan, Span
from relay.reasons import Detail, Reason
from relay.routing.client import Identified, Unidentified
from relay.routing.document_group import DecisionContext, DocumentGroup, RuleResult, hold
from relay.routing.outgoing_header import edit_header
from relay.routing.policy import Destination, Policy
from relay.routing.trace_steps import Step

HEADROOM = 1024  # octets reckoned for what we put on top, before it is known to the octet


def fits(case: DecisionContext, keep: Collection[int], destination: Destination) -> bool:
    """Would the message with only these documents fit, as far as can be told before it is planned?"""
    others = set(case.documents) - set(keep)
    size = _octets(case) - _lengths(case, others)
    return size <= destination.max_mail_size and len(keep) <= destination.max_attachments


def divide(case: DecisionContext, unit: DocumentGroup, destination: Destination) -> tuple[tuple[int, ...], ...]:
    """What each message of `unit` keeps: all in one if it fits, else the core with what fits, the rest in further
    messages.

    A document too large even alone gets a message of its own, which the caller finds not to fit.
    """
    base = _octets(case) - _lengths(case, case.documents)
    mails: list[list[int]] = [list(unit.core)]
    size = base + _lengths(case, unit.core)
    for index in unit.loose:
        size += _lengths(case, (index,))
        full = size > destination.max_mail_size or len(mails[-1]) >= destination.max_attachments
        if mails[-1] and full:
            mails.append([])
            size = base + _lengths(case, (index,))
        mails[-1].append(index)
    return tuple(tuple(sorted(keep)) for keep in mails)


def _octets(case: DecisionContext) -> int:
    """Of the message with all its documents. An mbox separator does not leave with it."""
    raw = case.message.raw
    return len(raw) + HEADROOM - after_mbox_line(raw, 0, len(raw))


def _lengths(case: DecisionContext, indexes: Iterable[int]) -> int:
    cuts = [case.entities[index].cut for index in indexes]
    return sum([cut.end - cut.start for cut in cuts])


def body_cuts(case: DecisionContext, keep: Iterable[int]) -> tuple[Span, ...]:
    """Cuts that leave of all documents only those in `keep`."""
    kept = set(keep)
    to_remove = [case.entities[index] for index in case.documents if index not in kept]
    return part_cuts(case.message, to_remove) if to_remove else ()


def joined(units: Sequence[DocumentGroup], destination: Destination) -> tuple[DocumentGroup, ...]:
    """Units as messages: apart if the destination wants one invoice a message, else joined where address and ruling
    agree."""
    if destination.one_invoice_per_mail:
        return tuple(units)
    groups: dict[tuple[object, ...], list[DocumentGroup]] = {}
    for unit in units:
        groups.setdefault((unit.to, unit.ruling.disposition, unit.ruling.reason), []).append(unit)
    return tuple(_join(group) for group in groups.values())


def _join(units: Sequence[DocumentGroup]) -> DocumentGroup:
    if len(units) == 1:
        return units[0]
    first, roles = units[0], {unit.role for unit in units}
    return DocumentGroup(
        core=tuple(index for unit in units for index in unit.core),
        loose=tuple(index for unit in units for index in unit.loose),
        removed=tuple(index for unit in units for index in unit.removed),
        role=roles.pop() if len(roles) == 1 else type(first.role).UNKNOWN,
        to=first.to,
        ruling=first.ruling,
        role_by=", ".join(dict.fromkeys(unit.role_by for unit in units if unit.role_by)),
    )


MAX_MAILS = 100  # one message in, never more than so many out: what makes more is a person's business
UNIT = 1024 * 1024  # octets of a MiB


@dataclass(frozen=True, slots=True)
class Group:
    """Envelope recipients of one client."""

    answers: tuple[str, ...]
    who: Identified


def assemble(
    case: DecisionContext, group: Group, units: Sequence[DocumentGroup]
) -> tuple[tuple[Plan, ...], tuple[Step, ...]]:
    """The plans of one client's units, and what was peculiar."""
    destination = case.directory.terms.destination(group.who.client.destination)
    mails = [mail for unit in joined(units, destination) for mail in _mails(case, unit, units, destination)]
    if len(mails) > MAX_MAILS:
        whole = _whole(case, units, hold(Reason.TOO_MANY_ATTACHMENTS, f"{len(mails)} > {MAX_MAILS}"))
        return (_plan(case, group, whole, 1),), ()
    plans = tuple(_plan(case, group, unit, number) for number, unit in enumerate(mails, 1))
    if is_signed(case.message) and any(_cuts_body(case, plan) for plan in plans):
        return _signed(case, group, units, plans)
    steps = (Step("split", str(len(plans))),) if len(plans) > 1 else ()
    return plans, steps


def _mails(
    case: DecisionContext, unit: DocumentGroup, units: Sequence[DocumentGroup], destination: Destination
) -> Iterable[DocumentGroup]:
    """One unit a message: `unit` if it fits, else its invoices (`units`) one by one, else its loose documents apart."""
    parts = [each for each in units if each.core and set(each.core) <= set(unit.core)]
    if len(parts) > 1 and not fits(case, (*unit.core, *unit.loose), destination):
        for part in parts:
            yield from _mails(case, part, (part,), destination)
        taken = {index for part in parts for index in part.loose}
        rest = tuple(index for index in unit.loose if index not in taken)
        if rest:
            yield from _mails(case, replace(unit, core=(), loose=rest, removed=()), (), destination)
        return
    for number, keep in enumerate(divide(case, unit, destination)):
        yield replace(unit, core=keep, loose=(), removed=unit.removed if number == 0 else ())


def _plan(case: DecisionContext, group: Group, unit: DocumentGroup, number: int) -> Plan:
    client, terms = group.who.client, case.directory.terms
    destination = terms.destination(client.destination)
    body = body_cuts(case, unit.core)
    header = edit_header(
        case.message,
        destination,
        unit.to,
        received=case.received,
        hostname=terms.hostname,
        queue_id=case.queue_id,
        number=number,
        body_cut=bool(body),
    )
    cuts = merge((*header.cuts, *body))
    ruling = _fitting(unit, destination, size(case.message.raw, header.prepend, cuts))
    return Plan(
        disposition=ruling.disposition,
        to=(unit.to,) if unit.to else (),
        reason=ruling.reason,
        detail=ruling.detail,
        firm=client.firm,
        dossier=client.dossier,
        by=group.who.by,
        role=unit.role,
        role_by=unit.role_by,
        recodings=recodings(case.message, cuts),
        documents=documents(case, unit.core, unit.removed),
        cuts=cuts,
        prepend=header.prepend,
        return_path=terms.return_path,
        destination=client.destination,
        smarthost=client.smarthost,
        answers=group.answers,
    )


def documents(case: DecisionContext, keep: Iterable[int], remove: Iterable[int] = ()) -> tuple[Document, ...]:
    """The documents of a plan in the order of the message."""
    actions = dict.fromkeys(keep, Action.KEEP) | dict.fromkeys(remove, Action.REMOVE)
    return tuple(
        Document(
            filename=case.entities[index].filename or "",
            span=case.entities[index].span,
            part=case.parts.get(index, DocumentPart.OTHER),
            action=actions[index],
            report=case.reports[index],
        )
        for index in sorted(actions)
    )


def _fitting(unit: DocumentGroup, destination: Destination, octets: int) -> RuleResult:
    """The unit's ruling, or the figure by which the message exceeds what the destination takes."""
    if not unit.ruling.passes:
        return unit.ruling
    if len(unit.core) > destination.max_attachments:
        return hold(Reason.TOO_MANY_ATTACHMENTS, f"{len(unit.core)} > {destination.max_attachments}")
    if octets > destination.max_mail_size:
        sizes = {"size": octets / UNIT, "limit": destination.max_mail_size / UNIT}
        return hold(Reason.TOO_LARGE, str(Detail("sizes", sizes)))
    return unit.ruling


def _cuts_body(case: DecisionContext, plan: Plan) -> bool:
    return any(span.end > case.message.root.body.start for span in plan.cuts)


def _whole(case: DecisionContext, units: Sequence[DocumentGroup], ruling: RuleResult) -> DocumentGroup:
    """The message uncut. Its address only if all its documents share it: a release must not send one astray."""
    addresses, roles = {unit.to for unit in units}, {unit.role for unit in units}
    to = addresses.pop() if len(addresses) == 1 else None
    role = roles.pop() if len(roles) == 1 else DocumentGroup(()).role
    return DocumentGroup(case.documents, role=role, to=to, ruling=ruling)


def _signed(
    case: DecisionContext, group: Group, units: Sequence[DocumentGroup], plans: Sequence[Plan]
) -> tuple[tuple[Plan, ...], tuple[Step, ...]]:
    """A signed mail is never cut: it goes whole or not at all, as `on_signed` says."""
    worse = next((plan for plan in plans if plan.disposition is not Disposition.RELAY), None)
    if worse is not None:
        agreed = all(plan.disposition is worse.disposition for plan in plans)
        disposition = worse.disposition if agreed or worse.disposition is Disposition.WITHHOLD else Disposition.HOLD
        ruling = RuleResult(disposition, worse.reason, worse.detail)
        return (_plan(case, group, _whole(case, units, ruling), 1),), ()
    policy = case.directory.terms.check.on_signed
    whole = _whole(case, units, RuleResult())
    if policy is Policy.RELAY and whole.to is not None:
        return (_plan(case, group, whole, 1),), (Step("signed_whole"),)
    disposition = Disposition.REFUSE if policy is Policy.REFUSE else Disposition.HOLD
    whole = replace(whole, ruling=RuleResult(disposition, Reason.SIGNED_MAIL))
    return (_plan(case, group, whole, 1),), ()


def unidentified(case: DecisionContext, recipient: str, why: Unidentified) -> Plan:
    """A message of which no client is told: held whole, without an address, until the configuration tells one."""
    terms = case.directory.terms
    header = edit_header(
        case.message,
        Destination(to_header="keep"),
        None,
        received=case.received,
        hostname=terms.hostname,
        queue_id=case.queue_id,
    )
    return Plan(
        disposition=Disposition.HOLD,
        reason=why.reason,
        detail=why.detail,
        firm=why.firm,
        dossier=why.dossier,
        documents=documents(case, case.documents),
        cuts=merge(header.cuts),
        prepend=header.prepend,
        return_path=terms.return_path,
        answers=(recipient,),
    )


def unreadable(case: DecisionContext, group: Group, ruling: RuleResult, to: str | None) -> Plan:
    """A message whose documents cannot be told (encrypted, a fragment, TNEF): one plan, whole."""
    return _plan(case, group, DocumentGroup(case.documents, to=to, ruling=ruling), 1)
