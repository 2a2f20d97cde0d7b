"""How the documents of a unit fit the destination: how many mails, and which octets of the raw mail leave it out."""

from collections.abc import Collection, Iterable, Sequence

from relay.export.terms import Destination
from relay.export.unit import Case, Unit
from relay.mail.message import Entity
from relay.model import Span

HEADROOM = 1024  # octets reckoned for what we put on top, before it is known to the octet


def divide(case: Case, unit: Unit, destination: Destination) -> tuple[tuple[int, ...], ...]:
    """What each mail of `unit` keeps: all in one if it fits, else the core with what fits, the rest in further mails.

    A document too large even alone gets a mail of its own, which the caller finds not to fit.
    """
    lengths = {index: case.entities[index].cut.end - case.entities[index].cut.start for index in case.documents}
    base = len(case.message.raw) - sum(lengths.values()) + HEADROOM

    def fits(keep: Collection[int]) -> bool:
        size = base + sum(lengths[index] for index in keep)
        return size <= destination.max_mail_size and len(keep) <= destination.max_attachments

    if fits((*unit.core, *unit.loose)):
        return (tuple(sorted((*unit.core, *unit.loose))),)
    mails: list[list[int]] = [list(unit.core)]
    for index in unit.loose:
        if mails[-1] and not fits((*mails[-1], index)):
            mails.append([])
        mails[-1].append(index)
    return tuple(tuple(sorted(keep)) for keep in mails)


def body_cuts(case: Case, keep: Iterable[int]) -> tuple[Span, ...]:
    """Cuts that leave of all documents only those in `keep`; a multipart that would be left empty goes whole."""
    kept = set(keep)
    doomed = {case.entities[index].span for index in case.documents if index not in kept}
    if not doomed:
        return ()
    return tuple(_cuts(case.message.root, doomed))


def _cuts(entity: Entity, doomed: Collection[Span]) -> Iterable[Span]:
    for child in entity.children:
        if _gone(child, doomed):
            yield child.cut
        else:
            yield from _cuts(child, doomed)


def _gone(entity: Entity, doomed: Collection[Span]) -> bool:
    if entity.children:
        return all(_gone(child, doomed) for child in entity.children)
    return entity.span in doomed


def merged(cuts: Iterable[Span]) -> tuple[Span, ...]:
    """Ascending and disjoint; what touches is one."""
    result: list[Span] = []
    for span in sorted(cuts):
        if span.start >= span.end:
            continue
        if result and span.start <= result[-1].end:
            result[-1] = Span(result[-1].start, max(result[-1].end, span.end))
        else:
            result.append(span)
    return tuple(result)


def joined(units: Sequence[Unit], destination: Destination) -> tuple[Unit, ...]:
    """Units as mails: apart if the destination wants one invoice a mail, else joined where address and ruling agree."""
    if destination.one_invoice_per_mail:
        return tuple(units)
    groups: dict[tuple[object, ...], list[Unit]] = {}
    for unit in units:
        groups.setdefault((unit.to, unit.ruling.disposition, unit.ruling.reason), []).append(unit)
    return tuple(_join(group) for group in groups.values())


def _join(units: Sequence[Unit]) -> Unit:
    if len(units) == 1:
        return units[0]
    first, roles = units[0], {unit.role for unit in units}
    return Unit(
        core=tuple(index for unit in units for index in unit.core),
        loose=tuple(index for unit in units for index in unit.loose),
        removed=tuple(index for unit in units for index in unit.removed),
        role=roles.pop() if len(roles) == 1 else type(first.role).UNKNOWN,
        to=first.to,
        ruling=first.ruling,
    )
