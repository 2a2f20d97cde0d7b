"""The commands, one file a group: arguments, output and exit codes around the packages that do the work. A command is
imported when it is called."""

import importlib
import os
import traceback
from pathlib import Path

import click

from relay.observability.systemd import denied

COMMANDS = {
    "run": ("relay.cli.run", "run", "The daemon, in the foreground."),
    "demo": ("relay.cli.run", "demo", "The main job on real input, nothing to prepare."),
    "config": ("relay.cli.config", "config", "Check and show the configuration."),
    "facturx": ("relay.cli.facturx", "facturx", "Check Factur-X files."),
    "explain": ("relay.cli.explain", "explain", "Dry run of one message: sends nothing."),
    "queue": ("relay.cli.replan", "queue", "The deliveries: list, show, hold, release, retry, drop, replan, export."),
    "spool": ("relay.cli.spool", "spool", "The spool as a whole: backup, restore, check."),
    "dkim": ("relay.cli.dkim", "dkim", "DKIM: the record to publish in DNS, and whether it fits the key."),
    "users": ("relay.cli.users", "users", "SMTP users: make a line of a users file."),
    "trace": ("relay.cli.explain", "trace", "Where is this document? Its whole story."),
}


class Lazy(click.Group):
    """A group whose commands are imported when they are called: `config check` must not load a PDF library."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """The edge of every command: what nobody foresaw is one sentence, and the traceback only for who asks."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except PermissionError as error:
            click.echo(denied(str(error.filename or "a file")), err=True)
            ctx.exit(2)
        except Exception as error:
            if os.environ.get("AGIRIS_RELAY_TRACEBACK"):
                raise
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            click.echo(
                f"unforeseen error: {type(error).__name__} at {where}. Nothing was lost in the spool; try again, and"
                " report it with what AGIRIS_RELAY_TRACEBACK=1 prints",
                err=True,
            )
            ctx.exit(75)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=Lazy)
@click.version_option(package_name="agiris-relay", message="agiris-relay %(version)s")
@click.option(
    "--config",
    type=click.Path(path_type=Path, file_okay=False, readable=False),
    default=None,
    metavar="DIR",
    help="Folder of relay.yaml (default: ./config, else /etc/agiris-relay).",
)
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output.")
def main(config: Path | None, as_json: bool) -> None:
    """SMTP relay from the invoicing platform jefacture.com to the accounting software Agiris.

    Exit: 0 done · 1 the answer is "no" · 2 wrong usage · 75 try later · 78 faulty configuration.
    """
