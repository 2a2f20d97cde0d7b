"""A syntax error as libyaml reports it, in words a person can act on."""

import re
from typing import Any

import yaml

from relay.settings.issues import Position

_NO_SPACE = re.compile(r"^\s*(?:- )?[\w.-]+:(?=[^\s/])")
_CANNOT_START = "@%`&*!|>"


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[Position, str, str]:
    """Place, what and fix of a syntax error."""
    problem, context = error.problem or "", error.context or ""
    here, opened = _position(error.problem_mark), _position(error.context_mark)
    lines = text.splitlines()
    if "quoted scalar" in context:
        return opened, "the quote opened here is never closed", "close it on the same line"
    if "flow sequence" in context or "flow mapping" in context:
        return _bracket(problem, here, opened, lines)
    if "cannot start any token" in problem:
        return here, f'a value cannot begin with "{_char(lines, here)}"', 'put the value in quotes: "…"'
    if "mapping values are not allowed" in problem:
        return _colon(here, lines)
    if "could not find expected ':'" in problem:
        return _simple_key(opened, lines)
    if "did not find expected" in problem and "block" in context:
        return _block(here, opened, lines)
    if "block sequence entries are not allowed" in problem:
        return here, '"- " begins a list item, but no list can stand here', "put the list on the lines below its key"
    return here, f"not YAML: {problem}", _value_in_quotes(lines, here)


def _bracket(problem: str, here: Position, opened: Position, lines: list[str]) -> tuple[Position, str, str]:
    bracket = _char(lines, opened) or "["
    return opened, f'"{bracket}" opened here is never closed', f'close it with "{"]" if bracket == "[" else "}"}"'


def _colon(here: Position, lines: list[str]) -> tuple[Position, str, str]:
    line = _line(lines, here)
    previous = _line(lines, Position(here.line - 1, 1))
    indent, before = _indent(line), _indent(previous)
    if line.count(": ") + line.endswith(":") < 2 and indent > before:
        what = f"this line does not line up with line {here.line - 1} ({before} spaces)"
        return Position(here.line, indent + 1), what, "give both lines the same indentation"
    return here, 'a second ":" stands in the value', 'put the value in quotes: title: "Facture: 2025"'


def _simple_key(opened: Position, lines: list[str]) -> tuple[Position, str, str]:
    line = _line(lines, opened)
    if (match := _NO_SPACE.match(line)) is not None:
        return Position(opened.line, match.end()), 'a space is missing after ":"', f'write "{match[0].strip()} …"'
    return opened, 'this line is not "key: value"', 'put a ":" and a space after the key'


def _block(here: Position, opened: Position, lines: list[str]) -> tuple[Position, str, str]:
    line = _line(lines, here)
    if here.line > opened.line and here.column == _indent(line) + 1:
        before = here.line - 1
        while before > 1 and not _line(lines, Position(before, 1)).strip():
            before -= 1
        spaces = _indent(_line(lines, Position(before, 1)))
        what = f"this line does not line up with line {before} ({spaces} spaces)"
        if opened.column - 1 != spaces:
            what += f" nor with line {opened.line} ({opened.column - 1})"
        return here, what, "give the lines of one block the same indentation"
    return here, "unexpected text after the value", 'put the whole value in quotes: "…"'


def _value_in_quotes(lines: list[str], here: Position) -> str:
    return 'put the value in quotes: "…"' if _char(lines, here) in _CANNOT_START else "correct the line"


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)


def _line(lines: list[str], at: Position) -> str:
    return lines[at.line - 1] if 0 < at.line <= len(lines) else ""


def _char(lines: list[str], at: Position) -> str:
    return _line(lines, at)[at.column - 1 : at.column]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
