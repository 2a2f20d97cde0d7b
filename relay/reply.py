"""Every answer we speak, every outcome of an attempt, and the failure table: one place decides what a failure means.

Sources: RFC 5321 §4.2 (codes), RFC 3463 (enhanced codes), the table of shared/SMTP.md.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply. `code` 200-599, `enhanced` as of RFC 3463 ("5.7.1") or "" where RFC 2034 forbids one."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    @property
    def accepted(self) -> bool:
        return 200 <= self.code < 300


class Stage(StrEnum):
    """Where in a transaction with the next hop something happened."""

    DNS = "dns"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The next hop took it: `reply` is its answer to the final dot."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Deferred:
    """Try again later. `alert`: an operator must act (a wrong password, a bad certificate, our own bug)."""

    reply: Reply
    stage: Stage
    alert: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The next hop said no for good."""

    reply: Reply
    stage: Stage


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Lost after the final dot: the next hop may have it. Retried: twice rather than never."""

    reply: Reply
    stage: Stage = Stage.BODY


Outcome = Delivered | Deferred | Failed | Uncertain
