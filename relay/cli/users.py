"""`agiris-relay users`: lines of a users file (`listen[].users_file`), for SMTP AUTH."""

import json
import sys

import click

from relay.cli.context import USAGE, fail
from relay.settings.users_file import make_user_line


@click.group()
def users() -> None:
    """SMTP users."""


@users.command()
@click.argument("name", metavar="NAME")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output.")
def add(name: str, as_json: bool) -> None:
    """Print the line of a users file for NAME.

    The password is asked for twice on a terminal, else it is the first line of standard input; it is never an argument.
    Append the line to the file named by `users_file` (chmod 640), then: systemctl reload agiris-relay.
    """
    try:
        line = make_user_line(name, _password())
    except ValueError as error:
        fail(str(error), USAGE)
    root = click.get_current_context().find_root()
    click.echo(json.dumps({"line": line}) if as_json or root.params.get("as_json") else line)


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.buffer.readline()
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("the password on standard input is not UTF-8") from None
