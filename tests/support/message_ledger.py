"""Double-entry book-keeping of a fault test: what was handed over, what arrived, and what that proves.

Five figures decide, all must be 0: `lost` (answered 250 and never arrived), `wrong` (at an address, or under a return
path, that is not its own), `dup_other` (twice without an excuse), `refused` (5yz to a good message) and `damaged` (not
octet for octet what the plan makes of what came). `dup_window` counts what is allowed, for the outcome is
unknown: the next hop's 250 was not received, or the relay was killed while it recorded it; for a kill never more than
were in flight.
"""

import base64
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

NOTIFIED = {("exploitation@cabinet.example",), ("noreply@jefacture.example",)}
"""The operator and the platform: the relay's own reports to them, from the null sender, are none of its messages."""

WINDOW = 3.0
"""Seconds between the next hop's 250 and a kill that may have come before its record, on a machine that is busy."""


START = 0.3
"""Seconds that a daemon started after a kill needs at least before it can deliver anything."""


@dataclass(frozen=True, slots=True)
class Kill:
    """The relay was killed at `at` and surely dead at `until`: what the next hop had still to read of it by then, it
    answered to nobody. Seconds since the epoch."""

    at: float
    until: float


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of the platform. `to`: the address it must reach, of `also` when the configuration changes
    meanwhile."""

    token: str
    recipient: str
    to: str
    raw: bytes
    also: tuple[str, ...] = ()

    @property
    def kept(self) -> bytes:
        """What must arrive unchanged: all below the To field, which the message opens with and the relay rewrites."""
        return self.raw[self.raw.index(b"\r\n") + 2 :]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One delivery as the next hop noted it. `answered`: the code it gave to the final dot, 0 for none."""

    at: float
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    answered: int


@dataclass
class Ledger:
    """The senders' side; `acknowledged`: token -> (queue id, time of the 250)."""

    sent: dict[str, Sent] = field(default_factory=dict)
    acknowledged: dict[str, tuple[str, float]] = field(default_factory=dict)
    submissions: int = 0
    refused: list[str] = field(default_factory=list)
    later: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Balance:
    """What the ledger says. `notes`: one line for each thing that is not right."""

    mails: int
    submissions: int
    arrivals: int
    lost: int
    wrong: int
    dup_other: int
    refused: int
    damaged: int
    dup_window: int
    dup_unheard: int
    kills: int
    worst_kill: int
    longest: float
    notes: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not (self.lost or self.wrong or self.dup_other or self.refused or self.damaged)

    def line(self, title: str, more: str = "") -> str:
        """The one line that a test prints."""
        figures = (
            f"lost {self.lost}, wrong {self.wrong}, dup-other {self.dup_other}, refused-5yz {self.refused}, damaged"
            f" {self.damaged}; dup-window {self.dup_window}, at most {self.worst_kill} a kill and"
            f" {self.longest * 1000:.0f} ms before it; not heard {self.dup_unheard}"
        )
        count = f"{self.mails} mails, {self.submissions} submissions, {self.arrivals} arrivals"
        return f"{title}: {count}; {figures}{'; ' + more if more else ''}"


def read_journal(path: Path) -> list[Arrival]:
    """What the recording next hop noted; a last line cut off by a kill of it is left out."""
    arrivals = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        content = base64.b64decode(row["content"])
        arrivals.append(Arrival(row["at"], row["sender"], tuple(row["recipients"]), content, row["answered"]))
    return arrivals


def token_of(content: bytes) -> str:
    """The token in the Message-ID, or "" when there is none."""
    _, found, rest = content.partition(b"Message-ID: <")
    return rest.partition(b"@")[0].decode("ascii", "replace") if found else ""


def balance(
    ledger: Ledger, arrivals: Iterable[Arrival], kills: Sequence[Kill] = (), held: Mapping[str, str] | None = None
) -> Balance:
    """Close the ledger. kills: when the relay was killed. held: queue id -> reason of what an operator must decide."""
    notes: list[str] = [f"5yz: {text}" for text in ledger.refused]
    by_token: dict[str, list[Arrival]] = defaultdict(list)
    total = wrong = damaged = 0
    for arrival in arrivals:
        if arrival.recipients in NOTIFIED and not arrival.sender:
            continue
        total += 1
        token = token_of(arrival.content)
        sent = ledger.sent.get(token)
        if sent is None:
            damaged += 1
            notes.append(f"damaged: an arrival without known token, {arrival.content[:200]!r}")
            continue
        by_token[token].append(arrival)
        if not arrival.content.endswith(sent.kept):
            damaged += 1
            notes.append(f"damaged: {token}")
        if arrival.recipients not in {(each,) for each in (sent.to, *sent.also)} or "bounces" not in arrival.sender:
            wrong += 1
            notes.append(f"wrong: {token} to {arrival.recipients} from {arrival.sender}, must be {sent.to}")
    lost = [token for token in ledger.acknowledged if not any(_kept_by_next_hop(each) for each in by_token[token])]
    for token in lost:
        queue_id = ledger.acknowledged[token][0]
        notes.append(f"lost: {token} {queue_id} {(held or {}).get(queue_id, '')}")
    other, unheard, window, longest = _duplicates(by_token, kills, notes)
    worst = max(window.values(), default=0)
    return Balance(
        len(ledger.acknowledged),
        ledger.submissions,
        total,
        len(lost),
        wrong,
        other,
        len(ledger.refused),
        damaged,
        sum(window.values()),
        unheard,
        len(kills),
        worst,
        longest,
        tuple(notes),
    )


def _kept_by_next_hop(arrival: Arrival) -> bool:
    """The next hop has the message: it kept it, whether or not it said so."""
    return arrival.answered in (0, 250)


def _duplicates(
    by_token: Mapping[str, list[Arrival]], kills: Sequence[Kill], notes: list[str]
) -> tuple[int, int, Counter[Kill], float]:
    """Arrivals after the first that the next hop kept: without excuse, after an answer not heard, by kill.

    And the longest time in seconds from a 250 to the kill that kept it from being recorded.
    """
    other = unheard = 0
    longest = 0.0
    window: Counter[Kill] = Counter()
    for token, arrivals in by_token.items():
        kept = sorted((each for each in arrivals if _kept_by_next_hop(each)), key=lambda each: each.at)
        for before, after in pairwise(kept):
            kill = next((each for each in kills if _excuses(each, before.at, after.at)), None)
            if before.answered != 250:
                unheard += 1
            elif kill is not None:
                window[kill] += 1
                longest = max(longest, kill.at - before.at)
            else:
                other += 1
                notes.append(f"twice: {token} at {before.at:.3f} (answered 250) and {after.at:.3f}")
    return other, unheard, window, longest


def _excuses(kill: Kill, before: float, after: float) -> bool:
    """Did the kill come before the 250 of `before` could be recorded? On a busy machine the next hop may write it only
    when the relay that it is for is long dead."""
    return kill.at - WINDOW <= before <= kill.until + START and kill.at < after
