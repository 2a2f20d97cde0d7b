"""A setting is declared once: what a section derives from its fields."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
from pydantic import TypeAdapter, ValidationError

from relay.routing.policy import Client, Origins
from relay.setting_types import COMPUTED, Bool, Duration, FileName, Meaning, Section, Text
from relay.settings.settings import DaemonSettings, RelayFile, read_at_start


@dataclass(frozen=True, slots=True, kw_only=True)
class Base(Section):
    switch: Annotated[Bool, Meaning("on or off", True)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Below(Base):
    inherited_meaning: ClassVar[Meaning | None] = Meaning("as above", inherited=True)

    place: Annotated[str, COMPUTED] = ""
    wait: Annotated[Duration, Meaning("how long", "2 min", live=False)] = 60.0
    file: Annotated[FileName | None, Meaning("a file")] = None
    text: Annotated[Text, Meaning("any text", required=True)] = ""


def test_the_keys_of_a_section_are_its_fields_without_the_computed_ones() -> None:
    assert [setting.key for setting in Below.settings()] == ["wait", "file", "text", "switch"]


def test_a_key_of_the_base_class_has_the_meaning_that_the_section_gives_it() -> None:
    assert [setting.meaning.text for setting in Below.settings()] == ["how long", "a file", "any text", "as above"]


def test_only_a_file_name_names_a_file() -> None:
    assert [setting.key for setting in Below.settings() if setting.names_file] == ["file"]


def test_the_validator_gives_the_section_with_its_defaults() -> None:
    assert TypeAdapter(Below).validate_python({"text": "x", "wait": "5 s"}) == Below(text="x", wait=5.0)


@pytest.mark.parametrize(("given", "code"), [({}, "missing"), ({"text": "x", "place": "y"}, "extra_forbidden")])
def test_a_missing_and_a_computed_key_are_errors(given: dict[str, str], code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Below).validate_python(given)
    assert [error["type"] for error in caught.value.errors()] == [code]


def test_the_json_schema_writes_defaults_as_a_person_does() -> None:
    keys = TypeAdapter(Below).json_schema()["properties"]
    assert (keys["wait"]["default"], keys["wait"]["x-read"], keys["wait"]["examples"]) == ("1 min", "start", ["2 min"])
    assert "default" not in keys["switch"] and "default" not in keys["text"]


def test_every_setting_of_relay_yaml_has_a_meaning() -> None:
    assert all(setting.meaning.text for setting in (*RelayFile.settings(), *Client.settings()))


def test_the_keys_read_at_start_are_those_that_are_not_live() -> None:
    assert set(read_at_start()) == {"hostname", "listen", "spool", "keep_delivered", "http", "log"}
    assert {setting.key for setting in DaemonSettings.settings()} <= {setting.key for setting in RelayFile.settings()}


def test_packed_origins_are_a_mapping_of_places() -> None:
    origins = Origins("firms/a b.yaml", 7, "dossier:0 addresses.sales:3", "smarthost:firms/a b.yaml:4\0link_name:c:5")
    assert dict(origins) == {
        "dossier": "firms/a b.yaml:7",
        "addresses.sales": "firms/a b.yaml:10",
        "smarthost": "firms/a b.yaml:4",
        "link_name": "c:5",
    }
    assert dict(Origins()) == {}
