"""What a scripted next hop does instead of behaving, and when."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Say:
    """Answer with these lines (several for a multi-line reply, as they shall stand on the wire)."""

    text: str
    close: bool = False


@dataclass(frozen=True)
class Raw:
    """Answer with these octets, whatever they are."""

    octets: bytes
    close: bool = False


@dataclass(frozen=True)
class Drop:
    """Close without an answer. At stage `body` the message has been recorded: lost after the final dot."""


@dataclass(frozen=True)
class Reset:
    """Break the connection with a TCP reset."""


@dataclass(frozen=True)
class Silence:
    """Never answer, until the client goes or the peer is closed."""


@dataclass(frozen=True)
class Tarpit:
    """Answer one octet every `pause` seconds."""

    text: str
    pause: float = 1.0


@dataclass(frozen=True)
class Later:
    """Answer as usual, or with `text`, once `gate` is set (`gate` None: after `seconds`)."""

    gate: asyncio.Event | None = None
    seconds: float = 0.0
    text: str | None = None


@dataclass(frozen=True)
class Stall:
    """Neither answer nor read any more."""


Behaviour = Say | Raw | Drop | Reset | Silence | Stall | Tarpit | Later


@dataclass
class _Rule:
    behaviour: Behaviour
    left: int | None
    when: Callable[[str], bool] | None


class Script:
    """Rules in the order they were set; the first that applies at a stage is used."""

    def __init__(self) -> None:
        self._rules: dict[str, list[_Rule]] = {}

    def add(self, stage: str, behaviour: Behaviour, times: int | None, when: Callable[[str], bool] | None) -> None:
        self._rules.setdefault(stage, []).append(_Rule(behaviour, times, when))

    def clear(self) -> None:
        self._rules.clear()

    def pick(self, stage: str, argument: str) -> Behaviour | None:
        """The behaviour due at `stage`; it is used up by one."""
        for rule in self._rules.get(stage, ()):
            if rule.left == 0 or (rule.when is not None and not rule.when(argument)):
                continue
            if rule.left is not None:
                rule.left -= 1
            return rule.behaviour
        return None
