"""How much the queue manager takes on at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """attempts: at a time in all; per_destination: of them for one, more than it has connections, for a place is kept
    from before the commit that stores a mail to after the one that settles it. An attempt that waits for a connection
    holds no content. One unconfirmed delivery for each destination comes on top. lease: seconds a claim is ours without
    renewal.

    poll: longest sleep in seconds, so that orders of the command line are seen. remember: octets of mails kept for
    their first attempt. stalled: seconds without a turn of the loop after which it is not alive.
    """

    attempts: int = 192
    per_destination: int = 48
    lease: float = 900.0
    poll: float = 1.0
    remember: int = 64 * 1024 * 1024
    stalled: float = 60.0


DEFAULT = Limits()
