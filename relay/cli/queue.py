"""`agiris-relay queue`: look at the deliveries and give orders, whether or not the daemon runs.

Each command is a function on a Spool and a thin shell. The daemon sees an order at its next look at the queue.
"""

import asyncio
import json
import os
import pwd
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click

from relay.cli.context import CONFIG_FAULT, NO, TRY_LATER, USAGE, Context, fail, options
from relay.cli.queue_view import Hidden, not_moved, not_shown, record_json, record_lines, row, table
from relay.locale.catalogue import translate
from relay.model import Delivery, OperatorAction, State
from relay.observability.systemd import denied
from relay.spool.open import open_spool, path_of
from relay.spool.port import Query, Spool, SpoolBusy, SpoolError, SpoolFull, SpoolNewer

T = TypeVar("T")

UNFINISHED = frozenset(state for state in State if not state.final)

language_option = click.option("--language", type=click.Choice(["en", "fr"]), default="en", show_default=True)
spool_option = click.option("--spool", "url", hidden=True, default=None, help="URL of the spool.")


@click.group()
def queue() -> None:
    """The deliveries: list, show, hold, release, retry, drop, replan, export."""


@queue.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in State]))
@click.option("--client", metavar="DOSSIER", help="DOSSIER or FIRM/DOSSIER.")
@click.option("--all", "every", is_flag=True, help="All deliveries, the relay's own notices among them.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True)
@language_option
@spool_option
@options
def list_(
    context: Context,
    states: tuple[str, ...],
    client: str | None,
    every: bool,
    limit: int,
    language: str,
    url: str | None,
) -> None:
    """Deliveries that are not finished, newest last, without the relay's own notices; how many are not shown.

    With --state those in that state, notices too; of more than --limit the oldest. Exit 1 when there is none to show.
    """
    firm, _, dossier = (client or "").rpartition("/")
    wanted = Query(frozenset(map(State, states)), dossier or None, firm or None, newest=not states, limit=limit)
    if not states and not every:
        wanted = replace(wanted, states=UNFINISHED, generated=False)
    deliveries, hidden = on_spool(context, url, lambda spool: listed(spool, wanted))
    _print(context, deliveries, language)
    if summary := not_shown(hidden, language):
        click.echo(summary, err=context.as_json)
    if not deliveries:
        sys.exit(NO)


async def listed(spool: Spool, wanted: Query) -> tuple[tuple[Delivery, ...], Hidden]:
    """The deliveries of `queue list`, and how many of the same client it leaves out."""
    deliveries = await spool.find(wanted)
    beyond = await spool.count(wanted) - len(deliveries)
    if wanted.generated is None:
        return deliveries, Hidden(newer=0 if wanted.newest else beyond, older=beyond if wanted.newest else 0)
    finished = await spool.count(replace(wanted, states=frozenset(State) - UNFINISHED))
    notices = await spool.count(replace(wanted, states=frozenset(), generated=True))
    return deliveries, Hidden(finished, notices, older=beyond)


@queue.command()
@click.argument("id", metavar="ID")
@language_option
@spool_option
@options
def show(context: Context, id: str, language: str, url: str | None) -> None:
    """One message: envelope, plan, documents, and every attempt with the remote's answer."""
    queue_id, _ = parse_id(id)
    record = on_spool(context, url, lambda spool: spool.show(queue_id))
    if record is None:
        fail(translate("no message {id} in the queue", language, id=queue_id))
    if context.as_json:
        click.echo(json.dumps(record_json(record)))
    else:
        click.echo("\n".join(record_lines(record, language)))


@queue.command()
@click.argument("id", metavar="ID")
@click.option("--to", "target", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), required=True)
@spool_option
@options
def export(context: Context, id: str, target: Path, url: str | None) -> None:
    """The message as received, to a file (mode 0600, never an existing one) or to standard output (-)."""
    queue_id, _ = parse_id(id)
    record = on_spool(context, url, lambda spool: spool.show(queue_id))
    if record is None or not record.message.raw:
        fail(f"no content of a message {queue_id} in the queue")
    if str(target) == "-":
        sys.stdout.buffer.write(record.message.raw)
        return
    try:
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 (mode)
            file.write(record.message.raw)
    except OSError as error:
        fail(f"{target}: {error.strerror}", USAGE)


def _order_command(verb: str, text: str) -> None:
    @queue.command(verb, help=f"{text} Exit 1 when an ID is left as it was.")
    @click.argument("ids", metavar="ID...", nargs=-1, required=True)
    @click.option("--reason", default="", metavar="TEXT", help="Kept in the history with your name.")
    @language_option
    @spool_option
    @options
    def command(context: Context, ids: tuple[str, ...], reason: str, language: str, url: str | None) -> None:
        action = OperatorAction(verb, operator(), reason)
        changed, complaints = on_spool(context, url, lambda spool: carry_out(spool, ids, action, language))
        _print(context, changed, language)
        for complaint in complaints:
            click.echo(complaint, err=True)
        if complaints:
            sys.exit(NO)


_order_command("hold", "Keep deliveries from leaving.")
_order_command("release", "Let held or withheld deliveries leave.")
_order_command("retry", "Attempt deferred or failed deliveries now.")
_order_command("drop", "Give deliveries up: they will not be sent.")


async def carry_out(
    spool: Spool, ids: Sequence[str], action: OperatorAction, language: str
) -> tuple[list[Delivery], list[str]]:
    """Apply one order to all of `ids` (QUEUEID or QUEUEID.n): the deliveries changed, and why others were not.

    Of a whole message, deliveries to which the order does not apply are passed over in silence when it applies to some.
    """
    changed: list[Delivery] = []
    complaints: list[str] = []
    for id in ids:
        queue_id, number = parse_id(id)
        made = await spool.apply_action(queue_id, number, action, time.time())
        changed += made
        if not made:
            left = await spool.find(Query(queue_id=queue_id))
            left = tuple(delivery for delivery in left if number in (None, delivery.number))
            complaints += [not_moved(delivery, action.verb, language) for delivery in left]
            if not left:
                complaints.append(translate("no delivery {id} in the queue", language, id=id))
    return changed, complaints


def parse_id(id: str) -> tuple[str, int | None]:
    """QUEUEID or QUEUEID.n; another form ends the command with 2."""
    queue_id, dot, number = id.partition(".")
    if not queue_id.isalnum() or (dot and not number.isdecimal()):
        fail(f"{id} is no queue id: write QUEUEID or QUEUEID.n", USAGE)
    return queue_id.upper(), int(number) if dot else None


def operator() -> str:
    """Who gives the order, as the history names them."""
    known = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME")
    if known:
        return known
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def on_spool(context: Context, url: str | None, work: Callable[[Spool], Awaitable[T]]) -> T:
    """What `work` gives on the spool of the settings (or at `url`); a spool that cannot be used ends the command."""

    async def run() -> T:
        spool = open_spool(permitted(url or context.spool_url()), exclusive=False)
        try:
            return await work(spool)
        finally:
            await spool.close()

    return guarded(lambda: asyncio.run(run()))


def permitted(url: str) -> str:
    """`url`, when the current user may read and write the spool there (or there is none); else the command ends."""
    if not url.startswith("sqlite:"):
        return url
    path = path_of(url)
    try:
        path.stat()
    except FileNotFoundError:
        return url
    except PermissionError:
        fail(denied(path), USAGE)
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        fail(denied(path), USAGE)
    return url


def guarded(work: Callable[[], T]) -> T:
    """What `work` gives; a spool that cannot be used ends the command with one sentence."""
    try:
        return work()
    except (SpoolBusy, SpoolFull) as error:
        fail(str(error), TRY_LATER)
    except SpoolNewer as error:
        fail(str(error), CONFIG_FAULT)
    except SpoolError as error:
        if isinstance(error.__cause__, PermissionError):
            fail(f"{error}: {denied(str(error.__cause__.filename or 'the spool'))}", USAGE)
        fail(str(error), NO)
    except ValueError as error:
        fail(str(error), USAGE)


def _print(context: Context, deliveries: Sequence[Delivery], language: str) -> None:
    if context.as_json:
        context.print_json(row(delivery, language) for delivery in deliveries)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in table(deliveries, language, width):
            click.echo(line)
