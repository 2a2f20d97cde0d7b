"""What happens in the relay, as typed values: events, and the closed sets of the metrics' labels.

Whoever notices something calls `Observe` with an event; relay.observability.observer says which log line and which
metric it makes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from relay.inspection import Report
from relay.lifecycle import Transition
from relay.model import Delivery, Envelope, HistoryEntry, Message
from relay.observability.event_names import EventName
from relay.reasons import Reason
from relay.replies import Outcome, Reply, Stage


class Event:
    """Something that happened. name: of its log line, where its type alone says that."""

    __slots__ = ()
    name: ClassVar[EventName]


Observe = Callable[[Event], None]
"""Observer.observe of the daemon; a list's `append` in a test."""


class Answer(StrEnum):
    """How the final dot of a message was answered."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    TEMPFAILED = "tempfailed"


class RejectCause(StrEnum):
    """Why a connection was rejected."""

    SERVER_LIMIT = "server_limit"
    HOST_LIMIT = "host_limit"
    NETWORK = "network"
    PROTOCOL = "protocol"
    STOPPING = "stopping"


class TransactionRejectCause(StrEnum):
    """Why a sender, a recipient or a message was rejected. The last five are temporary (4xx)."""

    AUTHENTICATION = "authentication"
    SYNTAX = "syntax"
    RECIPIENT = "recipient"
    MESSAGE_SIZE = "message_size"
    LINE_FORMAT = "line_format"
    CONTENT = "content"
    RATE = "rate"
    MEMORY = "memory"
    CHECKER_OVERLOADED = "checker_overloaded"
    STORAGE_FULL = "storage_full"
    STORAGE_FAILED = "storage_failed"


class Restart(StrEnum):
    """Why a worker process was replaced. FALSE_ANSWER: it said what cannot be true, and may have been taken over by a
    document. The last two are routine: between two messages, none is lost."""

    CRASHED = "crashed"
    TIMEOUT = "timeout"
    FALSE_ANSWER = "false_answer"
    MEMORY = "memory"
    RECYCLED = "recycled"


class Notice(StrEnum):
    """What a message of our own was about."""

    FAILED = "failed"
    LATE = "late"
    DELIVERED = "delivered"
    HELD = "held"
    DIGEST = "digest"


# The SMTP server


@dataclass(frozen=True, slots=True)
class ConnectionOpened(Event):
    """A connection was accepted: it is counted, and not logged. listener: "host:port"."""

    peer: str
    listener: str


@dataclass(frozen=True, slots=True)
class ConnectionRejected(Event):
    name = EventName.CONNECTION_REJECTED
    peer: str
    cause: RejectCause


@dataclass(frozen=True, slots=True)
class AuthenticationFailed(Event):
    """failures: of this peer, so far."""

    name = EventName.AUTHENTICATION_FAILED
    peer: str
    failures: int


@dataclass(frozen=True, slots=True)
class SessionError(Event):
    """why: in a few words, or the name of an exception. last: the reply to the last of too many errors."""

    name = EventName.SESSION_ERROR
    peer: str
    why: str
    last: Reply | None = None


@dataclass(frozen=True, slots=True)
class TransactionRejected(Event):
    """A sender, a recipient or a message was rejected by the SMTP server itself, not by the intake.

    sender, recipients: addresses as far as they are known; the log has their domains only.
    """

    name = EventName.REJECTED
    peer: str
    stage: Stage
    cause: TransactionRejectCause
    reply: Reply
    sender: str = ""
    recipients: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class FinalReply(Event):
    """The final dot was answered 4xx or 5xx by the SMTP server itself, `seconds` after it: counted, and not logged."""

    code: int
    seconds: float


# One message comes in. seconds: since its final dot.


@dataclass(frozen=True, slots=True)
class MessageAccepted(Event):
    """A message is durable and was answered 250. held: what the spool held of it, its document was stored before."""

    message: Message
    reports: Sequence[Report]
    seconds: float
    held: Sequence[Delivery] = ()


@dataclass(frozen=True, slots=True)
class DuplicateSubmission(Event):
    """A message stored before was answered with its first queue id."""

    name = EventName.DUPLICATE_SUBMISSION
    queue_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class MessageRejected(Event):
    """A message was answered 5xx for its content. reason None: not a decision about its documents."""

    queue_id: str
    envelope: Envelope
    reason: Reason | None
    reply: Reply
    seconds: float
    reports: Sequence[Report] = ()


@dataclass(frozen=True, slots=True)
class MessageTempfailed(Event):
    """The final dot of a message was answered 4xx: the platform keeps it. why: for an operator."""

    queue_id: str
    envelope: Envelope
    cause: TransactionRejectCause
    reply: Reply
    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SenderTempfailed(Event):
    """MAIL was answered 4xx: nothing can be stored now."""

    cause: TransactionRejectCause
    reply: Reply
    why: str


@dataclass(frozen=True, slots=True)
class BounceReceived(Event):
    """A bounce of the message `queue_id` came to its return path. failed: it says that the delivery failed."""

    name = EventName.BOUNCE_RECEIVED
    queue_id: str
    failed: bool


# The queue


@dataclass(frozen=True, slots=True)
class AttemptStarted(Event):
    name = EventName.ATTEMPT
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class AttemptEnded(Event):
    """An attempt of `seconds` gave `outcome`. recorded: False when the claim was lost to another attempt meanwhile."""

    delivery: Delivery
    outcome: Outcome
    transition: Transition
    seconds: float
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class OutcomeNotRecorded(Event):
    """The spool has no room to record an outcome: it is tried again."""

    name = EventName.SPOOL_FULL
    delivery: Delivery
    error: str


@dataclass(frozen=True, slots=True)
class DeliveryDelayed(Event):
    name = EventName.DELAYED
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class NotificationQueued(Event):
    """A notice, a digest or a status notification about `deliveries` deliveries was stored as `queue_id`."""

    name = EventName.NOTIFICATION_QUEUED
    about: Notice
    queue_id: str
    deliveries: int


@dataclass(frozen=True, slots=True)
class OperatorActed(Event):
    """An operator released, held, retried, dropped or replanned a message or one of its deliveries."""

    queue_id: str
    entry: HistoryEntry


# The processes that check documents


@dataclass(frozen=True, slots=True)
class WorkerStarted(Event):
    name = EventName.WORKER_STARTED
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerReplaced(Event):
    """queue_id: of the message at which it ended, if there was one. why: of a false answer, what in it cannot be true;
    else empty."""

    pid: int
    cause: Restart
    queue_id: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class WorkerSandboxed(Event):
    """A worker has told of its sandbox. protections: those in force. missing: those that should be and are not."""

    pid: int
    protections: Sequence[str]
    missing: Sequence[str]


@dataclass(frozen=True, slots=True)
class SelfTested(Event):
    """The engine's self-test ended. failure: why its verdicts cannot be trusted, or None."""

    failure: str | None


# The spool


@dataclass(frozen=True, slots=True)
class SpoolOpened(Event):
    """deliveries: how many are in it, by state."""

    name = EventName.SPOOL_OPENED
    deliveries: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MessageCorrupt(Event):
    name = EventName.MESSAGE_CORRUPT
    text: str


@dataclass(frozen=True, slots=True)
class SpoolBroken(Event):
    name = EventName.SPOOL_BROKEN
    why: str


@dataclass(frozen=True, slots=True)
class MessagesPurged(Event):
    name = EventName.PURGED
    number: int


# The daemon


@dataclass(frozen=True, slots=True)
class Started(Event):
    """listen: the addresses of the SMTP server. http: that of the metrics, None without."""

    name = EventName.STARTED
    listen: Sequence[str]
    http: str | None


@dataclass(frozen=True, slots=True)
class Stopping(Event):
    name = EventName.STOPPING


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """unfinished: attempts that were cut off. code: exit code of the process."""

    name = EventName.STOPPED
    unfinished: int
    code: int


@dataclass(frozen=True, slots=True)
class ConfigurationInForce(Event):
    """A configuration came into force: what the metrics say of it. certificates: by listener, when each expires."""

    clients: int
    firms: int
    destinations: Collection[str]
    smarthosts: Collection[str]
    certificates: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Reloaded(Event):
    name = EventName.RELOADED
    clients: int
    files_read: int


@dataclass(frozen=True, slots=True)
class ReloadFailed(Event):
    """faults: of the new configuration. clients: of the one that stays in force."""

    name = EventName.RELOAD_FAILED
    faults: Sequence[str]
    clients: int


@dataclass(frozen=True, slots=True)
class ConfigurationWarning(Event):
    name = EventName.CONFIG_WARNING
    fault: str


@dataclass(frozen=True, slots=True)
class SignalIgnored(Event):
    name = EventName.SIGNAL_IGNORED
    signal: str


@dataclass(frozen=True, slots=True)
class Stalled(Event):
    name = EventName.STALLED
    text: str


@dataclass(frozen=True, slots=True)
class InternalError(Event):
    """An exception that nobody foresaw. where: in which part of the program."""

    name = EventName.INTERNAL_ERROR
    where: str
    error: BaseException
    peer: str | None = None
    queue_id: str | None = None
