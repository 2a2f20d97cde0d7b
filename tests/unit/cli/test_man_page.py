"""The manual page documents every command and every option, and no other; shell completion offers them too."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from relay.cli import main

PAGE = Path(__file__).parents[3] / "systemd" / "agiris-relay.8"
COMMON = {"--config", "--json", "--language", "--help", "--version"}


def commands(command: click.Command, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command by its words, with the options of its own."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}".strip())
        return
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    yield path, {name for option in options for name in (*option.opts, *option.secondary_opts)} - COMMON


def documented() -> dict[str, set[str]]:
    """The same, as the page has it."""
    text = PAGE.read_text(encoding="utf-8").split(".SH COMMANDS", 1)[1].split(".SH EXIT STATUS", 1)[0]
    page = {}
    for section in text.split("\n.SS ")[1:]:
        title, _, body = section.partition("\n")
        words = re.match(r"[a-z ]+", title)
        assert words is not None
        options = re.findall(r"^\.TP\n\.BI? (\S+)", body, re.MULTILINE)
        page[words[0].strip()] = {option.replace("\\-", "-") for option in options}
    return page


def test_the_page_documents_every_command_and_option_and_no_other() -> None:
    assert documented() == dict(commands(main))


def test_the_page_documents_the_common_options_once() -> None:
    options = PAGE.read_text(encoding="utf-8").split(".SH OPTIONS", 1)[1].split(".SH COMMANDS", 1)[0]
    assert {option.replace("\\-", "-") for option in re.findall(r"^\.BI? (\S+)", options, re.MULTILINE)} == COMMON


def test_every_command_has_the_option_json() -> None:
    def without(command: click.Command, path: str = "") -> Iterator[str]:
        if isinstance(command, click.Group):
            for name in command.list_commands(context := click.Context(command)):
                below = command.get_command(context, name)
                assert below is not None
                yield from without(below, f"{path} {name}".strip())
        elif not any("--json" in option.opts for option in command.params):
            yield path

    assert list(without(main)) == []


def test_the_page_documents_every_exit_status() -> None:
    page = PAGE.read_text(encoding="utf-8").split(".SH EXIT STATUS", 1)[1].split(".SH ENVIRONMENT", 1)[0]
    assert re.findall(r"^\.B (\d+)", page, re.MULTILINE) == ["0", "1", "2", "74", "75", "78"]


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_formats_the_page_without_a_warning() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", str(PAGE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def completion(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from relay.cli import main; main(prog_name='agiris-relay')"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_bash_gets_a_completion_script() -> None:
    assert "complete -o nosort -F _agiris_relay_completion agiris-relay" in completion(
        _AGIRIS_RELAY_COMPLETE="bash_source"
    )


@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        ("agiris-relay ", {"run", "demo", "config", "facturx", "explain", "queue", "spool", "dkim", "users", "trace"}),
        ("agiris-relay queue ", {"list", "show", "hold", "release", "retry", "drop", "replan", "export"}),
        ("agiris-relay spool re", {"restore"}),
        ("agiris-relay dkim ", {"record", "check"}),
        ("agiris-relay queue list --state he", {"held"}),
        ("agiris-relay spool restore --f", {"--force"}),
    ],
)
def test_completion_offers_commands_options_and_states(words: str, candidates: set[str]) -> None:
    typed = words.split()
    out = completion(
        _AGIRIS_RELAY_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(typed) if words.endswith(" ") else len(typed) - 1),
    )
    assert {line.partition(",")[2] for line in out.splitlines()} == candidates
