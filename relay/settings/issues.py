"""ConfigIssue: what is wrong in the YAML, where, and how to fix it. Never the value of a secret."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from relay.inspection import Severity

MOST = 50
KEPT = 20_000
"""Issues kept; more are only counted, so that a huge faulty file takes no huge memory."""


class Position(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


TOP = Position(1, 1)
NOWHERE = Position(0, 0)


@dataclass(frozen=True, slots=True, order=True)
class ConfigIssue:
    """One error or warning. line, column: from 1 (0: it has no place in a file)."""

    file: str
    line: int
    column: int
    what: str
    fix: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.severity}: {self.what}." + (f" Fix: {self.fix}" if self.fix else "")


class ConfigIssues:
    """The issues found so far, in every file."""

    def __init__(self) -> None:
        self._found: dict[ConfigIssue, None] = {}
        self._dropped = {Severity.ERROR: 0, Severity.WARNING: 0}

    def error(self, file: str, at: Position, what: str, fix: str = "") -> None:
        self._add(ConfigIssue(file, *at, _short(what), fix))

    def warning(self, file: str, at: Position, what: str, fix: str = "") -> None:
        self._add(ConfigIssue(file, *at, _short(what), fix, Severity.WARNING))

    def _add(self, issue: ConfigIssue) -> None:
        if len(self._found) < KEPT:
            self._found[issue] = None
        else:
            self._dropped[issue.severity] += 1

    def merge(self, other: "ConfigIssues") -> None:
        """Add what `other` found."""
        self.take(other._found)
        for severity, count in other._dropped.items():
            self._dropped[severity] += count

    def take(self, found: Iterable[ConfigIssue]) -> None:
        """Add issues found before."""
        for issue in found:
            self._add(issue)

    @property
    def dropped(self) -> int:
        """How many are only counted."""
        return sum(self._dropped.values())

    @property
    def found(self) -> tuple[ConfigIssue, ...]:
        """The issues kept, in the order they were found."""
        return tuple(self._found)

    @property
    def errors(self) -> int:
        kept = sum(1 for issue in self._found if issue.severity is Severity.ERROR)
        return kept + self._dropped[Severity.ERROR]

    @property
    def warnings(self) -> int:
        kept = sum(1 for issue in self._found if issue.severity is not Severity.ERROR)
        return kept + self._dropped[Severity.WARNING]

    def listed(self, directory: str) -> tuple[ConfigIssue, ...]:
        """Sorted by place, at most `MOST` and then a count; no warning takes the place of an error."""
        errors = sorted(issue for issue in self._found if issue.severity is Severity.ERROR)
        warnings = sorted(issue for issue in self._found if issue.severity is not Severity.ERROR)
        shown = sorted([*errors[:MOST], *warnings[: max(0, MOST - len(errors))]])
        left = len(errors) + len(warnings) - len(shown) + sum(self._dropped.values())
        if not left:
            return tuple(shown)
        hidden = max(0, len(errors) - MOST) + self._dropped[Severity.ERROR]
        count = f"{hidden} more errors and {left - hidden} more warnings are not shown"
        severity = Severity.ERROR if hidden else Severity.WARNING
        return (*shown, ConfigIssue(directory, 0, 0, count, severity=severity))


def _short(what: str) -> str:
    return what if len(what) <= 500 else what[:500] + "…"


def did_you_mean(name: str, known: Iterable[str], called: str = "Defined") -> str:
    """`Did you mean "agiris"? Defined: agiris, other`, for the fix of an unknown name."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1, 0.6)
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return (f'Did you mean "{near[0]}"? ' if near else "") + (f"{called}: {listed}" if names else "define it first")
