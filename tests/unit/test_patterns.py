"""Patterns that every Python from 3.11.0 on reads alike."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]

import relay

TOO_NEW = {"POSSESSIVE_REPEAT", "ATOMIC_GROUP"}
"""Python before 3.11.5, which is Debian 12's, goes astray in them: every message was malformed (cpython gh-106052)."""


def _patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    for found in pkgutil.walk_packages(relay.__path__, "relay."):
        if not found.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(found.name)).items():
                if isinstance(value, re.Pattern):
                    yield f"{found.name}.{name}", value


def _operators(tree: object) -> Iterator[str]:
    if isinstance(tree, (_parser.SubPattern, list, tuple)):
        for each in tree:
            yield from _operators(each)
    elif hasattr(tree, "name"):
        yield tree.name


def test_no_possessive_quantifier_and_no_atomic_group() -> None:
    patterns = dict(_patterns())
    assert len(patterns) > 40
    flags = re.IGNORECASE | re.DOTALL | re.VERBOSE | re.MULTILINE
    found = {
        name
        for name, each in patterns.items()
        if TOO_NEW & set(_operators(_parser.parse(each.pattern, each.flags & flags)))
    }
    assert not found


def test_the_operators_would_be_seen() -> None:
    assert "POSSESSIVE_REPEAT" in set(_operators(_parser.parse("(?:a|b*+)?")))
    assert "ATOMIC_GROUP" in set(_operators(_parser.parse("x(?>a+)")))
