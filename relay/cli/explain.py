"""`explain` and `trace`: why a message was decided as it was, and what the check of its documents found."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from relay.checker import CheckerPool, CheckFailed, Evaluation, EvaluationRequest
from relay.cli.context import NO, USAGE, Context, fail, options
from relay.cli.queue import language_option, on_spool, spool_option
from relay.cli.queue_view import record_json, record_lines
from relay.intake import LINE_REPLIES, NOT_OURS, reject_recipient, unevaluated
from relay.locale.catalogue import translate
from relay.mime.line_ends import flaw, repair
from relay.mime.message import MalformedMail, MimeMessage
from relay.mime.parser import parse
from relay.mime.rewriting import render
from relay.model import Disposition, Envelope, Recipient, new_queue_id
from relay.reasons import fix, sentence
from relay.replies import Reply
from relay.routing.directory import Directory
from relay.routing.explanation import as_json, lines
from relay.settings.settings import Settings
from relay.smtpd.data import TOO_LARGE
from relay.spool.port import Query, Record, Spool


@click.command()
@click.argument("term")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Mails at most.")
@language_option
@spool_option
@options
def trace(context: Context, term: str, limit: int, language: str, url: str | None) -> None:
    """Every message that TERM names: a queue id, Message-ID, invoice number, SIREN, sha256 or dossier. Exit 1: none."""

    def show(record: Record) -> None:
        if context.as_json:
            click.echo(json.dumps(record_json(record)))
        else:
            click.echo("\n".join(record_lines(record, language)) + "\n")

    if not on_spool(context, url, lambda spool: _each(spool, term, limit, show)):
        click.echo(translate("nothing in the queue is known by {term}", language, term=term), err=True)
        sys.exit(NO)


async def _each(spool: Spool, term: str, limit: int, show: Callable[[Record], None]) -> int:
    """Show one record after the other, for each holds the message's content; how many."""
    deliveries = await spool.find(Query(term=term))
    shown = 0
    for queue_id in list(dict.fromkeys(delivery.queue_id for delivery in deliveries))[-limit:]:
        if (record := await spool.show(queue_id)) is not None:
            show(record)
            shown += 1
    return shown


@click.command()
@click.argument("file", metavar="MAIL", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--recipient", multiple=True, metavar="ADDRESS", help="Envelope recipient (default: the message's To).")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the message that would leave.")
@click.option("--language", type=click.Choice(["en", "fr"]), default="en", show_default=True)
@options
def explain(context: Context, file: Path, recipient: tuple[str, ...], write: Path | None, language: str) -> None:
    """Client, role, documents, cuts, findings, destination or reason to hold of one MAIL (a file, or - for stdin)."""
    settings = context.settings()
    raw = _crlf(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    directory = Directory(settings.terms)
    try:
        envelope = _envelope(parse(raw), recipient, language)
        evaluation = asyncio.run(_evaluate(envelope, raw, directory, settings))
    except MalformedMail as error:
        fail(
            translate(
                "{file}: {why}. Fix: give a whole message, header and body, as the platform sent it",
                language,
                file=file,
                why=error.text(language),
            )
        )
    decision = evaluation.decision
    rejection = _server_rejection(raw, settings)
    if context.as_json:
        values = as_json(decision, directory, language)
        values["smtp_refusal"] = str(rejection) if rejection else None
        click.echo(json.dumps(values, ensure_ascii=False))
    else:
        if rejection:
            click.echo(
                translate(
                    "the SMTP server would reject this message as it stands: {reply}",
                    language,
                    reply=rejection,
                )
            )
        for address in envelope.addresses:
            reply = reject_recipient(address, directory)
            if reply is not None:
                click.echo(_rejected_recipient(reply, address, language))
        if decision.refusal and not decision.plans:
            why = sentence(decision.refusal.reason, decision.refusal.detail, language)
            click.echo(translate("rejected: {why}", language, why=why))
            click.echo(translate("fix: {fix}", language, fix=fix(decision.refusal.reason, language)))
        for line in lines(decision, directory, language):
            click.echo(line)
    if write is not None:
        _write(write, raw, evaluation, language)


def _rejected_recipient(reply: Reply, address: str, language: str) -> str:
    if reply is NOT_OURS:
        return translate(
            "the daemon would answer 550 5.7.1 to RCPT TO:<{address}>: it is no export address",
            language,
            address=address,
        )
    return translate(
        "the daemon would answer 550 5.1.1 to RCPT TO:<{address}>: no client is known for it", language, address=address
    )


async def _evaluate(envelope: Envelope, raw: bytes, directory: Directory, settings: Settings) -> Evaluation:
    pool = CheckerPool(1, settings.terms.check.timeout)
    await pool.start()
    try:
        asked = EvaluationRequest(envelope, new_queue_id(), time.time(), any_line_ends=True, steps=True)
        return await pool.evaluate(asked, raw, directory)
    except CheckFailed as error:
        return unevaluated(asked, raw, directory, error)
    finally:
        await pool.close()


def _server_rejection(raw: bytes, settings: Settings) -> Reply | None:
    """What the SMTP server answers to these very octets before it evaluates them; None when it accepts them."""
    if settings.accept.bare_lf == "repair":
        raw = repair(raw)
    if len(raw) > settings.accept.max_mail_size:
        return TOO_LARGE
    found = flaw(raw)
    return None if found is None else LINE_REPLIES[found]


def _crlf(raw: bytes) -> bytes:
    """A message saved on disk often has bare LF line ends; on the wire it has CRLF."""
    return raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")


def _envelope(message: MimeMessage, recipients: tuple[str, ...], language: str) -> Envelope:
    addresses = recipients
    if not addresses:
        _, _, bare = (message.root.first("to") or "").rpartition("<")
        addresses = (bare.partition(">")[0].strip(),)
    if not all("@" in address for address in addresses):
        fail(translate("no recipient: the message has no usable To. Fix: add --recipient ADDRESS", language), USAGE)
    return Envelope("", tuple(Recipient(address) for address in addresses), peer="127.0.0.1", helo="explain")


def _write(path: Path, raw: bytes, evaluation: Evaluation, language: str) -> None:
    """The first message that would leave; the others beside it as PATH.2, PATH.3, …"""
    leaving = [plan for plan in evaluation.decision.plans if plan.disposition is Disposition.RELAY]
    if not leaving:
        fail(translate("no message would leave: nothing was written", language), NO)
    for number, plan in enumerate(leaving, 1):
        target = path if number == 1 else path.with_name(f"{path.name}.{number}")
        target.write_bytes(b"".join(render(raw, plan.prepend, plan.cuts)))
        click.echo(translate("wrote {file}", language, file=target), err=True)
