"""The closed vocabulary of events: what the log, the history of a delivery and the documentation may call a thing.

A name is a fact in the past tense (or a state entered), never a message: what varies is a field of the record.
"""

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
    FAULT = "fault"
    LIBRARY = "library"
    # the door
    CONNECTION_REFUSED = "connection_refused"
    AUTHENTICATION_FAILED = "authentication_failed"
    SESSION_ERROR = "session_error"
    # one mail comes in
    CHECKED = "checked"
    ACCEPTED = "accepted"
    DUPLICATE_SUBMISSION = "duplicate_submission"
    REFUSED = "refused"
    CHECK_BUSY = "check_busy"
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
    UNCERTAIN = "uncertain"
    UNSETTLED = "unsettled"
    LATE = "late"
    REPORT_SENT = "report_sent"
    PURGED = "purged"
    # workers and spool
    WORKER_STARTED = "worker_started"
    WORKER_RESTARTED = "worker_restarted"
    WORKER_RETIRED = "worker_retired"
    SPOOL_OPENED = "spool_opened"
    SPOOL_FULL = "spool_full"
    SPOOL_BROKEN = "spool_broken"
    SPOOL_RECOVERED = "spool_recovered"
    MAIL_CORRUPT = "mail_corrupt"


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
    Event.FAULT: "something unforeseen happened: a bug, answered 4xx or deferred, with its traceback in this record",
    Event.LIBRARY: "a library had something to say (a stdlib logger at WARNING or above)",
    Event.CONNECTION_REFUSED: "a connection was turned away before its first command",
    Event.AUTHENTICATION_FAILED: "wrong user or password at the SMTP door",
    Event.SESSION_ERROR: "the SMTP client broke the protocol, a limit or the connection",
    Event.CHECKED: "one document was checked: its verdict and the rules it breaks",
    Event.ACCEPTED: "a mail is durable in the spool and was answered 250",
    Event.DUPLICATE_SUBMISSION: "the very same mail was accepted before: 250 with the first queue id, nothing stored",
    Event.REFUSED: "a sender, a recipient or a message was rejected, for the cause given; nothing was stored",
    Event.CHECK_BUSY: "too many documents wait to be checked: the mail was answered 451",
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
    Event.UNCERTAIN: "the connection was lost after the final dot: the next hop may have the mail; it is tried again",
    Event.UNSETTLED: "an attempt ended without its answer being recorded (a crash, an expired lease)",
    Event.LATE: "a delivery is later than `warn_after`",
    Event.REPORT_SENT: "a notice or a delivery status notification was put in the queue",
    Event.PURGED: "mails delivered long ago were forgotten",
    Event.WORKER_STARTED: "a process that checks documents is ready",
    Event.WORKER_RESTARTED: "a process that checks documents died or hung, and was replaced",
    Event.WORKER_RETIRED: "a process that checks documents had done its share or grown large, and was replaced",
    Event.SPOOL_OPENED: "the spool was read; how many deliveries wait in it",
    Event.SPOOL_FULL: "no space: mails are answered 452 until there is some",
    Event.SPOOL_BROKEN: "the disk failed to make a mail durable: the daemon stops, to read the spool again",
    Event.SPOOL_RECOVERED: "the spool takes mails again",
    Event.MAIL_CORRUPT: "a mail of the spool cannot be read: it is set aside and held",
}

_ERRORS = frozenset(
    {
        Event.RELOAD_FAILED,
        Event.SELF_TEST_FAILED,
        Event.STALLED,
        Event.FAULT,
        Event.STORE_FAILED,
        Event.SPOOL_FULL,
        Event.SPOOL_BROKEN,
        Event.MAIL_CORRUPT,
    }
)
_WARNINGS = frozenset(
    {
        Event.CONFIG_WARNING,
        Event.SIGNAL_IGNORED,
        Event.LIBRARY,
        Event.CONNECTION_REFUSED,
        Event.AUTHENTICATION_FAILED,
        Event.REFUSED,
        Event.CHECK_BUSY,
        Event.HELD,
        Event.FAILED,
        Event.UNCERTAIN,
        Event.UNSETTLED,
        Event.LATE,
        Event.WORKER_RESTARTED,
    }
)


def severity(event: Event) -> int:
    """Level of the log record (a level of the stdlib): ERROR needs a person now, WARNING may, INFO is the story."""
    if event in _ERRORS:
        return logging.ERROR
    return logging.WARNING if event in _WARNINGS else logging.INFO
