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
