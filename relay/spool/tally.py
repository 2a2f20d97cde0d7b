"""Figures of a period by firm, counted the same way by every engine. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from relay.model import Delivery, Plan, State
from relay.report import Severity, Verdict
from relay.spool.port import Tally


@dataclass
class _Figures:
    mails: int = 0
    late: int = 0
    states: Counter[State] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)


class Tallies:
    """Add mails of the period and what is held now; `result` gives each firm's figures."""

    def __init__(self) -> None:
        self._firms: defaultdict[str | None, _Figures] = defaultdict(_Figures)

    def add(self, plans: Sequence[Plan], deliveries: Iterable[Delivery]) -> None:
        """One mail of the period. Plans that a replan has put out of use have no delivery, and do not count."""
        in_use: dict[int, str | None] = {}
        for each in deliveries:
            firm = self._firms[each.firm]
            firm.states[each.state] += 1
            firm.late += "late" in each.reported
            in_use[each.plan] = each.firm
        for key in set(in_use.values()):
            self._firms[key].mails += 1
        for index, key in in_use.items():
            if index < len(plans):
                self._firms[key].invalid.update(_broken_rules(plans[index]))

    def hold(self, firm: str | None, reason: str, count: int = 1) -> None:
        """Deliveries that are held now."""
        self._firms[firm].held[reason] += count

    def result(self) -> dict[str | None, Tally]:
        return {
            key: Tally(each.mails, dict(each.states), each.late, dict(each.held), dict(each.invalid))
            for key, each in self._firms.items()
        }


def _broken_rules(plan: Plan) -> list[str]:
    """Each rule once a document."""
    return [
        rule
        for document in plan.documents
        if document.report.verdict is Verdict.INVALID
        for rule in {each.rule for each in document.report.findings if each.severity is Severity.ERROR}
    ]
