"""`agiris-relay demo`."""

import asyncio
import sys

import click

from relay.cli.context import NO
from relay.demo.play import play


@click.command()
@click.option("--keep", is_flag=True, help="Leave all running, and print how to send a mail of one's own.")
def demo(keep: bool) -> None:
    """Start the real daemon, submit mails over real SMTP, show what arrived, was cut, is held and why."""
    try:
        right = asyncio.run(play(click.echo, keep=keep))
    except KeyboardInterrupt:
        right = True
    sys.exit(0 if right else NO)
