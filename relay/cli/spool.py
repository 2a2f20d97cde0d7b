"""`agiris-relay spool`: back the spool up, put a backup in its place, check either."""

import sys
import time
from pathlib import Path
from typing import TypeVar

import click

from relay.cli.context import NO, Context, options
from relay.cli.queue import guarded, operator, permitted, spool_option
from relay.cli.queue_view import moment
from relay.spool.open import path_of
from relay.spool.sqlite.backup import Progress
from relay.spool.sqlite.backup import backup as take
from relay.spool.sqlite.backup import restore as put_back
from relay.spool.sqlite.integrity import verify

T = TypeVar("T")
_file = click.Path(dir_okay=False, path_type=Path)


@click.group()
def spool() -> None:
    """The spool as a whole: backup, restore, check."""


@spool.command()
@click.argument("file", metavar="FILE", type=_file)
@spool_option
@options
def backup(context: Context, file: Path, url: str | None) -> None:
    """Copy the spool to FILE, a new file of mode 0600, also while the daemon runs. The copy is checked and durable."""
    taken = time.time()
    done = guarded(lambda: take(_place(context, url), file, taken, _progress("copied")))
    if context.as_json:
        values = {"file": str(file), "octets": done.octets, "mails": done.messages, "taken": moment(taken)}
        context.print_json([values])
    else:
        click.echo(f"{file}: {done.messages} messages, {done.octets} octets, sound. It holds invoices: keep it secret.")


@spool.command()
@click.argument("file", metavar="FILE", type=_file)
@click.option("--force", is_flag=True, help="Also when the spool there holds undelivered messages; it is set aside.")
@spool_option
@options
def restore(context: Context, file: Path, force: bool, url: str | None) -> None:
    """Put the backup FILE in the place of the spool; the daemon must be stopped.

    What waits in the backup may have left since: it is held, reason `restored`, until somebody releases or drops it.
    """
    path = guarded(lambda: _place(context, url))
    done = guarded(lambda: put_back(file, path, time.time(), operator(), force=force, progress=_progress("copied")))
    if context.as_json:
        replaced = None if done.replaced is None else str(done.replaced)
        context.print_json([{"spool": str(path), "mails": done.messages, "held": done.held, "replaced": replaced}])
        return
    click.echo(f"{path}: {done.messages} messages restored")
    if done.replaced is not None:
        click.echo(f"the spool that was there is kept in {done.replaced}")
    if done.held:
        click.echo(f"{done.held} deliveries are held, for they may have been sent since the backup;")
        click.echo("after the start: agiris-relay queue list --state held, then queue release ID or queue drop ID")


@spool.command()
@click.argument("file", metavar="[FILE]", type=_file, required=False)
@spool_option
@options
def check(context: Context, file: Path | None, url: str | None) -> None:
    """Read every page and every message of the spool, or of the backup FILE, against their digests. Exit 1: damaged."""
    path = file or guarded(lambda: _place(context, url))
    result = guarded(lambda: verify(path, _progress("checked")))
    if context.as_json:
        values = {"file": str(path), "schema": result.schema, "mails": result.messages}
        context.print_json([values | {"deliveries": result.deliveries, "faults": result.faults}])
    else:
        states = ", ".join(f"{number} {state}" for state, number in result.deliveries.items()) or "none"
        click.echo(f"{path}: schema {result.schema}, {result.messages} messages, deliveries: {states}")
        click.echo("sound" if not result.faults else f"damaged, {len(result.faults)} faults:")
        for fault in result.faults:
            click.echo(f"  {fault}")
    if result.faults:
        sys.exit(NO)


def _place(context: Context, url: str | None) -> Path:
    return path_of(permitted(url or context.spool_url()))


def _progress(word: str) -> Progress:
    """A line on a terminal that counts up; silent elsewhere."""
    last = -1

    def show(share: float) -> None:
        nonlocal last
        percent = int(share * 100)
        if percent != last and sys.stderr.isatty():
            last = percent
            click.echo(f"\r{percent:3d} % {word}" + ("\n" if percent == 100 else ""), nl=False, err=True)

    return show
