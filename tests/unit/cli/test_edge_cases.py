"""The edge of the commands: what nobody foresaw is one sentence, never a traceback."""

import click
import pytest
from click.testing import CliRunner

from relay import cli


def test_an_unforeseen_error_is_one_sentence_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise ValueError("content of an invoice")

    monkeypatch.setattr(cli.Lazy, "get_command", lambda *_: broken)
    monkeypatch.delenv("AGIRIS_RELAY_TRACEBACK", raising=False)
    result = CliRunner().invoke(cli.main, ["queue"])
    assert result.exit_code == 75
    assert "unforeseen error: ValueError at test_edge_cases.py" in result.stderr
    assert "invoice" not in result.stderr.replace("invoices", "")
    assert "Traceback" not in result.stderr


def test_help_names_every_command_and_loads_none() -> None:
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    for name in cli.COMMANDS:
        assert name in result.stdout


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help(name: str) -> None:
    assert CliRunner().invoke(cli.main, [name, "--help"]).exit_code == 0
