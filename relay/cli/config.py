"""`agiris-relay config`: check, show, schema."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from relay import serialization
from relay.cli.context import CONFIG_FAULT, NO, OK, USAGE, Context, fail, options
from relay.observability.systemd import acting_as, assumed_user, current_user
from relay.routing.policy import Client, Firm
from relay.setting_parsers import as_duration, as_size
from relay.settings.load import Loaded, load
from relay.settings.schema import schemas
from relay.settings.settings import Settings

SHOWN = (
    *("name", "siren", "siret", "share_with_firm", "connection", "link_name", "transmit_documents", "original_pdf"),
    *("addresses", "destination", "smarthost", "recipients", "kinds"),
)


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command("check")
@click.option("--user", metavar="NAME", help="Read as this user (root only); root reads as agiris-relay if it exists.")
@options
def check_command(context: Context, user: str | None) -> None:
    """Check relay.yaml, all firms and every file they name, as the service's user: each fault with its place and fix.

    Exit: 0 sound (warnings allowed) · 78 faulty.
    """
    sys.exit(check(context, user))


@config.command("show")
@click.option("--client", "dossier", metavar="DOSSIER", help="One client: its number, or firm/number.")
@options
def show_command(context: Context, dossier: str | None) -> None:
    """Show what is in force: inherited values resolved, each with the file and line it comes from.

    Exit: 0 · 1 no such client · 78 faulty configuration.
    """
    settings = context.settings()
    sys.exit(show(settings, context.directory, context.as_json, dossier))


@config.command("schema")
@click.option("--file", "which", type=click.Choice(["relay", "firm"]), help="The schema of one of the two files only.")
@options
def schema_command(context: Context, which: str | None) -> None:
    """JSON Schema of relay.yaml and of a firm's file, for editors."""
    schema_of = schemas()
    value = schema_of[which] if which else schema_of
    click.echo(json.dumps(value, ensure_ascii=False, indent=None if context.as_json else 2))


def check(context: Context, user: str | None = None) -> int:
    """Print every fault, as seen with the permissions of `user` (None: the service's); OK or CONFIG_FAULT."""
    directory, as_json = context.directory, context.as_json
    name = assumed_user(user)
    loaded = _loaded_as(name, directory)
    if as_json:
        for fault in loaded.faults:
            click.echo(json.dumps(serialization.plain(fault), ensure_ascii=False))
    else:
        for fault in loaded.faults:
            click.echo(str(fault), err=True)
    if loaded.settings is None:
        counts = {"errors": loaded.errors, "warnings": loaded.warned}
        if as_json:
            click.echo(json.dumps({"ok": False, **counts, "user": name}))
        else:
            click.echo(f"{directory}: {_counted(counts)} (read as user {name})", err=True)
            if user is None:
                context.explain_denied(loaded)
        return CONFIG_FAULT
    terms = loaded.settings.terms
    counts = {"firms": len(terms.firms), "clients": len(terms.clients), "warnings": loaded.warned}
    if as_json:
        click.echo(json.dumps({"ok": True, **counts, "user": name}))
    else:
        click.echo(f"{directory}: sound: {_counted(counts)} (read as user {name})")
    return OK


def _loaded_as(name: str, directory: Path) -> Loaded:
    try:
        with acting_as(name):
            return load(directory)
    except LookupError as error:
        fail(str(error.args[0]), USAGE)
    except PermissionError as error:
        if error.filename is not None:
            raise
        fail(f"only root can check as user {name}; this is user {current_user()}", USAGE)


def _counted(counts: Mapping[str, int]) -> str:
    """`7 errors, 1 warning`."""
    return ", ".join(f"{number:,} {noun if number != 1 else noun[:-1]}" for noun, number in counts.items())


def show(settings: Settings, directory: Path, as_json: bool, dossier: str | None) -> int:
    """Print the settings, or the clients numbered `dossier`; OK or NO."""
    clients = list(settings.terms.clients.values())
    if dossier is not None:
        clients = [client for client in clients if dossier in (client.dossier, client.key)]
        if not clients:
            click.echo(f"no client {dossier}", err=True)
            return NO
    daemon = relay_values(settings, units=not as_json) if dossier is None else {}
    if as_json:
        if daemon:
            click.echo(json.dumps({"relay": daemon}, ensure_ascii=False))
        for client in clients:
            value = serialization.plain(client) | {"origins": dict(client.origins)}
            click.echo(json.dumps(value, ensure_ascii=False))
        return OK
    if daemon:
        click.echo("\n".join(_flat(daemon)))
    for client in clients:
        click.echo("\n".join(client_lines(client, settings.terms.firms[client.firm], directory)))
    return OK


def relay_values(settings: Settings, *, units: bool = False) -> dict[str, Any]:
    """What relay.yaml means, in its own keys, without clients and with every secret masked.

    units: durations and sizes as a person writes them; else seconds and octets.
    """
    values: dict[str, Any] = serialization.plain(settings)
    terms = values.pop("terms")
    del terms["clients"]
    for firm in terms["firms"].values():
        del firm["origins"]
    values["accept"] = {"recipients": terms.pop("recipients"), **values["accept"]}
    terms["identify"] = [step["header"] or step["by"] for step in terms["identify"]]
    for smarthost in values["smarthosts"].values():
        for secret in ("password", "token"):
            smarthost[secret] = "********" if smarthost[f"{secret}_file"] else None
    values["listen"] = [{"address": str(listener), **serialization.plain(listener)} for listener in settings.listen]
    values["http"] = str(settings.http) if settings.http else "off"
    merged = {**terms, **values}
    return with_units(merged) if units else merged


def with_units(values: dict[str, Any]) -> dict[str, Any]:
    """Durations and sizes in `values` as a person writes them."""
    written: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            value = with_units(value)
        elif isinstance(value, float) and key != "factor":
            value = as_duration(value)
        elif key.endswith("_size"):
            value = as_size(value)
        written[key] = value
    return written


def client_lines(client: Client, firm: Firm, directory: Path) -> Iterator[str]:
    """One client for a person: value and origin of every setting."""
    yield f"client {client.key}"
    yield from _line("firm", firm.name, firm.origins.get("name"), directory)
    yield from _line("operator", firm.operator, firm.origins.get("operator"), directory)
    for key in SHOWN:
        value, origin = serialization.plain(getattr(client, key)), client.origins.get(key)
        if key != "addresses":
            yield from _line(key, value, origin, directory)
            continue
        kinds = {kind: client.origins[f"addresses.{kind}"] for kind in value if f"addresses.{kind}" in client.origins}
        if not kinds:
            yield from _line("agiris_address", next(iter(value.values())), origin, directory)
        for kind, place in kinds.items():
            yield from _line(f"agiris_address.{kind}", value[kind], place, directory)


def _line(name: str, value: Any, origin: str | None, directory: Path) -> Iterator[str]:
    if origin is not None or value not in (None, "", [], {}):
        yield f"  {name}: {_word(value)}  ({directory / origin if origin else 'default'})"


def _flat(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _flat(below, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, below in enumerate(value):
            yield from _flat(below, f"{path}[{index}]")
    else:
        yield f"{path}: {_word(value)}"


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item is not None) or "{}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "[]"
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "none"}[value]
    return str(value)
