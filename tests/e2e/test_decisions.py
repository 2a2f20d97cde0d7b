"""The decision table through the daemon in its own process: what arrives, and what the queue says, is the row's plan.

Every mail that arrives is signed (DKIM), whatever its structure.

All rows are run, in one daemon, its configuration reloaded for each group of settings (SIGHUP). The check of documents
alone is replaced (see tests/support/daemon_with_given_reports.py).
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.policy import default
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay import serialization
from relay.demo.receiver import Arrival, Receiver
from relay.mime.rewriting import render
from relay.model import Action, Disposition, Plan
from relay.reasons import SENTENCES, Reason, describe
from relay.replies import Reply
from relay.routing.decision import Decision
from relay.routing.policy import Policy, Terms
from tests.support.configured_stage import ConfiguredStage
from tests.support.decisions import Setting, setting
from tests.support.dkim_keys import DOMAIN, SELECTOR, key, pem, verified

TABLE = Path(__file__).parents[1] / "unit" / "routing" / "decisions"

NOT_CONFIGURABLE = {
    "an address that leads back to this relay is a loop": "`config check` refuses such an address",
}
"""Rows whose settings the YAML cannot say, and why: decide() alone meets them."""


@dataclass
class Row:
    """One row, what decide() says of it, and what the daemon did."""

    row: Mapping[str, Any]
    case: Setting
    decision: Decision
    reply: Reply | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    queue: list[dict[str, Any]] = field(default_factory=list)


def rows() -> list[Row]:
    found = []
    for file in sorted(TABLE.glob("*.yaml")):
        for number, row in enumerate(yaml.safe_load(file.read_text("utf-8"))):
            if row["claim"] not in NOT_CONFIGURABLE:
                case = setting(row, f"-{file.stem}-{number}")
                found.append(Row(row, case, case.decide()))
    return found


def reports(table: list[Row]) -> dict[str, str]:
    """What the check is to say of each document, by the sha256 of its octets in the message."""
    reported = {}
    for each in table:
        message = each.case.message
        for entity, report in zip(message.attachments, each.case.reports, strict=True):
            reported[sha256(message.raw[entity.body.start : entity.body.end]).hexdigest()] = serialization.dump(
                report
            ).decode()
    return reported


def without_duplicates(terms: Terms) -> Terms:
    """`terms`, under which the spool holds no row for bearing the invoice of another row: a row stands for itself."""
    return replace(terms, check=replace(terms.check, on_duplicate=Policy.RELAY))


async def run(stage: ConfiguredStage, receiver: Receiver, table: list[Row]) -> None:
    """Every row through the daemon, one reload for each group of settings."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for each in table:
        groups[json.dumps(each.row.get("settings", {}), sort_keys=True)].append(each)
    started = False
    for group in groups.values():
        stage.take(without_duplicates(group[0].case.directory.terms))
        if not started:
            started = await stage.start()
            assert started, stage.log.read_text("utf-8")
        else:
            await stage.reload()
        mails = [(each.case.envelope.addresses, each.case.message.raw) for each in group]
        for each, reply in zip(group, await asyncio.to_thread(stage.submit_all, mails), strict=True):
            each.reply = reply
    relayed = [plan for each in table if each.decision.refusal is None for plan in each.decision.plans]
    wanted = sum(plan.disposition is Disposition.RELAY for plan in relayed)
    assert await receiver.wait(wanted, 60), f"{len(receiver.arrivals)} of {wanted} mails arrived"
    await stage.logged("delivered", 60, times=wanted)  # the next hop has them before the spool knows it
    await _collect(stage, receiver, table)


async def _collect(stage: ConfiguredStage, receiver: Receiver, table: list[Row]) -> None:
    by_id = {each.reply.text: each for each in table if each.reply is not None and each.reply.code == 250}
    for arrival in receiver.arrivals:
        found = re.search(r"\bid (\S+?);?\s", arrival.message["Received"])
        assert found is not None
        by_id[found[1]].arrivals.append(arrival)
    for line in await stage.command("queue", "list", "--all"):
        by_id[line["queue_id"]].queue.append(line)


@pytest.fixture
async def table(tmp_path: Path) -> AsyncIterator[list[Row]]:
    folder = tmp_path
    all_rows = rows()
    (folder / "told.json").write_text(json.dumps(reports(all_rows)), encoding="utf-8")
    receiver = Receiver()
    await receiver.start()
    key_file = folder / "dkim.pem"
    key_file.write_bytes(pem("ed25519"))
    key_file.chmod(0o600)
    dkim = {"domain": DOMAIN, "selector": SELECTOR, "private_key": str(key_file)}
    stage = ConfiguredStage(folder, receiver.port, given_reports=folder / "told.json", relay={"dkim": dkim})
    try:
        await run(stage, receiver, all_rows)
        yield all_rows
    finally:
        await stage.stop()
        await receiver.close()


async def test_the_daemon_does_what_each_row_says(table: list[Row]) -> None:
    faults = [f"{each.row['claim']}: {fault}" for each in table for fault in faults_of(each)]
    assert not faults, "\n".join(faults)
    assert len(table) + len(NOT_CONFIGURABLE) >= 164


def faults_of(row: Row) -> list[str]:
    assert row.reply is not None
    if "refuse" in row.row:
        code = SENTENCES[Reason(row.row["refuse"])].smtp[0]
        return [] if row.reply.code == code and not row.arrivals else [f"answered {row.reply}, not {code}"]
    if all(plan.reason is Reason.UNKNOWN_CLIENT for plan in row.decision.plans) and recipient_alone(row):
        # decide() would hold it; the relay does not let it come so far.
        return [] if (row.reply.code, row.reply.enhanced) == (550, "5.1.1") else [f"answered {row.reply}"]
    if row.reply.code != 250:
        return [f"answered {row.reply}"]
    if not all(verified(each.content, key("ed25519")) for each in row.arrivals):
        return ["dkimpy does not take our signature"]
    if len(row.arrivals) != sum(line["state"] == "delivered" for line in row.queue):
        return [f"{len(row.arrivals)} mails arrived"]
    seen, wanted = (
        outcome(row),
        [expected(plan, each) for plan, each in zip(row.decision.plans, row.row["expect"], strict=True)],
    )
    return [] if seen == wanted else [f"\n  seen   {seen}\n  wanted {wanted}"]


def recipient_alone(row: Row) -> bool:
    """Does nothing but the envelope recipient tell the client?"""
    return all(step.by == "recipient" for step in row.case.directory.terms.identify)


def expected(plan: Plan, reported: Mapping[str, Any]) -> dict[str, Any]:
    """What the row says, and where it says nothing, what its plan says."""
    held = reported.get("hold") or reported.get("withhold")
    state = "held" if "hold" in reported else "withheld" if "withhold" in reported else "delivered"
    keep = [each.filename for each in plan.documents if each.action is Action.KEEP]
    return {
        "state": state,
        "to": reported.get("to", plan.to[0] if plan.to else None),
        "reason": held,
        "keep": reported.get("keep", keep) if state == "delivered" else None,
        "detail": str(reported.get("detail", "")) in describe(plan.detail),
    }


def outcome(row: Row) -> list[dict[str, Any]]:
    """What the daemon did of the row, one plan a line."""
    came = [(each.recipient, body_of(each.content)) for each in row.arrivals]
    seen = []
    for line in sorted(row.queue, key=lambda line: int(line["number"])):
        place = int(line["number"]) - 1
        plan = row.decision.plans[place] if place < len(row.decision.plans) else None
        arrived = None
        if line["state"] == "delivered" and plan is not None:
            left = (line["recipient"], body_of(b"".join(render(row.case.message.raw, plan.prepend, plan.cuts))))
            arrived = row.arrivals[came.index(left)] if left in came else None
        seen.append(
            {
                "state": line["state"],
                "to": arrived.recipient if arrived else line["recipient"],
                "reason": line["reason"],
                "keep": names(arrived, plan) if arrived and plan else None,
                "detail": plan is not None and (line["detail"] or "") == describe(plan.detail),
            }
        )
    return seen


def names(arrival: Arrival, plan: Plan) -> list[str]:
    """File names of the documents that arrived, in order."""
    known = {each.filename for each in plan.documents}
    parts = message_from_bytes(arrival.content, policy=default).walk()
    return [name for part in parts if (name := part.get_filename()) is not None and name in known]


def body_of(mail: bytes) -> bytes:
    return mail.partition(b"\r\n\r\n")[2].rstrip(b"\r\n")
