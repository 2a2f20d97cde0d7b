"""How a setting is declared: once, as a field of a frozen dataclass derived from `Section`.

The field's annotation names its type (one of the aliases below), what it means, an example, and whether a change is
live. pydantic validates a section and gives its JSON Schema; both, and the tables of config/README.md, derive from the
field. pydantic itself is not imported here: the processes that only use the values do without it."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from inspect import get_annotations
from typing import Annotated, Any, ClassVar, Self, get_type_hints

from relay import setting_parsers as parsers
from relay.setting_parsers import Endpoint, InvalidValue


@dataclass(frozen=True)
class Meaning:
    """What a setting means, for config/README.md and editors.

    example: a value as YAML gives it. live: applied at a reload; else read once, at start. required: must stand in the
    file though the field has a default. inherited: without it another file or section says the value, not the default.
    """

    text: str
    example: object = None
    live: bool = True
    required: bool = False
    inherited: bool = False


@dataclass(frozen=True)
class Computed:
    """Annotation: no key of the file; filled in when the file is resolved."""


COMPUTED = Computed()


@dataclass(frozen=True)
class NamesFile:
    """Annotation: the value is the name of a file."""


NAMES_FILE = NamesFile()


@dataclass(frozen=True)
class Key:
    """Annotation: the key has another name than the field."""

    name: str


@dataclass(frozen=True)
class NonEmpty:
    """Annotation: a list or a map with at least one entry."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        function = {"type": "no-info", "function": self.check}
        return {"type": "function-before", "function": function, "schema": handler(source)}

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Any:
        schema = handler(core)
        return {**schema, "minProperties" if schema["type"] == "object" else "minItems": 1}

    def check(self, value: object) -> object:
        if value in ([], {}):
            raise InvalidValue('"{key}" is empty', "write at least one entry")
        return value


@dataclass(frozen=True)
class Parsed:
    """Annotation: the value is what `parser` makes of the text. Anything but a text is an error.

    written: the inverse of `parser`, for the defaults of the JSON Schema.
    """

    parser: Callable[[str], Any]
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"}, compare=False)
    written: Callable[[Any], Any] = lambda value: value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return _plain(self.parse)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return dict(self.schema)

    def parse(self, value: object) -> Any:
        return self.parser(value if type(value) is str else only_text(value))


def _plain(function: Callable[[Any], Any]) -> Any:
    """The core schema of pydantic for a function that validates alone."""
    return {"type": "function-plain", "function": {"type": "no-info", "function": function}}


def only_text(value: object) -> str:
    """`value` if it is one text; InvalidValue says what it is instead."""
    if isinstance(value, str):
        return value
    if value is None:
        raise InvalidValue('"{key}" has no value', "write a value after the colon, or remove the key")
    if isinstance(value, list):
        raise InvalidValue(
            f'"{{key}}" takes one value, got a list of {len(value)}', "write one value, without [ ] or -"
        )
    raise InvalidValue('"{key}" takes one value, got a map of keys', "write the value on the same line as the key")


def one_of(*values: str) -> Parsed:
    """One of a closed list of words; members of a string enum are given back as such."""
    by_name = {str(value): value for value in values}
    names = list(by_name)

    def parse(text: str) -> str:
        if text in by_name:
            return by_name[text]
        near = difflib.get_close_matches(text, names, 1, 0.6)
        fix = f"Did you mean {near[0]}?" if near else f"write {_choice(names)}"
        raise InvalidValue(f'"{{key}}" must be one of {", ".join(names)}; got "{text}"', fix)

    return Parsed(parse, {"enum": names}, str)


def _choice(names: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _integer(low: int, high: int, **schema: int) -> Parsed:
    limits = schema or {"minimum": low, "maximum": high}
    return Parsed(lambda text: parsers.integer(text, low, high), {"type": "integer", **limits})


def _string(*examples: str, **schema: str) -> dict[str, Any]:
    return {"type": "string", **schema} | ({"examples": list(examples)} if examples else {})


_DURATION = _string("5 min", "30 d", pattern=r"^[0-9]+(\.[0-9]+)? ?(ms|s|sec|m|min|h|d)$")
_SIZE = _string("50 MiB", pattern=r"^[0-9]+(\.[0-9]+)? ?(B|kB|MB|GB|KiB|MiB|GiB)$")
_DIGITS = _string(pattern="^[0-9 ]+$")
_FACTOR = {"type": "number", "minimum": 1, "maximum": 100}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}

Bool = Annotated[bool, Parsed(parsers.boolean, {"type": "boolean"})]
Text = Annotated[str, Parsed(parsers.text)]
Name = Annotated[str, Parsed(parsers.name)]
FileName = Annotated[str, Parsed(parsers.text), NAMES_FILE]
"""A file: relative to the folder of relay.yaml, or the name of a systemd credential."""
Count = Annotated[int, _integer(1, 1_000_000)]
SmallCount = Annotated[int, _integer(1, 1_000)]
Rate = Annotated[int, _integer(0, 1_000_000, minimum=0)]
Factor = Annotated[
    float, Parsed(parsers.number, _FACTOR, lambda factor: int(factor) if factor == int(factor) else factor)
]
Duration = Annotated[float, Parsed(parsers.duration, _DURATION, parsers.as_duration)]
"""Seconds."""
Size = Annotated[int, Parsed(parsers.size, _SIZE, parsers.as_size)]
"""Octets."""
Hostname = Annotated[str, Parsed(parsers.hostname, _string(format="hostname"))]
Host = Annotated[str, Parsed(parsers.host)]
Exchanger = Annotated[str, Parsed(parsers.exchanger, _string("*.provider.example"))]
Port = Annotated[int, Parsed(parsers.port, _PORT)]
HostPort = Annotated[Endpoint, Parsed(parsers.endpoint, _string("127.0.0.1:2525"), str)]
HttpEndpoint = Annotated[Endpoint | None, Parsed(parsers.http_endpoint, _string("127.0.0.1:9525", "off"), str)]
Network = Annotated[str, Parsed(parsers.network, _string("127.0.0.0/8"))]
Email = Annotated[str, Parsed(parsers.address, _string(format="email"))]
Pattern = Annotated[str, Parsed(parsers.pattern, _string("*@export.relay.example"))]
Siren = Annotated[str, Parsed(parsers.siren, _DIGITS)]
Siret = Annotated[str, Parsed(parsers.siret, _DIGITS)]
SpoolUrl = Annotated[str, Parsed(parsers.spool_url, _string("sqlite:///var/lib/a.db"))]
HeaderName = Annotated[str, Parsed(parsers.header_name)]
MediaType = Annotated[str, Parsed(parsers.media_type)]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key as its field declares it. default: MISSING when the file must say it."""

    field: str
    key: str
    hint: Any
    meaning: Meaning
    default: Any

    @property
    def names_file(self) -> bool:
        """Is the value the name of a file (or None)?"""
        alternatives = getattr(_bare(self.hint), "__args__", ())
        return any(NAMES_FILE in _metadata(hint) for hint in (self.hint, *alternatives))


class Section:
    """A map of settings: a frozen dataclass whose fields are its keys. Unknown keys are errors.

    inherited_meaning: what the keys of a base class mean here; None: what they mean there.
    """

    __slots__ = ()
    inherited_meaning: ClassVar[Meaning | None] = None

    @classmethod
    def settings(cls) -> tuple[Setting, ...]:
        """The keys: those that the class adds to its base class, then the others."""
        hints = get_type_hints(cls, include_extras=True)
        own = get_annotations(cls)
        base = get_type_hints(cls.__base__)
        found = [
            _setting(each.name, hints[each.name], _default(each), None if each.name in own else cls.inherited_meaning)
            for each in fields(cls)  # type: ignore[arg-type] # every subclass is a dataclass
            if COMPUTED not in _metadata(hints[each.name])
        ]
        return tuple(sorted(found, key=lambda setting: setting.field in base))

    @classmethod
    def from_keys(cls, values: dict[str, Any]) -> Self:
        """The section of the `values` that its file gives, by field."""
        return cls(**values)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return {
            "type": "function-after",
            "function": {"type": "no-info", "function": cls.from_keys},
            "schema": cls.given_schema(handler),
            "ref": f"{cls.__module__}.{cls.__qualname__}:{id(cls)}",
        }

    @classmethod
    def given_schema(cls, handler: Any) -> Any:
        """The core schema for the keys that a file gives: validated to a dict, by field."""
        return _keys_schema(cls.settings(), handler)


def _keys_schema(settings: Sequence[Setting], handler: Any) -> Any:
    given = {
        setting.field: {
            "type": "typed-dict-field",
            "schema": handler.generate_schema(setting.hint),
            "required": setting.default is MISSING,
            "metadata": {"pydantic_js_updates": describe(setting)},
            **({"validation_alias": setting.key} if setting.key != setting.field else {}),
        }
        for setting in settings
    }
    return {"type": "typed-dict", "fields": given, "extra_behavior": "forbid"}


def describe(setting: Setting) -> dict[str, Any]:
    """What the JSON Schema says of a key beside its type: meaning, default, example, and `start` if it is not live."""
    described: dict[str, Any] = {"description": setting.meaning.text}
    if setting.meaning.example is not None:
        described["examples"] = [setting.meaning.example]
    if not setting.meaning.live:
        described["x-read"] = "start"
    if setting.default is not MISSING and not setting.meaning.inherited:
        default = written(setting.hint, setting.default)
        if default is not None:
            described["default"] = default
    return described


def written(hint: Any, value: Any) -> Any:
    """`value` of the type `hint` as a person writes it in YAML; None for sections, whose keys have their own."""
    if value is None or isinstance(value, Section):
        return None
    for each in _metadata(hint):
        if isinstance(each, Parsed):
            return each.written(value)
    if isinstance(value, tuple | list):
        item = next(iter(getattr(_bare(hint), "__args__", ())), None)
        items = [written(item, each) for each in value]
        return None if None in items else items
    return {key: str(each) for key, each in value.items()} or None if isinstance(value, dict) else value


def _metadata(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__metadata__", ())


def _bare(hint: Any) -> Any:
    return hint.__origin__ if _metadata(hint) else hint


def _default(each: Any) -> Any:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def _setting(name: str, hint: Any, default: Any, inherited: Meaning | None) -> Setting:
    metadata = _metadata(hint)
    key = next((each.name for each in metadata if isinstance(each, Key)), name)
    meaning = next((each for each in reversed(metadata) if isinstance(each, Meaning)), Meaning(""))
    if inherited is not None:
        meaning = replace(meaning, text=inherited.text, inherited=inherited.inherited)
    return Setting(name, key, hint, meaning, MISSING if meaning.required else default)
