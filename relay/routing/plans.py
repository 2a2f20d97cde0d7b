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


def fits(context: DecisionContext, keep: Collection[int], destination: Destination) -> bool:
    """Would the message with only these documents fit, as far as is known before it is planned?"""
    others = set(context.documents) - set(keep)
    size = _octets(context) - _lengths(context, others)
    return size <= destination.max_mail_size and len(keep) <= destination.max_attachments


def divide(context: DecisionContext, group: DocumentGroup, destination: Destination) -> tuple[tuple[int, ...], ...]:
    """What each message of `group` keeps: all in one if it fits, else the required documents with what fits, and
    the rest in further messages.

    A document too large even alone gets a message of its own, which the caller finds not to fit.
    """
    base = _octets(context) - _lengths(context, context.documents)
    messages: list[list[int]] = [list(group.required)]
    size = base + _lengths(context, group.required)
    for index in group.optional:
        size += _lengths(context, (index,))
        full = size > destination.max_mail_size or len(messages[-1]) >= destination.max_attachments
        if messages[-1] and full:
            messages.append([])
            size = base + _lengths(context, (index,))
        messages[-1].append(index)
    return tuple(tuple(sorted(keep)) for keep in messages)


def _octets(context: DecisionContext) -> int:
    """Of the message with all its documents. An mbox separator does not leave with it."""
    raw = context.message.raw
    return len(raw) + HEADROOM - after_mbox_line(raw, 0, len(raw))


def _lengths(context: DecisionContext, indexes: Iterable[int]) -> int:
    cuts = [context.entities[index].cut for index in indexes]
    return sum([cut.end - cut.start for cut in cuts])


def body_cuts(context: DecisionContext, keep: Iterable[int]) -> tuple[Span, ...]:
    """Cuts that leave of all documents only those in `keep`."""
    kept = set(keep)
    to_remove = [context.entities[index] for index in context.documents if index not in kept]
    return part_cuts(context.message, to_remove) if to_remove else ()


def joined(groups: Sequence[DocumentGroup], destination: Destination) -> tuple[DocumentGroup, ...]:
    """Groups as messages: apart if the destination wants one invoice a message, else joined where address and result
    agree."""
    if destination.one_invoice_per_mail:
        return tuple(groups)
    joint: dict[tuple[object, ...], list[DocumentGroup]] = {}
    for group in groups:
        joint.setdefault((group.to, group.result.disposition, group.result.reason), []).append(group)
    return tuple(_join(parts) for parts in joint.values())


def _join(groups: Sequence[DocumentGroup]) -> DocumentGroup:
    if len(groups) == 1:
        return groups[0]
    first, roles = groups[0], {group.role for group in groups}
    return DocumentGroup(
        required=tuple(index for group in groups for index in group.required),
        optional=tuple(index for group in groups for index in group.optional),
        removed=tuple(index for group in groups for index in group.removed),
        role=roles.pop() if len(roles) == 1 else type(first.role).UNKNOWN,
        to=first.to,
        result=first.result,
        role_by=", ".join(dict.fromkeys(group.role_by for group in groups if group.role_by)),
    )


MAX_MESSAGES = 100  # one message in, at most so many out: more are held for a person
UNIT = 1024 * 1024  # octets of a MiB


@dataclass(frozen=True, slots=True)
class ClientRecipients:
    """Envelope recipients of one client."""

    answers: tuple[str, ...]
    who: Identified


def assemble(
    context: DecisionContext, recipients: ClientRecipients, groups: Sequence[DocumentGroup]
) -> tuple[tuple[Plan, ...], tuple[Step, ...]]:
    """The plans of one client's document groups, and the steps that led to them."""
    destination = context.directory.terms.destination(recipients.who.client.destination)
    messages = [
        part for group in joined(groups, destination) for part in _messages(context, group, groups, destination)
    ]
    if len(messages) > MAX_MESSAGES:
        whole = _whole(context, groups, hold(Reason.TOO_MANY_ATTACHMENTS, f"{len(messages)} > {MAX_MESSAGES}"))
        return (_plan(context, recipients, whole, 1),), ()
    plans = tuple(_plan(context, recipients, group, number) for number, group in enumerate(messages, 1))
    if is_signed(context.message) and any(_cuts_body(context, plan) for plan in plans):
        return _signed(context, recipients, groups, plans)
    steps = (Step("split", str(len(plans))),) if len(plans) > 1 else ()
    return plans, steps


def _messages(
    context: DecisionContext, group: DocumentGroup, groups: Sequence[DocumentGroup], destination: Destination
) -> Iterable[DocumentGroup]:
    """One group a message: `group` if it fits, else its invoices (of `groups`) one by one, else its optional documents
    apart."""
    parts = [part for part in groups if part.required and set(part.required) <= set(group.required)]
    if len(parts) > 1 and not fits(context, (*group.required, *group.optional), destination):
        for part in parts:
            yield from _messages(context, part, (part,), destination)
        placed = {index for part in parts for index in part.optional}
        rest = tuple(index for index in group.optional if index not in placed)
        if rest:
            yield from _messages(context, replace(group, required=(), optional=rest, removed=()), (), destination)
        return
    for number, keep in enumerate(divide(context, group, destination)):
        yield replace(group, required=keep, optional=(), removed=group.removed if number == 0 else ())


def _plan(context: DecisionContext, recipients: ClientRecipients, group: DocumentGroup, number: int) -> Plan:
    client, terms = recipients.who.client, context.directory.terms
    destination = terms.destination(client.destination)
    body = body_cuts(context, group.required)
    header = edit_header(
        context.message,
        destination,
        group.to,
        received=context.received,
        hostname=terms.hostname,
        queue_id=context.queue_id,
        number=number,
        body_cut=bool(body),
    )
    cuts = merge((*header.cuts, *body))
    result = _fitting(group, destination, size(context.message.raw, header.prepend, cuts))
    return Plan(
        disposition=result.disposition,
        to=(group.to,) if group.to else (),
        reason=result.reason,
        detail=result.detail,
        firm=client.firm,
        dossier=client.dossier,
        by=recipients.who.by,
        role=group.role,
        role_by=group.role_by,
        recodings=recodings(context.message, cuts),
        documents=documents(context, group.required, group.removed),
        cuts=cuts,
        prepend=header.prepend,
        return_path=terms.return_path,
        destination=client.destination,
        smarthost=client.smarthost,
        answers=recipients.answers,
    )


def documents(context: DecisionContext, keep: Iterable[int], remove: Iterable[int] = ()) -> tuple[Document, ...]:
    """The documents of a plan in the order of the message."""
    actions = dict.fromkeys(keep, Action.KEEP) | dict.fromkeys(remove, Action.REMOVE)
    return tuple(
        Document(
            filename=context.entities[index].filename or "",
            span=context.entities[index].span,
            part=context.parts.get(index, DocumentPart.OTHER),
            action=actions[index],
            report=context.reports[index],
        )
        for index in sorted(actions)
    )


def _fitting(group: DocumentGroup, destination: Destination, octets: int) -> RuleResult:
    """The group's result, or the figure by which the message exceeds what the destination takes."""
    if not group.result.passes:
        return group.result
    if len(group.required) > destination.max_attachments:
        return hold(Reason.TOO_MANY_ATTACHMENTS, f"{len(group.required)} > {destination.max_attachments}")
    if octets > destination.max_mail_size:
        sizes = {"size": octets / UNIT, "limit": destination.max_mail_size / UNIT}
        return hold(Reason.TOO_LARGE, str(Detail("sizes", sizes)))
    return group.result


def _cuts_body(context: DecisionContext, plan: Plan) -> bool:
    return any(span.end > context.message.root.body.start for span in plan.cuts)


def _whole(context: DecisionContext, groups: Sequence[DocumentGroup], result: RuleResult) -> DocumentGroup:
    """The message uncut. Its address only if all its documents share it: a release must not send one astray."""
    addresses, roles = {group.to for group in groups}, {group.role for group in groups}
    to = addresses.pop() if len(addresses) == 1 else None
    role = roles.pop() if len(roles) == 1 else DocumentGroup(()).role
    return DocumentGroup(context.documents, role=role, to=to, result=result)


def _signed(
    context: DecisionContext, recipients: ClientRecipients, groups: Sequence[DocumentGroup], plans: Sequence[Plan]
) -> tuple[tuple[Plan, ...], tuple[Step, ...]]:
    """A signed message is never cut: it leaves whole or not at all, as `on_signed` says."""
    worse = next((plan for plan in plans if plan.disposition is not Disposition.RELAY), None)
    if worse is not None:
        agreed = all(plan.disposition is worse.disposition for plan in plans)
        disposition = worse.disposition if agreed or worse.disposition is Disposition.WITHHOLD else Disposition.HOLD
        result = RuleResult(disposition, worse.reason, worse.detail)
        return (_plan(context, recipients, _whole(context, groups, result), 1),), ()
    policy = context.directory.terms.check.on_signed
    whole = _whole(context, groups, RuleResult())
    if policy is Policy.RELAY and whole.to is not None:
        return (_plan(context, recipients, whole, 1),), (Step("signed_whole"),)
    disposition = Disposition.REFUSE if policy is Policy.REFUSE else Disposition.HOLD
    whole = replace(whole, result=RuleResult(disposition, Reason.SIGNED_MAIL))
    return (_plan(context, recipients, whole, 1),), ()


def unidentified(context: DecisionContext, recipient: str, why: Unidentified) -> Plan:
    """A message without a known client: held whole, without an address, until the configuration names one."""
    terms = context.directory.terms
    header = edit_header(
        context.message,
        Destination(to_header="keep"),
        None,
        received=context.received,
        hostname=terms.hostname,
        queue_id=context.queue_id,
    )
    return Plan(
        disposition=Disposition.HOLD,
        reason=why.reason,
        detail=why.detail,
        firm=why.firm,
        dossier=why.dossier,
        documents=documents(context, context.documents),
        cuts=merge(header.cuts),
        prepend=header.prepend,
        return_path=terms.return_path,
        answers=(recipient,),
    )


def unreadable(context: DecisionContext, recipients: ClientRecipients, result: RuleResult, to: str | None) -> Plan:
    """A message whose documents cannot be recognised (encrypted, a fragment, TNEF): one plan, whole."""
    return _plan(context, recipients, DocumentGroup(context.documents, to=to, result=result), 1)
