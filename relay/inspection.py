"""What is asked of the check: the documents of one mail and how to look at them. Crosses to the worker by `wire`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.report import Severity

Octets = bytes | memoryview
"""A memoryview is of octets (format B), and lives as long as what it was taken from."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One attachment as it stands in the mail. `encoding`: its Content-Transfer-Encoding, lower case."""

    content: Octets
    encoding: str = "binary"
    filename: str = ""
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Options:
    """level: off (sha256 and kind only) | structure | full. french_rules: off | warning | error."""

    level: str = "full"
    french_rules: str = "warning"
    severities: Mapping[str, Severity] = field(default_factory=dict)
