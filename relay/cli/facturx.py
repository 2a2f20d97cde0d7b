"""`agiris-relay facturx check`: the verdict on files, by the same pool and the same rules as the daemon."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import click

from relay import serialization
from relay.checker import CheckerPool
from relay.cli.context import NO, OK, TRY_LATER, USAGE, Context, fail, options
from relay.inspection import Candidate, Finding, Options, Report, Severity, Verdict
from relay.single_line import replace_unprintable

SUFFIXES = (".pdf", ".xml")
LARGEST = 100 * 1024 * 1024
TIMEOUT = 30.0

_COLOURS = {
    Verdict.VALID: "green",
    Verdict.INVALID: "red",
    Verdict.UNDETERMINED: "yellow",
    Verdict.NOT_FACTURX: "cyan",
    Severity.ERROR: "red",
    Severity.WARNING: "yellow",
    Severity.INFO: "blue",
}


@click.group()
def facturx() -> None:
    """Check Factur-X files."""


@facturx.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE|DIR|-...")
@click.option("--level", type=click.Choice(["off", "structure", "full"]), help="How deep; else as configured.")
@click.option("--french-rules", type=click.Choice(["off", "warning", "error"]), help="BR-FR; else as configured.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; else as configured.")
@options
def check(
    context: Context, files: Sequence[str], level: str | None, french_rules: str | None, workers: int | None
) -> None:
    """Say whether each FILE (PDF or XML; `-`: standard input; DIR: all of them below it) is a valid Factur-X.

    Exit: 0 all valid · 1 at least one is not, or there was nothing to check · 2 a file cannot be read.
    """
    asked, size, timeout = _configured(context)
    asked = Options(level or asked.level, french_rules or asked.french_rules, asked.severities)
    names = list(_expanded(files))
    if not names:
        fail("no PDF and no XML there", NO)
    sys.exit(asyncio.run(_run(names, asked, workers or min(size, len(names)), timeout, as_json=context.as_json)))


def _configured(context: Context) -> tuple[Options, int, float]:
    """The daemon's own settings where there are any; this command also works where none is installed."""
    with suppress(PermissionError):  # relay_settings() reports what may not be read
        if not (context.directory / "relay.yaml").is_file():
            return Options(), 2, TIMEOUT
    check = context.relay_settings().terms.check
    return Options(check.level, check.french_rules, check.severities), check.workers, check.timeout


async def _run(files: list[str], asked: Options, size: int, timeout: float, *, as_json: bool) -> int:
    pool = CheckerPool(size, timeout)
    code = OK
    try:
        try:
            await pool.start()
        except OSError as error:
            fail(f"no worker process could be started: {error.strerror or error}", TRY_LATER)
        if pool.self_test is not None and asked.level == "full":
            click.echo(f"the engine of the business rules failed its self-test: {pool.self_test}", err=True)
        async for name, outcome in _reports(pool, files, asked, size):
            if isinstance(outcome, OSError):
                click.echo(f"{name}: {outcome.strerror or outcome}", err=True)
                code = USAGE
                continue
            click.echo(_json(name, outcome) if as_json else _human(name, outcome))
            if outcome.verdict is not Verdict.VALID:
                code = code or NO
    finally:
        await pool.close()
    return code


async def _reports(
    pool: CheckerPool, files: list[str], asked: Options, size: int
) -> AsyncIterator[tuple[str, Report | OSError]]:
    """In the order asked for, some read ahead so that no worker idles and memory stays bounded."""
    ahead: list[tuple[str, asyncio.Task[Report | OSError]]] = []
    pending = iter(files)
    try:
        while True:
            while len(ahead) < 2 * size and (name := next(pending, None)) is not None:
                ahead.append((name, asyncio.create_task(_one(pool, name, asked))))
            if not ahead:
                return
            name, task = ahead.pop(0)
            yield name, await task
    finally:
        for _, task in ahead:
            task.cancel()


async def _one(pool: CheckerPool, name: str, asked: Options) -> Report | OSError:
    try:
        content = await asyncio.to_thread(_read, name)
    except OSError as error:
        return error
    (report,) = await pool.inspect([Candidate(content, filename=name)], asked)
    return report


def _read(name: str) -> bytes:
    if name == "-":
        content = sys.stdin.buffer.read(LARGEST + 1)
    else:
        with Path(name).open("rb") as file:
            content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError("larger than 100 MB")
    return content


def _expanded(files: Sequence[str]) -> Iterator[str]:
    for name in files:
        if name != "-" and Path(name).is_dir():
            yield from (str(path) for path in sorted(Path(name).rglob("*")) if _is_document(path))
        else:
            yield name


def _is_document(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _json(name: str, report: Report) -> str:
    return json.dumps({"file": name, **serialization.plain(report)}, ensure_ascii=False)


def _human(name: str, report: Report) -> str:
    verdict = click.style(report.verdict.value, fg=_COLOURS[report.verdict], bold=True)
    facts = [" ".join(filter(None, (report.kind.value, report.profile)))]
    if report.number:
        facts.append(f"{report.type_code or '?'} {report.number}")
        facts.append(" → ".join(party.siren or party.name or "?" for party in (report.seller, report.buyer)))
    head = f"{_printable(name)}: {verdict} ({_printable(' · '.join(facts))}) {report.ms:.1f} ms"
    return "\n".join([head, *(_finding(finding) for finding in report.findings)])


def _finding(finding: Finding) -> str:
    severity = click.style(f"{finding.severity.value:7}", fg=_COLOURS[finding.severity])
    return f"  {severity} {_printable(f'{finding.rule} [{finding.where}] {finding.text}')}"


def _printable(text: str) -> str:
    """Without control characters: a name in an XML must not drive the terminal."""
    return replace_unprintable(text, "")
