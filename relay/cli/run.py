"""`agiris-relay run`: the daemon in the foreground."""

import asyncio
import sys

import click

from relay.cli.context import Context, options
from relay.daemon import serve


@click.command()
@options
def run(context: Context) -> None:
    """Take mails in, check them, relay them. SIGHUP reloads the configuration, SIGTERM and SIGQUIT drain and stop.

    Exit: 0 stopped when asked · 75 port taken or spool in use · 78 faulty configuration, or a
    spool of a newer release.
    """
    sys.exit(asyncio.run(serve(context.directory)))
