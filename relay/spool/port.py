"""The port of the spool: one operation for each fact, one commit for each operation.

The engine is `sqlite`; tests/support/memory_spool.py is the reference. Every engine passes tests/spool. Nothing here
knows of files, rows or processes: a lease is a time, a token is a random string, and any number of nodes may claim.

Errors: `SpoolFull` (no space: try later, nothing was stored), `SpoolBroken` (the engine cannot promise durability any
more: the daemon must stop and read the spool again), `SpoolBusy` (another daemon owns it)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from relay.lifecycle import Transition
from relay.model import Claim, Delivery, HistoryEntry, Message, OperatorAction, Plan, State

UNLIMITED: Mapping[str, int] = MappingProxyType({})
"""No destination takes less than is asked for."""


class SpoolError(Exception):
    """Base of what an engine raises; str() is a sentence for an operator."""


class SpoolFull(SpoolError):
    """No space or quota left: nothing was stored."""


class SpoolBroken(SpoolError):
    """Durability is lost (an fsync failed): stop, and read the spool again at the next start."""


class SpoolNewer(SpoolError):
    """A newer release wrote the spool: no retry helps, only installing that release again."""


class SpoolDamaged(SpoolBroken):
    """The file is not what was written: stop, and at the next start it is looked through and set aside if need be."""


class SpoolBusy(SpoolError):
    """Another daemon holds the spool; the message names its pid."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What whoever stores a message will attempt at once: so many deliveries to each destination. lease: seconds.

    on_tentative_claims: called in the event loop, before `store` returns, with the claims as they are if the commit
    under way succeeds. Nothing is durable yet: what depends on it must not leave. An engine need not call it, and calls
    it anew for a commit that it repeats.
    """

    lease: float
    room: Mapping[str, int]
    on_tentative_claims: Callable[[Sequence[Claim]], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Stored:
    """Answer of `store`. `duplicate`: the same message was stored before, under `queue_id`; nothing was added.

    claims: what of it was claimed in the same commit. held: deliveries that its plans would relay and the spool held,
    each with the reason: its document was stored before.
    """

    queue_id: str
    duplicate: bool = False
    claims: tuple[Claim, ...] = ()
    held: tuple[Delivery, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One message whole, as `queue show` prints it. `message.raw` is b"" once the content is purged."""

    message: Message
    deliveries: tuple[Delivery, ...]
    history: tuple[HistoryEntry, ...]


@dataclass(frozen=True, slots=True)
class RecordedAction:
    """What an operator did to a message or a delivery: a line of its history. `id` names it until it is logged."""

    id: int
    queue_id: str
    event: HistoryEntry


@dataclass(frozen=True, slots=True)
class Query:
    """Which deliveries: all conditions given hold.

    term: queue id, Message-ID, invoice number, sha256, SIREN of a party, dossier. unreported, reported: kind of report
    not sent, and sent. generated: only the relay's own messages (notices, DSN), or none of them; None: both. newest:
    where there are more than `limit`, those that arrived last. firms: of one of these, none when empty. other_firms: of
    a firm that is none of these. no_firm: of no firm.
    """

    states: frozenset[State] = frozenset()
    dossier: str | None = None
    firm: str | None = None
    queue_id: str | None = None
    term: str | None = None
    unreported: str | None = None
    generated: bool | None = None
    newest: bool = False
    reported: str | None = None
    firms: frozenset[str] | None = None
    other_firms: frozenset[str] | None = None
    no_firm: bool = False
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures for metrics and /readyz. oldest: arrival of the oldest message still to be delivered, or None.

    held: by reason. corrupt: messages set aside since the start. octets: space taken. free: space left, if known.
    """

    by_state: dict[State, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    oldest: float | None = None
    octets: int = 0
    free: int | None = None
    corrupt: int = 0


@dataclass(frozen=True, slots=True)
class PeriodStatistics:
    """One firm's figures of a period, for its digest; messages of our own do not count.

    messages: accepted in the period. states: what has become of their deliveries by now. late: deliveries of them that
    were ever later than `warn_after`. held: by reason, all that is held now, whenever it came. invalid: documents by
    each rule they break.
    """

    messages: int = 0
    states: Mapping[State, int] = field(default_factory=dict)
    late: int = 0
    held: Mapping[str, int] = field(default_factory=dict)
    invalid: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetentionWindows:
    """For how long what was accepted is remembered, in seconds, whether or not the message itself is still kept.

    resubmission: the very same message answers with its first queue id. documents: the very same document at the same
    address is held.
    """

    resubmission: float = 7 * 86400.0
    documents: float = 365 * 86400.0


class Spool(Protocol):
    """A durable queue of messages and their deliveries."""

    ceiling: float
    """`retry.ceiling` in seconds: no waiting delivery stands further ahead, whatever the clock did. May be set."""

    async def store(self, message: Message, reservation: Reservation | None = None) -> Stored:
        """Raw octets, plans and deliveries in one commit, durable on return.

        `reservation`: deliveries due now are claimed in that commit, as by `claim`, as far as it has room for them.
        RELAY plans are stored queued and due at once, HOLD held, WITHHOLD withheld. A plan with no `to` gets one
        delivery without recipient. A fingerprint seen within the resubmission window answers with the first queue id
        and stores nothing, unless all of that first message failed or was dropped. With `message.hold_duplicates`, a
        RELAY plan one of whose `marks` was stored by another message, within the document window, for the same address
        and not dropped or failed, is stored held: DUPLICATE_DOCUMENT; its detail is that message's queue id and what is
        shared.
        """

    async def claim(
        self, now: float, lease: float, limit: int, room: Mapping[str, int] = UNLIMITED, *, unconfirmed: bool = False
    ) -> tuple[Claim, ...]:
        """Lease up to `limit` due deliveries for `lease` seconds, oldest due first; durable before it returns.

        Due: queued or deferred with next_attempt <= now; each claim counts an attempt. With `unconfirmed` others: those
        active with an expired lease, the least often begun first; that counts nothing. One that was begun alone
        MAX_UNCONFIRMED_ATTEMPTS times (relay.lifecycle) is set held (UNSETTLED) instead of being claimed.
        `room`: how many each destination takes now, those that take `limit` left out; no claim goes beyond it. One in
        four goes to the newest arrival never attempted, so that a long queue does not make a new message wait for its
        end. A next attempt further ahead than `ceiling` (the clock was set back) is brought to now + ceiling.
        """

    async def begin_attempt(self, claim: Claim) -> bool:
        """An unconfirmed delivery is about to be read and sent, alone: a crash from now on counts against it. False
        when the token no longer holds. What `claim` gives without `unconfirmed` needs no `begin`: it costs a commit."""

    async def renew(self, claim: Claim, lease: float) -> bool:
        """Prolong until `lease` (epoch seconds). False when the token no longer holds."""

    async def settle(self, claim: Claim, transition: Transition, follow_ups: Sequence[Message] = ()) -> bool:
        """New state, history and follow-ups (notices, DSN: stored as by `store`) in one commit.

        `transition.report` is added to the delivery's `reported`. False, and nothing done, when the token no longer
        holds. A lease that ran out but was not taken over still settles: its outcome is known, another attempt's not.
        Carried out also when the caller is cancelled while it waits: half a settlement would be a message sent twice.
        """

    async def load(self, queue_id: str) -> Message | None:
        """The message with its raw octets, or None when unknown or purged. Raises nothing for a corrupt one: it is set
        aside (all its deliveries held) and counted."""

    async def next_due(self, full: Collection[str] = ()) -> float | None:
        """When the next delivery, unconfirmed ones left out, is due (epoch seconds) for a destination not in `full`, or
        None. Cheap, and sees what other processes ordered. Raises SpoolBroken once durability is lost, whoever met it.
        """

    async def find(self, query: Query) -> tuple[Delivery, ...]:
        """Up to `query.limit` deliveries that match, oldest arrival first."""

    async def count(self, query: Query) -> int:
        """How many deliveries match, whatever `query.limit` is."""

    async def show(self, queue_id: str) -> Record | None:
        """One message whole."""

    async def apply_action(
        self, queue_id: str, number: int | None, order: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        """Carry out an operator's order on one delivery or all of a message; those it changed, with history.

        hold: queued|deferred -> held. release: held|withheld (with a recipient) -> queued, due now. retry: deferred ->
        due now; failed -> queued. drop: all but active, delivered -> dropped. An active delivery is left alone.
        """

    async def replan(
        self, queue_id: str, plans: Sequence[Plan], order: OperatorAction, now: float
    ) -> tuple[Delivery, ...]:
        """Replace the deliveries not yet final or active by those of `plans`; history stays. Those made.

        The plans are added after the old ones: an attempt under way keeps its index. An address already answered with
        the same documents (delivered, active, dropped) gets no new delivery.
        """

    async def operator_actions(self, limit: int = 100) -> tuple[RecordedAction, ...]:
        """What operators did and nobody has logged yet, oldest first: each line of a history that names one."""

    async def operator_actions_logged(self, ids: Collection[int]) -> None:
        """Those are logged. Carried out also when the caller is cancelled while it waits."""

    async def record_bounce(self, queue_id: str, number: int, text: str, now: float, *, failed: bool) -> bool:
        """A bounce of a relayed message was received: history, and with `failed` a delivered one becomes failed.

        False when the delivery is not known (any more).
        """

    async def store_notifications(
        self, about: Sequence[tuple[Delivery, str]], messages: Sequence[Message], now: float
    ) -> None:
        """Store `messages` (notices) and add to each delivery's `reported` the kind beside it, in one commit.

        So no notice is sent twice, or lost between the two.
        """

    async def secret(self) -> bytes:
        """32 octets that nobody else knows, the same for the life of the spool: they authenticate our return paths."""

    async def purge(self, before: float, limit: int = 100, *, withheld: float | None = None) -> int:
        """Forget up to `limit` messages all of whose deliveries ended before `before`; how many. Never a held one.

        withheld: when given, a delivery withheld since before that time counts as ended. Fingerprints and digests of
        documents outlive the message until their windows close, unless all it stands for was never sent.
        """

    async def stats(self) -> Stats:
        """Figures, cheap enough for each scrape."""

    async def period_statistics(self, since: float, until: float) -> Mapping[str | None, PeriodStatistics]:
        """Figures by firm of the messages that arrived from `since` to before `until` (epoch seconds); None: no
        firm."""

    def unhealthy(self) -> SpoolError | None:
        """Why nothing can be stored now, as the error `store` would raise, or None."""

    def degraded(self) -> str | None:
        """What is wrong though messages are stored, or None: it needs a person before it becomes worse."""

    async def close(self) -> None:
        """Finish what waits and let go."""
