"""One fault in the configuration stops only the commands that need what is faulty."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay import cli
from relay.settings.load import load_spool_key
from relay.spool.open import open_spool
from tests.support.config_faults import COMPLETE, RELAY, write
from tests.support.dkim_keys import pem

SPOOL = "spool: sqlite:spool.db\n"
DKIM = "dkim: {domain: relay.test.example, selector: relay, private_key: dkim.pem}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, RELAY + SPOOL + DKIM, a=COMPLETE)
    (tmp_path / "dkim.pem").write_bytes(pem("ed25519"))
    (tmp_path / "dkim.pem").chmod(0o600)

    async def make() -> None:
        await open_spool(f"sqlite://{tmp_path}/spool.db").close()

    asyncio.run(make())
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.main, [*words, "--config", str(folder)])


ON_SPOOL = (
    ("queue", "list", 1),
    ("queue", "show", "ABCDEF", 1),
    ("queue", "hold", "ABCDEF", 1),
    ("trace", "F-2026-117", 1),
    ("spool", "check", 0),
    ("spool", "backup", "copy.db", 0),
)
WARNING = (
    "the configuration has 1 error (`agiris-relay config check` shows them); this command uses its key `spool` only"
)


@pytest.mark.parametrize("words", ON_SPOOL, ids=lambda words: " ".join(map(str, words[:2])))
def test_a_typo_in_a_firm_stops_no_command_that_needs_the_spool_alone(
    folder: Path, words: tuple[str | int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "firms" / "a.yaml").write_text(COMPLETE.replace("original_pdf", "original_pfd"))
    result = run(folder, *map(str, words[:-1]))
    assert result.exit_code == words[-1], result.stderr
    assert f"warning: {folder}: {WARNING}" in result.stderr


@pytest.mark.parametrize(
    "relay",
    [
        RELAY + SPOOL + "langage: fr\n",
        RELAY + SPOOL + "log: {level: info\n",
        RELAY.replace("hostname", "\thostname") + SPOOL,
        RELAY + SPOOL.replace("sqlite:spool.db", '"sqlite:spool.db"  # here') + "- x\n",
    ],
)
def test_a_fault_elsewhere_in_relay_yaml_is_a_warning(folder: Path, relay: str) -> None:
    (folder / "relay.yaml").write_text(relay)
    result = run(folder, "spool", "check")
    assert result.exit_code == 0, result.stderr
    assert "warning: " in result.stderr


def test_a_sound_configuration_gives_no_warning(folder: Path) -> None:
    assert run(folder, "spool", "check").stderr == ""


@pytest.mark.parametrize(
    ("relay", "url"),
    [
        (RELAY, "sqlite:///var/lib/agiris-relay/spool.db"),
        (RELAY + "spool: sqlite:///srv/spool.db\n", "sqlite:///srv/spool.db"),
        (RELAY + "spool: postgresql://x\n", None),
        (RELAY + "spool: [a]\n", None),
        (RELAY + "spool:\n", None),
        (RELAY + "log: {\nspool: sqlite:///a.db\nspool: sqlite:///b.db\n", None),
        ("", "sqlite:///var/lib/agiris-relay/spool.db"),
    ],
)
def test_the_spool_is_the_one_that_relay_yaml_names_or_none(tmp_path: Path, relay: str, url: str | None) -> None:
    key = load_spool_key(write(tmp_path, relay))
    assert (key.url, key.faults == ()) == (url, url is not None)


def test_without_relay_yaml_there_is_no_spool(folder: Path) -> None:
    (folder / "relay.yaml").unlink()
    result = run(folder, "queue", "list")
    assert result.exit_code == 78
    assert "No such file" in result.stderr


def test_commands_that_need_relay_yaml_alone_do_not_read_the_firms(folder: Path) -> None:
    (folder / "firms" / "a.yaml").write_text("firm: [\n")
    assert run(folder, "dkim", "record").exit_code == 0
    (folder / "x.xml").write_text("<x/>")
    result = run(folder, "facturx", "check", str(folder / "x.xml"), "--json")
    assert result.exit_code == 1, result.stderr
    assert json.loads(result.stdout)["verdict"]


@pytest.mark.parametrize("words", [("config", "show"), ("queue", "replan", "ABCDEF")])
def test_commands_that_need_the_firms_end_with_78(folder: Path, words: tuple[str, ...]) -> None:
    (folder / "firms" / "a.yaml").write_text("firm: [\n")
    assert run(folder, *words).exit_code == 78
