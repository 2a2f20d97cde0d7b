"""What every command shares: where the configuration is, human text or JSON, and how errors reach the user."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import click

from relay import serialization
from relay.observability.systemd import DENIED, denied_configuration
from relay.settings.load import RELAY, Loaded, firm_files, load, load_relay, load_spool_key
from relay.settings.settings import Settings
from relay.settings.yaml_file import is_file

READ_FOR_WARNING = 256 * 1024
"""Octets of YAML up to which a command that needs the spool alone reads all of it, to warn of its errors."""

OK, NO, USAGE, TRY_LATER, CONFIG_FAULT = 0, 1, 2, 75, 78

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Context:
    """directory: the folder of relay.yaml. as_json: JSON Lines on stdout instead of text."""

    directory: Path
    as_json: bool

    def settings(self) -> Settings:
        """What is in force; a faulty configuration prints every fault and ends with 78 (EX_CONFIG)."""
        return self._sound(load(self.directory))

    def relay_settings(self) -> Settings:
        """What relay.yaml says, without firms and clients; it ends as `settings` does, but for no fault of a firm."""
        return self._sound(load_relay(self.directory))

    def spool_url(self) -> str:
        """The spool that relay.yaml names. Other faults of the configuration are one warning; 78 without a spool."""
        key = load_spool_key(self.directory)
        if key.url is None:
            self._faulty(Loaded(None, key.faults, errors=len(key.faults)))
        if errors := self._errors():
            click.echo(
                f"warning: {self.directory}: the configuration has {errors} error{'s' if errors > 1 else ''}"
                " (`agiris-relay config check` shows them); this command uses its key `spool` only",
                err=True,
            )
        return key.url

    def _errors(self) -> int:
        """How many errors the configuration has, but for files that this user may not read."""
        files = [self.directory / RELAY, *firm_files(self.directory)]
        try:
            small = sum(file.stat().st_size for file in files) <= READ_FOR_WARNING
        except OSError:
            small = False
        loaded = load(self.directory) if small else load_relay(self.directory)
        return loaded.errors - sum(DENIED in fault.what for fault in loaded.faults)

    def _sound(self, loaded: Loaded) -> Settings:
        if loaded.settings is None:
            self._faulty(loaded)
        return loaded.settings

    def _faulty(self, loaded: Loaded) -> NoReturn:
        for fault in loaded.faults:
            click.echo(str(fault), err=True)
        self.explain_denied(loaded)
        sys.exit(CONFIG_FAULT)

    def explain_denied(self, loaded: Loaded) -> None:
        """Print the command that works, when the current user may not read a file of the configuration."""
        if (hint := denied_configuration((fault.what for fault in loaded.faults), self.directory / RELAY)) is not None:
            click.echo(hint, err=True)

    def print_json(self, values: Iterable[object]) -> None:
        """One JSON line a value."""
        for value in values:
            click.echo(json.dumps(serialization.plain(value), ensure_ascii=False))


def default_directory() -> Path:
    """`config` in the working directory if it holds relay.yaml, else /etc/agiris-relay."""
    here = Path("config")
    return here if is_file(here / RELAY) else Path("/etc/agiris-relay")


def options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--config DIR` and `--json`, and its function a `context` argument."""

    def with_context(*args: Any, config: Path | None, as_json: bool, **kwargs: Any) -> R:
        root = click.get_current_context().find_root()
        directory = config or root.params.get("config") or default_directory()
        chosen = as_json or bool(root.params.get("as_json"))
        return command(*args, context=Context(Path(directory), chosen), **kwargs)

    with_context.__name__ = command.__name__
    with_context.__doc__ = command.__doc__
    with_context.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    return shared_options(with_context)


def shared_options(command: Callable[..., R]) -> Callable[..., R]:
    """The two options themselves; on the top group too, so that they may stand before the command."""
    command = click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output.")(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path, file_okay=False, readable=False),
        default=None,
        metavar="DIR",
        help="Folder of relay.yaml (default: ./config, else /etc/agiris-relay).",
    )(command)


def fail(message: str, code: int = NO) -> NoReturn:
    """One sentence on stderr, and the exit code."""
    click.echo(message, err=True)
    sys.exit(code)
