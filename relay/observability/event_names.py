"""The names of the log's lines, a closed list: each with its level and its meaning.

config/prometheus/README.md has them in a table; a test compares.
"""

from enum import StrEnum
from logging import ERROR, INFO, WARNING


class EventName(StrEnum):
    """Every name that stands in the log. level: ERROR needs a person now, WARNING may, INFO is the story."""

    level: int
    meaning: str

    def __new__(cls, value: str, level: int = INFO, meaning: str = "") -> "EventName":
        member = str.__new__(cls, value)
        member._value_, member.level, member.meaning = value, level, meaning
        return member

    # the daemon
    STARTED = "started", INFO, "the listeners and the spool are open: messages are accepted"
    STOPPING = "stopping", INFO, "asked to stop: no new connection is accepted, what is under way is finished"
    STOPPED = "stopped", INFO, "everything is closed; the process ends"
    RELOADED = "reloaded", INFO, "the configuration was read again and is in force"
    RELOAD_FAILED = "reload_failed", ERROR, "the new configuration has faults: the one in force stays"
    CONFIG_WARNING = "config_warning", WARNING, "the configuration in force has something an operator should know"
    SELF_TEST_PASSED = "self_test_passed", INFO, "the sample Factur-X was checked as it should be"
    SELF_TEST_FAILED = "self_test_failed", ERROR, "the sample Factur-X was checked wrongly: verdicts cannot be trusted"
    STALLED = "stalled", ERROR, "the event loop or the queue manager makes no progress"
    SIGNAL_IGNORED = "signal_ignored", WARNING, "a signal was received that this daemon does not handle"
    INTERNAL_ERROR = (
        "internal_error",
        ERROR,
        "an unforeseen error, a bug: answered 4xx or deferred; its place is in the record",
    )
    LIBRARY = "library", WARNING, "a message of a library (a stdlib logger at WARNING or above)"
    # the SMTP server
    CONNECTION_REJECTED = "connection_rejected", WARNING, "a connection was rejected before its first command"
    AUTHENTICATION_FAILED = "authentication_failed", WARNING, "wrong user or password at the SMTP server"
    SESSION_ERROR = "session_error", INFO, "the SMTP client broke the protocol, a limit or the connection"
    # one message comes in
    CHECKED = "checked", INFO, "one document was checked: its verdict and the rules it breaks"
    ACCEPTED = "accepted", INFO, "a message is durable in the spool and was answered 250"
    DUPLICATE_SUBMISSION = (
        "duplicate_submission",
        INFO,
        "the same message was accepted before: 250 with the first queue id, nothing stored",
    )
    REJECTED = "rejected", WARNING, "a sender, a recipient or a message was rejected; nothing was stored"
    CHECKER_OVERLOADED = (
        "checker_overloaded",
        WARNING,
        "too many documents wait to be checked: the message was answered 451",
    )
    STORE_FAILED = "store_failed", ERROR, "a message could not be made durable: it was answered 451, nothing was stored"
    BOUNCE_RECEIVED = "bounce_received", INFO, "a bounce of a message relayed earlier was received"
    # what becomes of a delivery
    QUEUED = "queued", INFO, "a delivery waits for its first attempt"
    HELD = "held", WARNING, "a delivery waits for a person, for the reason given"
    WITHHELD = "withheld", INFO, "a delivery is kept because the client's settings transmit nothing"
    RELEASED = "released", INFO, "an operator released a held or withheld delivery"
    RETRIED = "retried", INFO, "an operator asked for an attempt at once"
    REPLANNED = "replanned", INFO, "a message was planned again with the current configuration"
    DROPPED = "dropped", INFO, "an operator dropped a delivery: it will not be sent"
    ATTEMPT = "attempt", INFO, "a transaction with the next hop begins"
    DELIVERED = "delivered", INFO, "the next hop accepted the message"
    DEFERRED = "deferred", INFO, "an attempt failed temporarily; it is tried again"
    FAILED = "failed", WARNING, "the next hop rejected it permanently, or the time to try is over"
    OUTCOME_UNKNOWN = "outcome_unknown", WARNING, "the connection was lost before the final reply; it is tried again"
    ATTEMPT_UNCONFIRMED = (
        "attempt_unconfirmed",
        WARNING,
        "the result of an attempt was not recorded (a crash, an expired lease)",
    )
    DELAYED = "delayed", WARNING, "a delivery is later than `warn_after`"
    NOTIFICATION_QUEUED = "notification_queued", INFO, "a notice or a delivery status notification was queued"
    PURGED = "purged", INFO, "messages that ended long ago were deleted"
    # workers and spool
    WORKER_STARTED = "worker_started", INFO, "a process that checks documents is ready"
    WORKER_RESTARTED = "worker_restarted", WARNING, "a process that checks documents died or hung, and was replaced"
    WORKER_RETIRED = "worker_retired", INFO, "a process that checks documents was old or large, and was replaced"
    SANDBOX_IN_FORCE = (
        "sandbox_in_force",
        INFO,
        "the kernel keeps the processes that check documents from files and network",
    )
    SANDBOX_INCOMPLETE = (
        "sandbox_incomplete",
        WARNING,
        "the kernel or the container refuses a protection of the processes that check documents",
    )
    SPOOL_OPENED = "spool_opened", INFO, "the spool was read; how many deliveries are in it"
    SPOOL_FULL = "spool_full", ERROR, "no space: messages are answered 452 until there is some"
    SPOOL_BROKEN = "spool_broken", ERROR, "the disk failed: the daemon stops, to read the spool again"
    SPOOL_RECOVERED = "spool_recovered", INFO, "the spool accepts messages again"
    MESSAGE_CORRUPT = "message_corrupt", ERROR, "a message of the spool cannot be read: it is set aside and held"
