"""`agiris-relay explain`: what would become of a mail, by the very steps of the daemon; sends and stores nothing."""

import asyncio
import json
import sys
import time
from pathlib import Path

import click

from relay.cli.context import NO, USAGE, Context, fail, options
from relay.cli.words import say
from relay.export.directory import Directory
from relay.export.explain import as_json, lines
from relay.intake import NOT_OURS, Judgement, judge, refused_recipient
from relay.mail.malformed import MalformedMail
from relay.mail.rewrite import render
from relay.mail.spans import parse
from relay.model import Disposition, Envelope, Recipient, new_queue_id
from relay.reason import mend, sentence
from relay.reply import Reply
from relay.settings.settings import Settings
from relay.smtpd.content import TOO_LARGE, flaw, repair
from relay.workers import Pool


@click.command()
@click.argument("mail", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--recipient", multiple=True, metavar="ADDRESS", help="Envelope recipient (default: the mail's To).")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the mail that would leave.")
@click.option("--language", type=click.Choice(["en", "fr"]), default="en", show_default=True)
@options
def explain(context: Context, mail: Path, recipient: tuple[str, ...], write: Path | None, language: str) -> None:
    """Client, role, documents, cuts, findings, destination or reason to hold of one MAIL (a file, or - for stdin)."""
    settings = context.settings()
    raw = _crlf(sys.stdin.buffer.read() if str(mail) == "-" else mail.read_bytes())
    directory = Directory(settings.terms)
    try:
        envelope = _envelope(raw, recipient, language)
        judgement = asyncio.run(_judge(envelope, raw, directory, settings))
    except MalformedMail as error:
        fail(say("malformed file", language, mail, error.text(language)))
    decision = judgement.decision
    refused_by_server = _server_refusal(raw, settings)
    if context.as_json:
        told = as_json(decision, directory, language)
        told["smtp_refusal"] = str(refused_by_server) if refused_by_server else None
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        if refused_by_server:
            click.echo(say("refused by the server", language, refused_by_server))
        for address in envelope.addresses:
            reply = refused_recipient(address, directory)
            if reply is not None:
                click.echo(say("not ours" if reply is NOT_OURS else "no client", language, address))
        if decision.refusal and not decision.plans:
            why = sentence(decision.refusal.reason, decision.refusal.detail, language)
            click.echo(say("refused", language, why))
            click.echo(say("to mend", language, mend(decision.refusal.reason, language)))
        for line in lines(decision, directory, language):
            click.echo(line)
    if write is not None:
        _write(write, raw, judgement, language)


async def _judge(envelope: Envelope, raw: bytes, directory: Directory, settings: Settings) -> Judgement:
    pool = Pool(1, settings.terms.check.timeout)
    await pool.start()
    try:
        return await judge(envelope, raw, new_queue_id(), time.time(), directory, pool)
    finally:
        await pool.close()


def _server_refusal(raw: bytes, settings: Settings) -> Reply | None:
    """What the SMTP server answers to these very octets before anybody judges them; None when it accepts them."""
    if settings.accept.bare_lf == "repair":
        raw = repair(raw)
    return TOO_LARGE if len(raw) > settings.accept.max_mail_size else flaw(raw)


def _crlf(raw: bytes) -> bytes:
    """A mail saved on disk often has bare LF line ends; on the wire it has CRLF."""
    return raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")


def _envelope(raw: bytes, recipients: tuple[str, ...], language: str) -> Envelope:
    addresses = recipients
    if not addresses:
        _, _, bare = (parse(raw).root.first("to") or "").rpartition("<")
        addresses = (bare.partition(">")[0].strip(),)
    if not all("@" in address for address in addresses):
        fail(say("no usable To", language), USAGE)
    return Envelope("", tuple(Recipient(address) for address in addresses), peer="127.0.0.1", helo="explain")


def _write(path: Path, raw: bytes, judgement: Judgement, language: str) -> None:
    """The first mail that would leave; the others beside it as PATH.2, PATH.3, …"""
    leaving = [plan for plan in judgement.decision.plans if plan.disposition is Disposition.RELAY]
    if not leaving:
        fail(say("none leaves", language), NO)
    for number, plan in enumerate(leaving, 1):
        target = path if number == 1 else path.with_name(f"{path.name}.{number}")
        target.write_bytes(b"".join(render(raw, plan.prepend, plan.cuts)))
        click.echo(say("wrote", language, target), err=True)
