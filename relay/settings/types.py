"""The readers of `scalars` as pydantic types, each with its JSON Schema for editors."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from relay.inspection import Severity
from relay.settings import parsers
from relay.settings.parsers import Endpoint, InvalidValue


@dataclass(frozen=True)
class Read:
    """Annotation: the value is what `reader` makes of the text. Anything but a text is refused."""

    reader: Callable[[str], Any]
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"}, compare=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.schema)

    def read(self, value: object) -> Any:
        try:
            return self.reader(only_text(value))
        except InvalidValue as bad:
            raise refusal(bad) from None


def refusal(bad: InvalidValue) -> PydanticCustomError:
    """`bad` as pydantic carries it."""
    return PydanticCustomError("bad", "{what}", {"what": bad.what, "fix": bad.fix})


def only_text(value: object) -> str:
    """`value` if it is one text; Bad says what it is instead."""
    if isinstance(value, str):
        return value
    if value is None:
        raise InvalidValue('"{key}" has no value', "write a value after the colon, or remove the key")
    if isinstance(value, list):
        raise InvalidValue(
            f'"{{key}}" takes one value, got a list of {len(value)}', "write one value, without [ ] or -"
        )
    raise InvalidValue('"{key}" takes one value, got a map of keys', "write the value on the same line as the key")


def one_of(*names: str) -> Read:
    """One of a closed list of words."""

    def read(value: str) -> str:
        if value in names:
            return value
        near = difflib.get_close_matches(value, names, 1, 0.6)
        fix = f"Did you mean {near[0]}?" if near else f"write {_choice(names)}"
        raise InvalidValue(f'"{{key}}" must be one of {", ".join(names)}; got "{value}"', fix)

    return Read(read, {"enum": list(names)})


def _choice(names: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _whole(low: int, high: int) -> Read:
    return Read(lambda value: parsers.integer(value, low, high), {"type": "integer", "minimum": low, "maximum": high})


def _severity(value: str) -> Severity:
    if value in ("error", "warning", "info"):
        return Severity(value)
    raise InvalidValue(f'"{{key}}" must be one of error, warning, info; got "{value}"', "write error, warning or info")


DURATION = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|sec|m|min|h|d)$", "examples": ["5 min", "30 d"]}
SIZE = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(B|kB|MB|GB|KiB|MiB|GiB)$", "examples": ["50 MiB"]}
_EMAIL = {"type": "string", "format": "email"}

Bool = Annotated[bool, Read(parsers.boolean, {"type": "boolean"})]
Text = Annotated[str, Read(parsers.text)]
Name = Annotated[str, Read(parsers.name)]
Path_ = Annotated[str, Read(parsers.text)]
Count = Annotated[int, _whole(1, 1_000_000)]
Few = Annotated[int, _whole(1, 1_000)]
Factor = Annotated[float, Read(parsers.number, {"type": "number", "minimum": 1, "maximum": 100})]
Duration = Annotated[float, Read(parsers.duration, DURATION)]
Size = Annotated[int, Read(parsers.size, SIZE)]
Hostname = Annotated[str, Read(parsers.hostname, {"type": "string", "format": "hostname"})]
Host = Annotated[str, Read(parsers.host)]
Exchanger = Annotated[str, Read(parsers.exchanger, {"type": "string", "examples": ["*.provider.example"]})]
Port = Annotated[int, Read(parsers.port, {"type": "integer", "minimum": 1, "maximum": 65535})]
HostPort = Annotated[Endpoint, Read(parsers.endpoint, {"type": "string", "examples": ["127.0.0.1:2525"]})]
HttpEndpoint = Annotated[
    Endpoint | None, Read(parsers.http_endpoint, {"type": "string", "examples": ["127.0.0.1:9525", "off"]})
]
Network = Annotated[str, Read(parsers.network, {"type": "string", "examples": ["127.0.0.0/8"]})]
Email = Annotated[str, Read(parsers.address, _EMAIL)]
Pattern = Annotated[str, Read(parsers.pattern, {"type": "string", "examples": ["*@export.relay.example"]})]
Siren = Annotated[str, Read(parsers.siren, {"type": "string", "pattern": "^[0-9 ]+$"})]
Siret = Annotated[str, Read(parsers.siret, {"type": "string", "pattern": "^[0-9 ]+$"})]
SpoolUrl = Annotated[str, Read(parsers.spool_url, {"type": "string", "examples": ["sqlite:///var/lib/a.db"]})]
Level = Annotated[Severity, Read(_severity, {"enum": ["error", "warning", "info"]})]


class Strict(BaseModel):
    """A map whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
