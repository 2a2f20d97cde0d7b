"""What derives from the declaration of the settings: the JSON Schema of both files, and the tables of config/README.md.

`python -m relay.settings.schema config/README.md` writes the tables anew."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from relay.settings.firm_file import FirmFile
from relay.settings.settings import RelayFile
from relay.settings.validate import json_schema

DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
TABLES = {"relay": "## relay.yaml", "firm": "## firms/FIRM.yaml"}
_END = "...\n"  # what PyYAML writes after a lone scalar
HEAD = ["| key | read | default | example | meaning |", "|---|---|---|---|---|"]


def schemas() -> dict[str, Any]:
    """The schemas (2020-12), by "relay" and "firm", for editors."""
    return {"relay": DIALECT | json_schema(RelayFile), "firm": DIALECT | json_schema(FirmFile)}


def with_tables(page: str) -> str:
    """`page`, the text of config/README.md, with the table of each file as it follows from the declaration."""
    for which, schema in schemas().items():
        before, head, after = page.partition("\n".join([TABLES[which], "", *HEAD]) + "\n")
        assert head, f"{TABLES[which]} is not followed by its table"
        page = before + head + "".join(f"{row}\n" for row in _rows(schema, schema)) + re.sub(r"^(\|.*\n)+", "", after)
    return page


def _rows(schema: dict[str, Any], node: dict[str, Any], path: str = "", read: str = "live") -> Iterator[str]:
    """A line for each key at `path` and below it."""
    for key, below in _resolved(schema, node).get("properties", {}).items():
        reads = below.get("x-read", read)
        cells = [f"`{path}{key}`", reads, _cell(below.get("default")), _cell(_example(below)), below["description"]]
        yield "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"
        yield from _rows(schema, below, f"{path}{key}.", reads)
    if isinstance(items := node.get("items"), dict):
        yield from _rows(schema, items, f"{path[:-1]}[].", read)
    if isinstance(more := node.get("additionalProperties"), dict):
        yield from _rows(schema, more, f"{path}<name>.", read)
    for alternative in node.get("anyOf", ()):
        yield from _rows(schema, alternative, path, read)


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        resolved: dict[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return resolved
    return node


def _example(node: dict[str, Any]) -> Any:
    return next(iter(node.get("examples", ())), None)


def _cell(value: Any) -> str:
    """`value` as it stands in YAML, on one line."""
    if value is None:
        return "—"
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=sys.maxsize)
    return f"`{text.removesuffix(_END).strip()}`".replace("'", '"')


def main() -> None:
    page = Path(sys.argv[1])
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
