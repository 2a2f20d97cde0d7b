"""`run` and `demo`."""

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import click

from relay.cli.context import NO, Context, options
from relay.daemon import serve
from relay.demo.play import play


@click.command()
@options
def run(context: Context) -> None:
    """Take messages in, check them, relay them. SIGHUP reloads the configuration, SIGTERM and SIGQUIT drain and stop.

    Exit: 0 stopped when asked · 75 port taken or spool in use · 78 faulty configuration, or a
    spool of a newer release.
    """
    sys.exit(asyncio.run(serve(context.directory)))


@click.command()
@click.option("--keep", is_flag=True, help="Leave all running, and print how to send a message of one's own.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output: one a message, and the whole.")
def demo(keep: bool, as_json: bool) -> None:
    """Start the real daemon, submit messages over real SMTP, show what arrived, was cut, is held and why."""
    values = as_json or bool(click.get_current_context().find_root().params.get("as_json"))
    if values and keep:
        raise click.UsageError("--keep speaks to a person: leave --json out")
    playing = play(_discard, tell=_print) if values else play(click.echo, keep=keep)
    try:
        right = asyncio.run(_until_stopped(playing))
    except (KeyboardInterrupt, asyncio.CancelledError):
        right = True
    sys.exit(0 if right else NO)


async def _until_stopped(playing: Coroutine[Any, Any, bool]) -> bool:
    """By Ctrl-C, SIGTERM or the end of the terminal: each ends the daemon and removes the folder."""
    task = asyncio.ensure_future(playing)
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _print(value: dict[str, object]) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def _discard(_: str) -> None:
    """In place of the output for a person, where JSON is printed."""
