"""How the documents of a unit fit the destination: how many mails, and which octets of the raw mail leave it out."""

from collections.abc import Collection, Iterable, Sequence

from relay.export.terms import Destination
from relay.export.unit import Case, Unit
from relay.mail.fields import after_mbox_line
from relay.mail.rewrite import part_cuts
from relay.model import Span

HEADROOM = 1024  # octets reckoned for what we put on top, before it is known to the octet


def fits(case: Case, keep: Collection[int], destination: Destination) -> bool:
    """Would the mail with only these documents fit, as far as can be told before it is planned?"""
    others = set(case.documents) - set(keep)
    size = _octets(case) - _lengths(case, others)
    return size <= destination.max_mail_size and len(keep) <= destination.max_attachments


def divide(case: Case, unit: Unit, destination: Destination) -> tuple[tuple[int, ...], ...]:
    """What each mail of `unit` keeps: all in one if it fits, else the core with what fits, the rest in further mails.

    A document too large even alone gets a mail of its own, which the caller finds not to fit.
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


def _octets(case: Case) -> int:
    """Of the mail with all its documents. An mbox separator does not leave with it."""
    raw = case.message.raw
    return len(raw) + HEADROOM - after_mbox_line(raw, 0, len(raw))


def _lengths(case: Case, indexes: Iterable[int]) -> int:
    cuts = [case.entities[index].cut for index in indexes]
    return sum([cut.end - cut.start for cut in cuts])


def body_cuts(case: Case, keep: Iterable[int]) -> tuple[Span, ...]:
    """Cuts that leave of all documents only those in `keep`."""
    kept = set(keep)
    doomed = [case.entities[index] for index in case.documents if index not in kept]
    return part_cuts(case.message, doomed) if doomed else ()


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
        role_by=", ".join(dict.fromkeys(unit.role_by for unit in units if unit.role_by)),
    )
