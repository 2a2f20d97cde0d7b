"""The manual page tells every command and every option, and no other; and the completion knows them too."""

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
SHARED = {"--config", "--json", "--language", "--help", "--version"}


def commands(command: click.Command, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command by its words, with the options of its own."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}".strip())
        return
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    yield path, {name for each in options for name in (*each.opts, *each.secondary_opts)} - SHARED


def reported() -> dict[str, set[str]]:
    """The same, as the page has it."""
    text = PAGE.read_text(encoding="utf-8").split(".SH COMMANDS", 1)[1].split(".SH EXIT STATUS", 1)[0]
    found = {}
    for section in text.split("\n.SS ")[1:]:
        title, _, body = section.partition("\n")
        words = re.match(r"[a-z ]+", title)
        assert words is not None
        options = re.findall(r"^\.TP\n\.BI? (\S+)", body, re.MULTILINE)
        found[words[0].strip()] = {option.replace("\\-", "-") for option in options}
    return found


def test_every_command_and_option_is_documented_and_no_other() -> None:
    assert reported() == dict(commands(main))


def test_what_commands_share_is_documented_once() -> None:
    options = PAGE.read_text(encoding="utf-8").split(".SH OPTIONS", 1)[1].split(".SH COMMANDS", 1)[0]
    assert {each.replace("\\-", "-") for each in re.findall(r"^\.BI? (\S+)", options, re.MULTILINE)} == SHARED


def test_every_command_gives_json() -> None:
    def without(command: click.Command, path: str = "") -> Iterator[str]:
        if isinstance(command, click.Group):
            for name in command.list_commands(context := click.Context(command)):
                below = command.get_command(context, name)
                assert below is not None
                yield from without(below, f"{path} {name}".strip())
        elif not any("--json" in each.opts for each in command.params):
            yield path

    assert list(without(main)) == []


def test_every_exit_code_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8").split(".SH EXIT STATUS", 1)[1].split(".SH ENVIRONMENT", 1)[0]
    assert re.findall(r"^\.B (\d+)", page, re.MULTILINE) == ["0", "1", "2", "74", "75", "78"]


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_page_has_no_fault_of_form() -> None:
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


def test_the_shell_completes() -> None:
    assert "complete -o nosort -F _agiris_relay_completion agiris-relay" in completion(
        _AGIRIS_RELAY_COMPLETE="bash_source"
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("agiris-relay ", {"run", "demo", "config", "facturx", "explain", "queue", "spool", "dkim", "users", "trace"}),
        ("agiris-relay queue ", {"list", "show", "hold", "release", "retry", "drop", "replan", "export"}),
        ("agiris-relay spool re", {"restore"}),
        ("agiris-relay dkim ", {"record", "check"}),
        ("agiris-relay queue list --state he", {"held"}),
        ("agiris-relay spool restore --f", {"--force"}),
    ],
)
def test_the_tab_key_gives(words: str, found: set[str]) -> None:
    typed = words.split()
    out = completion(
        _AGIRIS_RELAY_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(typed) if words.endswith(" ") else len(typed) - 1),
    )
    assert {line.partition(",")[2] for line in out.splitlines()} == found
