"""`agiris-relay queue replan`: decide again with today's configuration, show the difference, then let it go."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import click

from relay.checker import CheckerPool
from relay.cli.context import NO, Context, options
from relay.cli.messages import say, word
from relay.cli.queue import language_option, on_spool, operator, parse_id, queue, spool_option
from relay.intake import evaluate
from relay.mime.message import MalformedMail
from relay.model import Action, Disposition, OperatorAction, Plan
from relay.reasons import sentence
from relay.routing.directory import Directory
from relay.settings.settings import Settings
from relay.spool.port import Record, Spool


@dataclass(frozen=True, slots=True)
class Replanned:
    """One message: what was planned, what would be or is, or why it cannot be decided again."""

    queue_id: str
    before: tuple[Plan, ...] = ()
    after: tuple[Plan, ...] = ()
    complaint: str = ""


@queue.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", default="", metavar="TEXT", help="Kept in the history with your name.")
@click.option("--dry-run", is_flag=True, help="Show the difference; change nothing.")
@language_option
@spool_option
@options
def replan(context: Context, ids: tuple[str, ...], reason: str, dry_run: bool, language: str, url: str | None) -> None:
    """Decide messages again with today's configuration, and let leave what may. What has left already stays as it is.

    Exit 1 when a message is not known, or its content is gone.
    """
    settings = context.settings()
    given = OperatorAction("replan", operator(), reason)
    queue_ids = list(dict.fromkeys(parse_id(id)[0] for id in ids))
    order = None if dry_run else given
    done = on_spool(context, url, lambda spool: _replan(spool, queue_ids, settings, order, language))
    for each in done:
        if each.complaint:
            click.echo(each.complaint, err=True)
        elif context.as_json:
            context.print_json([_json(each)])
        else:
            _show(each, language)
    if any(each.complaint for each in done):
        sys.exit(NO)


async def _replan(
    spool: Spool, queue_ids: Sequence[str], settings: Settings, given: OperatorAction | None, language: str
) -> list[Replanned]:
    pool = CheckerPool(settings.terms.check.workers, settings.terms.check.timeout)
    await pool.start()
    directory = Directory(settings.terms)
    done = []
    try:
        for queue_id in queue_ids:
            record = await spool.show(queue_id)
            made = await _decide(queue_id, record, directory, pool, language)
            if given is not None and not made.complaint:
                await spool.replan(queue_id, made.after, given, time.time())
            done.append(made)
    finally:
        await pool.close()
    return done


async def _decide(
    queue_id: str, record: Record | None, directory: Directory, pool: CheckerPool, language: str
) -> Replanned:
    if record is None:
        return Replanned(queue_id, complaint=say("no mail", language, queue_id))
    if not record.message.raw:
        return Replanned(queue_id, complaint=say("purged", language, queue_id))
    if record.message.generated:
        return Replanned(queue_id, complaint=say("a notice", language, queue_id))
    mail = record.message
    try:
        judgement = await evaluate(mail.envelope, mail.raw, mail.queue_id, mail.arrived, directory, pool)
    except MalformedMail as error:
        return Replanned(queue_id, complaint=say("malformed", language, queue_id, error.text(language)))
    # It was accepted: what would be refused at the door today can only be held.
    after = tuple(
        replace(plan, disposition=Disposition.HOLD) if plan.disposition is Disposition.REFUSE else plan
        for plan in judgement.decision.plans
    )
    if not after:
        return Replanned(queue_id, complaint=say("undecided", language, queue_id))
    live = {delivery.plan for delivery in record.deliveries}
    before = tuple(plan for index, plan in enumerate(mail.plans) if index in live)
    return Replanned(queue_id, before, after)


def _show(each: Replanned, language: str) -> None:
    click.echo(each.queue_id)
    for sign, plans in (("-", each.before), ("+", each.after)):
        for plan in plans:
            click.echo(f"  {sign} {_told(plan, language)}")


def _told(plan: Plan, language: str) -> str:
    cut = sum(document.action is Action.REMOVE for document in plan.documents)
    client = f"{plan.firm}/{plan.dossier}" if plan.dossier else "-"
    to = ", ".join(plan.to) or "-"
    words = [word(plan.disposition.value, language), client, to, f"{cut} {word('cut', language)}"]
    if plan.reason is not None:
        words.append(sentence(plan.reason, plan.detail, language))
    return "  ".join(words)


def _json(each: Replanned) -> dict[str, object]:
    return {
        "queue_id": each.queue_id,
        "before": [_plan(plan) for plan in each.before],
        "after": [_plan(plan) for plan in each.after],
    }


def _plan(plan: Plan) -> dict[str, object]:
    return {
        "disposition": plan.disposition,
        "reason": plan.reason,
        "client": f"{plan.firm}/{plan.dossier}" if plan.dossier else None,
        "to": plan.to,
    }
