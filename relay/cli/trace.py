"""`agiris-relay trace`: where is this document? Its whole story."""

import json
import sys
from collections.abc import Callable

import click

from relay.cli.context import NO, Context, options
from relay.cli.queue import language_option, on_spool, spool_option
from relay.cli.queue_view import record_json, record_lines
from relay.cli.words import say
from relay.spool.port import Query, Record, Spool


@click.command()
@click.argument("term")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Mails at most.")
@language_option
@spool_option
@options
def trace(context: Context, term: str, limit: int, language: str, url: str | None) -> None:
    """Every mail that TERM names: a queue id, Message-ID, invoice number, SIREN, sha256 or dossier. Exit 1: none."""

    def show(record: Record) -> None:
        if context.as_json:
            click.echo(json.dumps(record_json(record)))
        else:
            click.echo("\n".join(record_lines(record, language)) + "\n")

    if not on_spool(context, url, lambda spool: _each(spool, term, limit, show)):
        click.echo(say("nothing known", language, term), err=True)
        sys.exit(NO)


async def _each(spool: Spool, term: str, limit: int, show: Callable[[Record], None]) -> int:
    """Show one record after the other, for each holds the message's content; how many."""
    found = await spool.find(Query(term=term))
    shown = 0
    for queue_id in list(dict.fromkeys(delivery.queue_id for delivery in found))[-limit:]:
        if (record := await spool.show(queue_id)) is not None:
            show(record)
            shown += 1
    return shown
