"""The closed sets that label metrics and have no other home. Changing a value changes a dashboard of somebody."""

from enum import StrEnum


class Answer(StrEnum):
    """How the final dot of a mail was answered."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    TRY_LATER = "try_later"


class Cause(StrEnum):
    """Why a connection was turned away."""

    SERVER_LIMIT = "server_limit"
    HOST_LIMIT = "host_limit"
    NETWORK = "network"
    PROTOCOL = "protocol"
    STOPPING = "stopping"


class Rejection(StrEnum):
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
    """What a mail of our own was about."""

    FAILED = "failed"
    LATE = "late"
    DELIVERED = "delivered"
    HELD = "held"
    DIGEST = "digest"
