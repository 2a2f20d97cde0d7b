"""decide(): one received mail -> what leaves, to whom, and why. Pure and total; DESIGN §5, steps 3 and 4.

Recipients are grouped by client: each client gets plans of its own, frozen. The mail is refused only when every plan
would be: once one recipient's documents are taken, the others' are held, for a mail has one answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relay.inspection import Report
from relay.mime.message import MimeMessage
from relay.model import Disposition, Envelope, Plan, Rejection, Role
from relay.reasons import Reason
from relay.routing.client import Unidentified, identify
from relay.routing.directory import Directory
from relay.routing.document_group import DecisionContext, parts_of
from relay.routing.documents import classify_documents, is_xml
from relay.routing.opaque import document_links, sealed_by
from relay.routing.plans import Group, assemble, unidentified, unreadable
from relay.routing.policy import Level
from relay.routing.role import address_for
from relay.routing.rules import apply_invoice_rules, apply_other_rules, destination_of, judge_split, sharing
from relay.routing.trace_steps import Step


@dataclass(frozen=True, slots=True)
class Decision:
    """plans: one for each outgoing mail. refusal: the message is not accepted (why: plans). steps: the reasoning."""

    plans: tuple[Plan, ...]
    refusal: Rejection | None = None
    steps: tuple[Step, ...] = ()


def decide(
    envelope: Envelope,
    message: MimeMessage,
    reports: Sequence[Report],
    directory: Directory,
    *,
    queue_id: str,
    arrived: float,
    received: bytes,
) -> Decision:
    """What becomes of `message`. `reports`: of message.attachments, aligned. `received`: our Received line with CRLF.

    The same arguments give the same decision, octet for octet (`arrived` already stands in `received`).
    """
    case = _case(envelope, message, reports, directory, queue_id, received)
    plans: list[Plan] = []
    steps: list[Step] = list(case.sorting.steps)
    groups: dict[str, Group] = {}
    for recipient in envelope.addresses:
        who = identify(recipient, message, reports, directory)
        if isinstance(who, Unidentified):
            steps.append(Step("unidentified", recipient))
            plans.append(unidentified(case, recipient, who))
            continue
        before = groups.get(who.client.key)
        answers = (*before.answers, recipient) if before else (recipient,)
        groups[who.client.key] = Group(answers, before.who if before else who)
    for group in groups.values():
        made, told = _plans(case, group)
        plans += made
        steps += [Step(f"identified_by_{group.who.by}", group.who.client.key), *told]
    return _answer(tuple(plans), tuple(steps))


def _case(
    envelope: Envelope,
    message: MimeMessage,
    reports: Sequence[Report],
    directory: Directory,
    queue_id: str,
    received: bytes,
) -> DecisionContext:
    check = directory.terms.check
    entities = message.attachments
    if len(entities) != len(reports):
        raise ValueError(f"{len(reports)} reports for {len(entities)} attachments")
    checked = check.level is not Level.OFF
    sorting = classify_documents(message, reports, check.always_paired, checked, directory.terms.kinds)
    xml = frozenset([index for index in sorting.others if is_xml(message, entities[index], reports[index])])
    parts = parts_of(sorting, xml)
    documents = tuple(sorted(parts))
    return DecisionContext(
        envelope, message, reports, directory, queue_id, received, entities, checked, sorting, parts, documents
    )


def _plans(case: DecisionContext, group: Group) -> tuple[tuple[Plan, ...], tuple[Step, ...]]:
    """All plans of one client."""
    client = group.who.client
    if (sealed := sealed_by(case)) is not None:
        address = address_for(client.addresses, Role.UNKNOWN)
        rulings = (sharing(client), sealed, destination_of(case, address))
        ruling = next(each for each in rulings if not each.passes)
        return (unreadable(case, group, ruling, address.to),), ()
    steps: list[Step] = []
    units = []
    for invoice in case.sorting.invoices:
        unit, told = apply_invoice_rules(case, group.who, invoice)
        units.append(unit)
        steps += told
    for split in case.sorting.split:
        unit, told = judge_split(case, group.who, split)
        units.append(unit)
        steps += told
    all_units, told = apply_other_rules(case, group.who, group.answers, units)
    steps += told
    if not case.documents and (links := document_links(case.message)):
        steps.append(Step("links", ", ".join(links)))
    plans, told = assemble(case, group, all_units)
    return plans, (*steps, *told)


def _answer(plans: tuple[Plan, ...], steps: tuple[Step, ...]) -> Decision:
    """Refuse only unanimously."""
    refused = [plan for plan in plans if plan.disposition is Disposition.REFUSE]
    if refused and len(refused) == len(plans):
        reason = refused[0].reason or Reason.NO_DOCUMENT
        return Decision(plans, Rejection(reason, refused[0].detail), steps)
    if refused:
        steps = (*steps, Step("refusal_held"))
        held = Disposition.HOLD
        plans = tuple(
            replace(plan, disposition=held) if plan.disposition is Disposition.REFUSE else plan for plan in plans
        )
    return Decision(plans, None, steps)
