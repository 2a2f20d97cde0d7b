"""decide(): one received mail -> what leaves, to whom, and why. Pure and total; DESIGN §5, steps 3 and 4.

Recipients are grouped by client: each client gets plans of its own, frozen. The mail is refused only when every plan
would be: once one recipient's documents are taken, the others' are held, for a mail has one answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relay.export.assemble import Group, assemble, unidentified, unreadable
from relay.export.content import is_xml
from relay.export.directory import Directory
from relay.export.documents import sort_documents
from relay.export.identify import Unidentified, identify
from relay.export.judge import destination_of, judge_invoice, judge_others, judge_split, sharing
from relay.export.links import document_links
from relay.export.role import address_for
from relay.export.sealed import sealed_by
from relay.export.steps import Step
from relay.export.terms import Level
from relay.export.unit import Case, parts_of
from relay.mail.message import Message
from relay.model import Disposition, Envelope, Plan, Refusal, Role
from relay.reason import Reason
from relay.report import Report


@dataclass(frozen=True, slots=True)
class Decision:
    """plans: one for each outgoing mail. refusal: the mail is not accepted (why: plans). steps: the reasoning."""

    plans: tuple[Plan, ...]
    refusal: Refusal | None = None
    steps: tuple[Step, ...] = ()


def decide(
    envelope: Envelope,
    message: Message,
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
    message: Message,
    reports: Sequence[Report],
    directory: Directory,
    queue_id: str,
    received: bytes,
) -> Case:
    check = directory.terms.check
    entities = message.attachments
    if len(entities) != len(reports):
        raise ValueError(f"{len(reports)} reports for {len(entities)} attachments")
    checked = check.level is not Level.OFF
    sorting = sort_documents(message, reports, check.always_paired, checked, directory.terms.kinds)
    xml = frozenset([index for index in sorting.others if is_xml(message, entities[index], reports[index])])
    parts = parts_of(sorting, xml)
    documents = tuple(sorted(parts))
    return Case(envelope, message, reports, directory, queue_id, received, entities, checked, sorting, parts, documents)


def _plans(case: Case, group: Group) -> tuple[tuple[Plan, ...], tuple[Step, ...]]:
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
        unit, told = judge_invoice(case, group.who, invoice)
        units.append(unit)
        steps += told
    for split in case.sorting.split:
        unit, told = judge_split(case, group.who, split)
        units.append(unit)
        steps += told
    all_units, told = judge_others(case, group.who, group.answers, units)
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
        return Decision(plans, Refusal(reason, refused[0].detail), steps)
    if refused:
        steps = (*steps, Step("refusal_held"))
        held = Disposition.HOLD
        plans = tuple(
            replace(plan, disposition=held) if plan.disposition is Disposition.REFUSE else plan for plan in plans
        )
    return Decision(plans, None, steps)
