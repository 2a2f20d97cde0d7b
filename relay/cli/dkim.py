"""`agiris-relay dkim`: the record to publish, and whether the one published fits the key."""

import json
import sys
from pathlib import Path

import click

from relay.cli.context import NO, Context, fail, options
from relay.dkim.dns_record import differences, joined, place, zone_line
from relay.dkim.signature import Signer, signer


@click.group()
def dkim() -> None:
    """DKIM: the record to publish in DNS, and whether it fits the key."""


@dkim.command("record")
@click.option("--zone", is_flag=True, help="As a line of a zone file.")
@options
def record_command(context: Context, zone: bool) -> None:
    """Print the TXT record of the key under `dkim` in relay.yaml: its name and its value.

    Exit: 0 · 1 no `dkim` in relay.yaml · 78 faulty configuration, the key too.
    """
    by = _signer(context)
    if context.as_json:
        values = {"name": place(by), "type": "TXT", "value": by.record(), "algorithm": by.algorithm, "bits": by.bits}
        click.echo(json.dumps(values))
    elif zone:
        click.echo(zone_line(by))
    else:
        click.echo(f"name   {place(by)}\ntype   TXT\nvalue  {by.record()}")


@dkim.command("check")
@click.argument("record", required=False)
@options
def check_command(context: Context, record: str | None) -> None:
    """Read the key, sign with it, and compare it with RECORD: the value in DNS, or - for standard input.

    \b
    dig +short TXT relay._domainkey.example.com | agiris-relay dkim check -

    Without RECORD the key alone is checked. Nothing is asked of DNS.
    Exit: 0 · 1 it does not fit, or no `dkim` in relay.yaml · 78 faulty configuration, the key too.
    """
    by = _signer(context)
    text = None if record is None else joined(sys.stdin.read() if record == "-" else record)
    faults = [] if text is None else list(differences(text, by) if text else [f"no record at {place(by)}"])
    if context.as_json:
        values = {"name": place(by), "algorithm": by.algorithm, "bits": by.bits, "compared": text is not None}
        click.echo(json.dumps({"ok": not faults, **values, "faults": faults}))
    else:
        click.echo(f"key: {by.algorithm}, {by.bits} bits, for {place(by)}")
        for fault in faults:
            click.echo(f"record: {fault}", err=True)
        if text is not None and not faults:
            click.echo("record: fits the key")
    sys.exit(NO if faults else 0)


def _signer(context: Context) -> Signer:
    configured = context.relay_settings().dkim
    if configured is None:
        fail(f'{context.directory}/relay.yaml: no "dkim": nothing is signed. Fix: add domain, selector, private_key')
    return signer(configured.domain, configured.selector, Path(configured.private_key).read_bytes())
