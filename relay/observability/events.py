"""The closed vocabulary of events and of the metrics' labels."""

import logging
from enum import StrEnum


class Event(StrEnum):
    # the daemon
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RELOADED = "reloaded"
    RELOAD_FAILED = "reload_failed"
    CONFIG_WARNING = "config_warning"
    SELF_TEST_PASSED = "self_test_passed"
    SELF_TEST_FAILED = "self_test_failed"
    STALLED = "stalled"
    SIGNAL_IGNORED = "signal_ignored"
    INTERNAL_ERROR = "internal_error"
    LIBRARY = "library"
    # the door
    CONNECTION_REJECTED = "connection_rejected"
    AUTHENTICATION_FAILED = "authentication_failed"
    SESSION_ERROR = "session_error"
    # one message comes in
    CHECKED = "checked"
    ACCEPTED = "accepted"
    DUPLICATE_SUBMISSION = "duplicate_submission"
    REJECTED = "rejected"
    CHECKER_OVERLOADED = "checker_overloaded"
    STORE_FAILED = "store_failed"
    BOUNCE_RECEIVED = "bounce_received"
    # what becomes of a delivery
    QUEUED = "queued"
    HELD = "held"
    WITHHELD = "withheld"
    RELEASED = "released"
    RETRIED = "retried"
    REPLANNED = "replanned"
    DROPPED = "dropped"
    ATTEMPT = "attempt"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    OUTCOME_UNKNOWN = "outcome_unknown"
    ATTEMPT_UNCONFIRMED = "attempt_unconfirmed"
    DELAYED = "delayed"
    NOTIFICATION_QUEUED = "notification_queued"
    PURGED = "purged"
    # workers and spool
    WORKER_STARTED = "worker_started"
    WORKER_RESTARTED = "worker_restarted"
    WORKER_RETIRED = "worker_retired"
    SPOOL_OPENED = "spool_opened"
    SPOOL_FULL = "spool_full"
    SPOOL_BROKEN = "spool_broken"
    SPOOL_RECOVERED = "spool_recovered"
    MESSAGE_CORRUPT = "message_corrupt"


MEANINGS: dict[Event, str] = {
    Event.STARTED: "the doors listen, the spool is open: mails are taken",
    Event.STOPPING: "asked to stop: no new connection is taken, what is in hand is finished",
    Event.STOPPED: "everything is put away; the process ends",
    Event.RELOADED: "the configuration was read again and is in force",
    Event.RELOAD_FAILED: "the new configuration has faults: the one in force stays",
    Event.CONFIG_WARNING: "the configuration in force has something an operator should know of",
    Event.SELF_TEST_PASSED: "the sample Factur-X was checked as it should be",
    Event.SELF_TEST_FAILED: "the sample Factur-X was not checked as it should be: verdicts cannot be trusted",
    Event.STALLED: "the event loop or the queue manager makes no progress",
    Event.SIGNAL_IGNORED: "a signal came that asks for nothing this daemon does",
    Event.INTERNAL_ERROR: "an unforeseen error, a bug: answered 4xx or deferred, with its traceback in this record",
    Event.LIBRARY: "a library had something to say (a stdlib logger at WARNING or above)",
    Event.CONNECTION_REJECTED: "a connection was turned away before its first command",
    Event.AUTHENTICATION_FAILED: "wrong user or password at the SMTP door",
    Event.SESSION_ERROR: "the SMTP client broke the protocol, a limit or the connection",
    Event.CHECKED: "one document was checked: its verdict and the rules it breaks",
    Event.ACCEPTED: "a mail is durable in the spool and was answered 250",
    Event.DUPLICATE_SUBMISSION: "the very same mail was accepted before: 250 with the first queue id, nothing stored",
    Event.REJECTED: "a sender, a recipient or a message was rejected, for the cause given; nothing was stored",
    Event.CHECKER_OVERLOADED: "too many documents wait to be checked: the mail was answered 451",
    Event.STORE_FAILED: "the disk could not make a message durable: it was answered 451, and nothing was stored",
    Event.BOUNCE_RECEIVED: "a bounce of a mail relayed earlier came home",
    Event.QUEUED: "a delivery waits for its first attempt",
    Event.HELD: "a delivery waits for a person, for the reason given",
    Event.WITHHELD: "a delivery is kept because the client's settings transmit nothing",
    Event.RELEASED: "an operator let a held or withheld delivery go",
    Event.RETRIED: "an operator asked for an attempt at once",
    Event.REPLANNED: "a mail was decided again with the configuration of today",
    Event.DROPPED: "an operator gave a delivery up: it will not be sent",
    Event.ATTEMPT: "a transaction with the next hop begins",
    Event.DELIVERED: "the next hop took the mail",
    Event.DEFERRED: "an attempt failed for now; it is tried again",
    Event.FAILED: "the next hop refused for good, or the time to try is over",
    Event.OUTCOME_UNKNOWN: "the connection was lost before the final reply: delivery status unknown; it is tried again",
    Event.ATTEMPT_UNCONFIRMED: "an attempt ended without its answer being recorded (a crash, an expired lease)",
    Event.DELAYED: "a delivery is later than `warn_after`",
    Event.NOTIFICATION_QUEUED: "a notice or a delivery status notification was put in the queue",
    Event.PURGED: "mails delivered long ago were forgotten",
    Event.WORKER_STARTED: "a process that checks documents is ready",
    Event.WORKER_RESTARTED: "a process that checks documents died or hung, and was replaced",
    Event.WORKER_RETIRED: "a process that checks documents had done its share or grown large, and was replaced",
    Event.SPOOL_OPENED: "the spool was read; how many deliveries wait in it",
    Event.SPOOL_FULL: "no space: mails are answered 452 until there is some",
    Event.SPOOL_BROKEN: "the disk failed to make a mail durable: the daemon stops, to read the spool again",
    Event.SPOOL_RECOVERED: "the spool takes mails again",
    Event.MESSAGE_CORRUPT: "a mail of the spool cannot be read: it is set aside and held",
}

_ERRORS = frozenset(
    {
        Event.RELOAD_FAILED,
        Event.SELF_TEST_FAILED,
        Event.STALLED,
        Event.INTERNAL_ERROR,
        Event.STORE_FAILED,
        Event.SPOOL_FULL,
        Event.SPOOL_BROKEN,
        Event.MESSAGE_CORRUPT,
    }
)
_WARNINGS = frozenset(
    {
        Event.CONFIG_WARNING,
        Event.SIGNAL_IGNORED,
        Event.LIBRARY,
        Event.CONNECTION_REJECTED,
        Event.AUTHENTICATION_FAILED,
        Event.REJECTED,
        Event.CHECKER_OVERLOADED,
        Event.HELD,
        Event.FAILED,
        Event.OUTCOME_UNKNOWN,
        Event.ATTEMPT_UNCONFIRMED,
        Event.DELAYED,
        Event.WORKER_RESTARTED,
    }
)


def severity(event: Event) -> int:
    """Level of the log record (a level of the stdlib): ERROR needs a person now, WARNING may, INFO is the story."""
    if event in _ERRORS:
        return logging.ERROR
    return logging.WARNING if event in _WARNINGS else logging.INFO


class Answer(StrEnum):
    """How the final dot of a message was answered."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    TEMPFAILED = "tempfailed"


class RejectCause(StrEnum):
    """Why a connection was turned away."""

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
    """Why a worker process was replaced. The last two are routine: between two documents, none is lost."""

    CRASHED = "crashed"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    RECYCLED = "recycled"


class Notice(StrEnum):
    """What a message of our own was about."""

    FAILED = "failed"
    LATE = "late"
    DELIVERED = "delivered"
    HELD = "held"
    DIGEST = "digest"
