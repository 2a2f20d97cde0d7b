"""`agiris-relay queue replan`: decide again with today's configuration, show the difference, then let it go."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import click

from relay.checker import CheckerPool, CheckFailed, EvaluationRequest
from relay.cli.context import NO, Context, options
from relay.cli.queue import language_option, on_spool, operator, parse_id, queue, spool_option
from relay.cli.queue_view import code_word
from relay.intake import unevaluated
from relay.locale.catalogue import translate
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
    action = OperatorAction("replan", operator(), reason)
    queue_ids = list(dict.fromkeys(parse_id(id)[0] for id in ids))
    order = None if dry_run else action
    done = on_spool(context, url, lambda spool: _replan(spool, queue_ids, settings, order, language))
    for replanned in done:
        if replanned.complaint:
            click.echo(replanned.complaint, err=True)
        elif context.as_json:
            context.print_json([_json(replanned)])
        else:
            _show(replanned, language)
    if any(replanned.complaint for replanned in done):
        sys.exit(NO)


async def _replan(
    spool: Spool, queue_ids: Sequence[str], settings: Settings, action: OperatorAction | None, language: str
) -> list[Replanned]:
    pool = CheckerPool(settings.terms.check.workers, settings.terms.check.timeout)
    await pool.start()
    directory = Directory(settings.terms)
    done = []
    try:
        for queue_id in queue_ids:
            record = await spool.show(queue_id)
            made = await _decide(queue_id, record, directory, pool, language)
            if action is not None and not made.complaint:
                await spool.replan(queue_id, made.after, action, time.time())
            done.append(made)
    finally:
        await pool.close()
    return done


async def _decide(
    queue_id: str, record: Record | None, directory: Directory, pool: CheckerPool, language: str
) -> Replanned:
    if record is None:
        return Replanned(queue_id, complaint=translate("no message {id} in the queue", language, id=queue_id))
    if not record.message.raw:
        gone = translate("{id}: its content is purged; it cannot be decided again", language, id=queue_id)
        return Replanned(queue_id, complaint=gone)
    if record.message.generated:
        notice = translate("{id} is a notice of the relay: use retry or drop", language, id=queue_id)
        return Replanned(queue_id, complaint=notice)
    message = record.message
    asked = EvaluationRequest(message.envelope, message.queue_id, message.arrived, any_line_ends=True)
    try:
        evaluation = await pool.evaluate(asked, message.raw, directory)
    except CheckFailed as error:
        evaluation = unevaluated(asked, message.raw, directory, error)
    refusal = evaluation.decision.refusal
    if refusal is not None and not evaluation.decision.plans:
        why = sentence(refusal.reason, refusal.detail, language)
        return Replanned(queue_id, complaint=translate("{id}: {why}", language, id=queue_id, why=why))
    # It was accepted: what would be rejected today can only be held.
    after = tuple(
        replace(plan, disposition=Disposition.HOLD) if plan.disposition is Disposition.REFUSE else plan
        for plan in evaluation.decision.plans
    )
    live = {delivery.plan for delivery in record.deliveries}
    before = tuple(plan for index, plan in enumerate(message.plans) if index in live)
    return Replanned(queue_id, before, after)


def _show(replanned: Replanned, language: str) -> None:
    click.echo(replanned.queue_id)
    for sign, plans in (("-", replanned.before), ("+", replanned.after)):
        for plan in plans:
            click.echo(f"  {sign} {_summary(plan, language)}")


def _summary(plan: Plan, language: str) -> str:
    cut = sum(document.action is Action.REMOVE for document in plan.documents)
    client = f"{plan.firm}/{plan.dossier}" if plan.dossier else "-"
    to = ", ".join(plan.to) or "-"
    words = [code_word(plan.disposition.value, language), client, to, translate("{count} cut", language, count=cut)]
    if plan.reason is not None:
        words.append(sentence(plan.reason, plan.detail, language))
    return "  ".join(words)


def _json(replanned: Replanned) -> dict[str, object]:
    return {
        "queue_id": replanned.queue_id,
        "before": [_plan(plan) for plan in replanned.before],
        "after": [_plan(plan) for plan in replanned.after],
    }


def _plan(plan: Plan) -> dict[str, object]:
    return {
        "disposition": plan.disposition,
        "reason": plan.reason,
        "client": f"{plan.firm}/{plan.dossier}" if plan.dossier else None,
        "to": plan.to,
    }
