"""JSON Schema (2020-12) of both files, for editors: defaults written as a person writes them in YAML."""

from typing import Any

from relay.settings.firm_schema import FirmYaml
from relay.settings.parsers import as_duration, as_size
from relay.settings.relay_schema import RelayYaml
from relay.settings.types import DURATION, SIZE

DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def schemas() -> dict[str, Any]:
    """The schemas, by "relay" and "firm"."""
    return {
        "relay": {**DIALECT, **_written(RelayYaml.model_json_schema())},
        "firm": {**DIALECT, **_written(FirmYaml.model_json_schema())},
    }


def _written(node: Any) -> Any:
    if isinstance(node, list):
        return [_written(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: _written(value) for key, value in node.items() if not (key == "default" and value is None)}
    if "default" not in found:
        return found
    default = found["default"]
    if node.get("pattern") == DURATION["pattern"]:
        found["default"] = as_duration(default)
    elif node.get("pattern") == SIZE["pattern"]:
        found["default"] = as_size(default)
    elif node.get("type") == "string" and isinstance(default, list):
        found["default"] = ":".join(map(str, default))
    elif "$ref" in node or isinstance(default, dict):
        del found["default"]
    return found
