"""Units -> plans: one outgoing mail each, as spans to cut and octets to put on top (DESIGN rule 4)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from relay.export.fit import body_cuts, divide, fits, joined
from relay.export.headers import edit_header
from relay.export.identify import Identified, Unidentified
from relay.export.steps import Step
from relay.export.terms import Destination, Policy
from relay.export.unit import Case, Ruling, Unit, hold
from relay.mail.recode import recodings
from relay.mail.rewrite import merge, size
from relay.mail.traits import is_signed
from relay.model import Action, Disposition, Document, DocumentPart, Plan
from relay.reason import Reason

MAX_MAILS = 100  # one mail in, never more than so many out: what makes more is a person's business
UNIT = 1024 * 1024  # octets of a MiB


@dataclass(frozen=True, slots=True)
class Group:
    """Envelope recipients of one client."""

    answers: tuple[str, ...]
    who: Identified


def assemble(case: Case, group: Group, units: Sequence[Unit]) -> tuple[tuple[Plan, ...], tuple[Step, ...]]:
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


def _mails(case: Case, unit: Unit, units: Sequence[Unit], destination: Destination) -> Iterable[Unit]:
    """One unit a mail: `unit` if it fits, else its invoices (`units`) one by one, else its loose documents apart."""
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


def _plan(case: Case, group: Group, unit: Unit, number: int) -> Plan:
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


def documents(case: Case, keep: Iterable[int], remove: Iterable[int] = ()) -> tuple[Document, ...]:
    """The documents of a plan in the order of the mail."""
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


def _fitting(unit: Unit, destination: Destination, octets: int) -> Ruling:
    """The unit's ruling, or the figure by which the mail exceeds what the destination takes."""
    if not unit.ruling.passes:
        return unit.ruling
    if len(unit.core) > destination.max_attachments:
        return hold(Reason.TOO_MANY_ATTACHMENTS, f"{len(unit.core)} > {destination.max_attachments}")
    if octets > destination.max_mail_size:
        return hold(Reason.TOO_LARGE, f"{octets / UNIT:.1f} MiB > {destination.max_mail_size / UNIT:.1f} MiB")
    return unit.ruling


def _cuts_body(case: Case, plan: Plan) -> bool:
    return any(span.end > case.message.root.body.start for span in plan.cuts)


def _whole(case: Case, units: Sequence[Unit], ruling: Ruling) -> Unit:
    """The mail uncut. Its address only if all its documents share it: a release must not send one astray."""
    addresses, roles = {unit.to for unit in units}, {unit.role for unit in units}
    to = addresses.pop() if len(addresses) == 1 else None
    role = roles.pop() if len(roles) == 1 else Unit(()).role
    return Unit(case.documents, role=role, to=to, ruling=ruling)


def _signed(
    case: Case, group: Group, units: Sequence[Unit], plans: Sequence[Plan]
) -> tuple[tuple[Plan, ...], tuple[Step, ...]]:
    """A signed mail is never cut: it goes whole or not at all, as `on_signed` says."""
    worse = next((plan for plan in plans if plan.disposition is not Disposition.RELAY), None)
    if worse is not None:
        agreed = all(plan.disposition is worse.disposition for plan in plans)
        disposition = worse.disposition if agreed or worse.disposition is Disposition.WITHHOLD else Disposition.HOLD
        ruling = Ruling(disposition, worse.reason, worse.detail)
        return (_plan(case, group, _whole(case, units, ruling), 1),), ()
    policy = case.directory.terms.check.on_signed
    whole = _whole(case, units, Ruling())
    if policy is Policy.RELAY and whole.to is not None:
        return (_plan(case, group, whole, 1),), (Step("signed_whole"),)
    disposition = Disposition.REFUSE if policy is Policy.REFUSE else Disposition.HOLD
    whole = replace(whole, ruling=Ruling(disposition, Reason.SIGNED_MAIL))
    return (_plan(case, group, whole, 1),), ()


def unidentified(case: Case, recipient: str, why: Unidentified) -> Plan:
    """A mail of which no client is told: held whole, without an address, until the configuration tells one."""
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


def unreadable(case: Case, group: Group, ruling: Ruling, to: str | None) -> Plan:
    """A mail whose documents cannot be told (encrypted, a fragment, TNEF): one plan, whole."""
    return _plan(case, group, Unit(case.documents, to=to, ruling=ruling), 1)
