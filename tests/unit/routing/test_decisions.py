"""The decision table: every row of tests/unit/routing/decisions/*.yaml through decide()."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.checker.verification import verify
from relay.model import Action, Disposition, Plan
from relay.reasons import Reason, describe
from relay.routing.decision import Decision
from tests.support.decisions import setting

TABLE = Path(__file__).parent / "decisions"
ROWS = [(file.stem, row) for file in sorted(TABLE.glob("*.yaml")) for row in yaml.safe_load(file.read_text("utf-8"))]

# Reasons that decide() does not give: the spool, the queue manager and an operator do.
ELSEWHERE = {Reason.DUPLICATE_DOCUMENT, Reason.UNSETTLED, Reason.BY_OPERATOR, Reason.RESTORED}


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{stem}: {row['claim']}") for stem, row in ROWS])
def test_decision(row: Mapping[str, Any]) -> None:
    case = setting(row)
    asked, evaluation = case.evaluation()
    verify(evaluation, asked, case.message.raw, case.directory)  # the daemon must not take it for a worker's lie
    decision = evaluation.decision
    if "refuse" in row:
        assert decision.refusal is not None and decision.refusal.reason == row["refuse"]
        return
    assert decision.refusal is None
    seen = [reported(plan) for plan in decision.plans]
    assert len(seen) == len(row["expect"]), seen
    for plan, expected in zip(decision.plans, row["expect"], strict=True):
        compare(plan, expected, decision)


def compare(plan: Plan, expected: Mapping[str, Any], decision: Decision) -> None:
    wanted = dict(expected)
    detail, steps = wanted.pop("detail", None), wanted.pop("steps", ())
    wanted.setdefault("hold", None)
    wanted.setdefault("withhold", None)
    seen = reported(plan)
    assert {key: seen[key] for key in wanted} == wanted
    if detail is not None:
        assert str(detail) in describe(plan.detail)
    assert set(steps) <= {step.code for step in decision.steps}


def reported(plan: Plan) -> dict[str, Any]:
    """A plan in the words of the table."""
    names = {action: [each.filename for each in plan.documents if each.action is action] for action in Action}
    return {
        "client": f"{plan.firm}/{plan.dossier}",
        "firm": plan.firm,
        "by": plan.by,
        "to": plan.to[0] if plan.to else None,
        "role": plan.role.value,
        "keep": names[Action.KEEP],
        "remove": names[Action.REMOVE],
        "hold": plan.reason.value if plan.reason and plan.disposition is Disposition.HOLD else None,
        "withhold": plan.reason.value if plan.reason and plan.disposition is Disposition.WITHHOLD else None,
        "answers": list(plan.answers),
    }


def test_every_reason_is_reached() -> None:
    given: set[str] = set()
    for _, row in ROWS:
        given.add(row.get("refuse", ""))
        for expected in row.get("expect", ()):
            given |= {expected.get("hold", ""), expected.get("withhold", "")}
    missing = {reason.value for reason in Reason} - given - {reason.value for reason in ELSEWHERE}
    assert not missing, f"no row of the decision table gives: {', '.join(sorted(missing))}"


def test_claims_are_reported_once() -> None:
    claims = [row["claim"] for _, row in ROWS]
    assert len(claims) == len(set(claims))
    assert len(claims) >= 80
