"""What every command shares: where the configuration is, human text or JSON, and how errors reach the user."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import click

from relay import wire
from relay.settings.load import load
from relay.settings.settings import Settings

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
        loaded = load(self.directory)
        if loaded.settings is None:
            for fault in loaded.faults:
                click.echo(str(fault), err=True)
            sys.exit(CONFIG_FAULT)
        return loaded.settings

    def print_json(self, values: Iterable[object]) -> None:
        """One JSON line a value."""
        for value in values:
            click.echo(json.dumps(wire.plain(value), ensure_ascii=False))


def default_directory() -> Path:
    """`config` in the working directory if it holds relay.yaml, else /etc/agiris-relay."""
    here = Path("config")
    return here if (here / "relay.yaml").is_file() else Path("/etc/agiris-relay")


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
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        metavar="DIR",
        help="Folder of relay.yaml (default: ./config, else /etc/agiris-relay).",
    )(command)


def fail(message: str, code: int = NO) -> NoReturn:
    """One sentence on stderr, and the exit code."""
    click.echo(message, err=True)
    sys.exit(code)
