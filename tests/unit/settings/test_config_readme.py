"""config/README.md tells every key and every reason, with the defaults and sentences that are in force: both ways."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.locale.catalogue import translate
from relay.reasons import SENTENCES, Reason
from relay.settings.load import load
from relay.settings.schema import schemas, with_tables
from relay.settings.settings import read_at_start

CONFIG = Path(__file__).parents[3] / "config"
README = (CONFIG / "README.md").read_text(encoding="utf-8")
FILES = {"relay": "## relay.yaml", "firm": "## firms/FIRM.yaml"}
NAMES = {"destinations": "agiris", "smarthosts": "default", "connections": "agiris"}
SCHEMAS = schemas()
AT_START = {*read_at_start(), "accept.backlog"}


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under `heading`, without its head."""
    section = re.split(r"^## ", README.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def keys(schema: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key with its part of the schema."""
    for key, below in _properties(schema, node):
        yield f"{path}{key}", below
        yield from keys(schema, below, f"{path}{key}.")
    if isinstance(items := node.get("items"), dict):
        yield from keys(schema, items, f"{path[:-1]}[].")
    if isinstance(more := node.get("additionalProperties"), dict):
        yield from keys(schema, more, f"{path}<name>.")
    for each in node.get("anyOf", ()):
        yield from keys(schema, each, path)


def _properties(schema: dict[str, Any], node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    yield from node.get("properties", {}).items()


def value(cell: str) -> Any:
    return None if cell == "—" else yaml.safe_load(cell.strip("`"))


def test_the_tables_are_those_that_the_declaration_gives() -> None:
    assert with_tables(README) == README, "renew the page: python -m relay.settings.schema config/README.md"


@pytest.mark.parametrize("which", FILES)
def test_the_tables_hold_every_key_and_no_other(which: str) -> None:
    listed = [row[0].strip("`") for row in rows(FILES[which])]
    assert sorted(listed) == sorted({key for key, _ in keys(SCHEMAS[which], SCHEMAS[which])})
    assert all(row[4] for row in rows(FILES[which]))


@pytest.mark.parametrize("which", FILES)
def test_the_defaults_in_the_tables_are_those_in_force(which: str) -> None:
    known = dict(keys(SCHEMAS[which], SCHEMAS[which]))
    for key, _, default, *_ in rows(FILES[which]):
        found = known[key.strip("`")].get("default")
        written = None if default == "—" else default.strip("`")
        assert str(value(default)) == str(found) or written == found or value(default) == found, key


def test_the_tables_say_what_takes_a_restart() -> None:
    for key, read, *_ in rows(FILES["relay"]):
        name = key.strip("`")
        at_start = name in AT_START or re.split(r"[.\[]", name)[0] in AT_START
        assert read == ("start" if at_start else "live"), key
    assert {row[1] for row in rows(FILES["firm"])} == {"live"}


def test_the_examples_together_are_a_sound_configuration(tmp_path: Path) -> None:
    tree = {which: _tree(rows(heading)) for which, heading in FILES.items()}
    del tree["relay"]["smarthosts"]["default"]["token_file"]  # in place of the password
    (tmp_path / "firms").mkdir()
    (tmp_path / "relay.yaml").write_text(yaml.safe_dump(tree["relay"], sort_keys=False))
    (tmp_path / "firms" / "durand.yaml").write_text(yaml.safe_dump(tree["firm"], sort_keys=False))
    # The files of keys and passwords are not there; nothing else may be wrong.
    faults = [str(fault) for fault in load(tmp_path).faults if "No such file" not in str(fault)]
    assert faults == []


def _tree(table: list[list[str]]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, _, _, example, _ in table:
        path = key.strip("`")
        if example == "—" or path == "identify[].header" or path == "clients[].agiris_address":
            continue
        *above, last = path.split(".")
        node = root
        for index, each in enumerate(above):
            if each.endswith("[]"):
                node = node.setdefault(each[:-2], [{}])[0]
            else:
                node = node.setdefault(NAMES[above[index - 1]] if each == "<name>" else each, {})
        node[last] = value(example)
    return root


def test_every_reason_is_documented_with_its_sentence_and_fix() -> None:
    table = {row[0].strip("`"): row[1:] for row in rows("## Why a document is held, withheld or refused")}
    assert set(table) == {reason.value for reason in Reason}
    for reason, text in SENTENCES.items():
        expected = [f"{source}<br>{translate(source, 'fr')}" for source in (text.text, text.fix)]
        assert table[reason] == [each.replace("{detail}", "…").replace("|", "\\|") for each in expected], reason
