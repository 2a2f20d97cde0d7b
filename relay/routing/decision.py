"""decide(): one received message -> what leaves, to whom, and why. Pure and total.

Recipients are grouped by client: each client gets plans of its own, frozen. The message is rejected only when every
plan would be: once the documents of one recipient are accepted, the others' are held, for a message has one reply."""

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
from relay.routing.opaque import document_links, why_opaque
from relay.routing.plans import ClientRecipients, assemble, unidentified, unreadable
from relay.routing.policy import Level
from relay.routing.role import address_for
from relay.routing.rules import (
    apply_invoice_rules,
    apply_other_rules,
    apply_split_invoice_rules,
    destination_of,
    sharing,
)
from relay.routing.trace_steps import Step


@dataclass(frozen=True, slots=True)
class Decision:
    """plans: one for each outgoing message. refusal: the message is not accepted (why: plans). steps: the reasoning."""

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
    context = _context(envelope, message, reports, directory, queue_id, received)
    plans: list[Plan] = []
    steps: list[Step] = list(context.classification.steps)
    by_client: dict[str, ClientRecipients] = {}
    for recipient in envelope.addresses:
        who = identify(recipient, message, reports, directory)
        if isinstance(who, Unidentified):
            steps.append(Step("unidentified", recipient))
            plans.append(unidentified(context, recipient, who))
            continue
        before = by_client.get(who.client.key)
        answers = (*before.answers, recipient) if before else (recipient,)
        by_client[who.client.key] = ClientRecipients(answers, before.who if before else who)
    for recipients in by_client.values():
        client_plans, client_steps = _plans(context, recipients)
        plans += client_plans
        steps += [Step(f"identified_by_{recipients.who.by}", recipients.who.client.key), *client_steps]
    return _decision(tuple(plans), tuple(steps))


def _context(
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
    classification = classify_documents(message, reports, check.always_paired, checked, directory.terms.kinds)
    xml = frozenset([index for index in classification.others if is_xml(message, entities[index], reports[index])])
    parts = parts_of(classification, xml)
    documents = tuple(sorted(parts))
    return DecisionContext(
        envelope, message, reports, directory, queue_id, received, entities, checked, classification, parts, documents
    )


def _plans(context: DecisionContext, recipients: ClientRecipients) -> tuple[tuple[Plan, ...], tuple[Step, ...]]:
    """All plans of one client."""
    client = recipients.who.client
    if (opaque := why_opaque(context)) is not None:
        address = address_for(client.addresses, Role.UNKNOWN)
        results = (sharing(client), opaque, destination_of(context, address))
        result = next(each for each in results if not each.passes)
        return (unreadable(context, recipients, result, address.to),), ()
    steps: list[Step] = []
    groups = []
    for invoice in context.classification.invoices:
        group, more = apply_invoice_rules(context, recipients.who, invoice)
        groups.append(group)
        steps += more
    for split in context.classification.split:
        group, more = apply_split_invoice_rules(context, recipients.who, split)
        groups.append(group)
        steps += more
    all_groups, more = apply_other_rules(context, recipients.who, recipients.answers, groups)
    steps += more
    if not context.documents and (links := document_links(context.message)):
        steps.append(Step("links", ", ".join(links)))
    plans, more = assemble(context, recipients, all_groups)
    return plans, (*steps, *more)


def _decision(plans: tuple[Plan, ...], steps: tuple[Step, ...]) -> Decision:
    """The message is rejected only if every plan says so."""
    rejected = [plan for plan in plans if plan.disposition is Disposition.REFUSE]
    if rejected and len(rejected) == len(plans):
        reason = rejected[0].reason or Reason.NO_DOCUMENT
        return Decision(plans, Rejection(reason, rejected[0].detail), steps)
    if rejected:
        steps = (*steps, Step("refusal_held"))
        held = Disposition.HOLD
        plans = tuple(
            replace(plan, disposition=held) if plan.disposition is Disposition.REFUSE else plan for plan in plans
        )
    return Decision(plans, None, steps)
