"""The values of the relay: envelope, plan, message, delivery. Immutable; times are seconds since the epoch, UTC."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, NamedTuple

from relay.inspection import Report
from relay.reasons import Reason
from relay.setting_types import Duration, Factor, Meaning, Section, SmallCount


class Span(NamedTuple):
    """Octets `start` (included) to `end` (excluded) of the raw message."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Recoding:
    """A text of the message that can leave as quoted-printable where the next hop takes 7-bit octets only (RFC 6152
    §3).

    field: its Content-Transfer-Encoding field, or, empty, where one is put. body: its octets.
    """

    field: Span
    body: Span


@dataclass(frozen=True, slots=True)
class Recipient:
    """One accepted RCPT. `notify` and `orcpt` are its DSN parameters (RFC 3461 §4.1, §4.2)."""

    address: str
    notify: frozenset[str] = frozenset()
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the SMTP client said. `sender` is "" for the null sender; `protocol` as in RFC 3848 (ESMTP, ESMTPSA…)."""

    sender: str
    recipients: tuple[Recipient, ...]
    peer: str = ""
    helo: str = ""
    protocol: str = "ESMTP"
    user: str | None = None
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple([recipient.address for recipient in self.recipients])


class Role(StrEnum):
    """What the document is to the client."""

    SALE = "sale"
    PURCHASE = "purchase"
    STATEMENT = "statement"
    UNKNOWN = "unknown"


class DocumentPart(StrEnum):
    FACTURX = "facturx"
    ORIGINAL = "original"
    OTHER = "other"
    XML = "xml"


class Action(StrEnum):
    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Document:
    """One attachment and what becomes of it. `span` is the whole MIME part in the raw message."""

    filename: str
    span: Span
    part: DocumentPart
    action: Action
    report: Report


class Sameness(StrEnum):
    """In what a document is the same as an earlier one, the surest first."""

    DOCUMENT = "document"
    XML = "xml"
    NUMBER = "number"


class Disposition(StrEnum):
    RELAY = "relay"
    HOLD = "hold"
    WITHHOLD = "withhold"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Plan:
    """One outgoing message as data: frozen at acceptance, the same octets at every attempt.

    to: RCPT TO of the outgoing message; empty when no address is known (then it can only be held).
    cuts: octets of the raw message that are left out, ascending, disjoint. prepend: header fields put on top, CRLF
    lines. reason, detail: why it is held or withheld; `detail` completes the reason's sentence.
    answers: the envelope recipients of the incoming message that this plan covers.
    role_by: the identifier of the invoice that determines the role ("BT-47 (0002)"), "elimination", or "" for neither;
    of several invoices each way once, with commas.
    recodings: texts with 8-bit octets, ascending; they leave as they are wherever the next hop offers 8BITMIME.
    destination, smarthost: names; what they mean is looked up at each attempt.
    """

    disposition: Disposition
    to: tuple[str, ...] = ()
    reason: Reason | None = None
    detail: str = ""
    firm: str | None = None
    dossier: str | None = None
    by: str | None = None
    role: Role = Role.UNKNOWN
    documents: tuple[Document, ...] = ()
    cuts: tuple[Span, ...] = ()
    prepend: bytes = b""
    return_path: str = ""
    destination: str = "agiris"
    smarthost: str = "default"
    answers: tuple[str, ...] = ()
    role_by: str = ""
    recodings: tuple[Recoding, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """What makes a document the very same one: sha256 of each kept Factur-X, else of each kept document."""
        return tuple(each.sha256 for each in self._subjects)

    @property
    def marks(self) -> tuple[tuple[Sameness, str], ...]:
        """All that a later document may share with one of these: its octets, its invoice XML, its number and seller."""
        return tuple(
            (sameness, mark)
            for each in self._subjects
            for sameness, mark in (
                (Sameness.DOCUMENT, each.sha256),
                (Sameness.XML, each.invoice_xml),
                (Sameness.NUMBER, each.invoice_key),
            )
            if mark
        )

    @property
    def _subjects(self) -> list[Report]:
        """Reports of the kept Factur-X, else of all kept documents."""
        kept = [each for each in self.documents if each.action is Action.KEEP]
        facturx = [each for each in kept if each.part is DocumentPart.FACTURX]
        return [each.report for each in facturx or kept]


@dataclass(frozen=True, slots=True)
class Rejection:
    """The message is not accepted. `detail` completes the reason's sentence; nothing is stored."""

    reason: Reason
    detail: str = ""


_LETTERS = "0123456789BCDFGHJKLMNPQRSTVWXYZ"
_LETTER_OF = bytes(ord(_LETTERS[octet % len(_LETTERS)]) for octet in range(256))


def new_queue_id() -> str:
    """Unique on every node without asking any: 74 random bits, in letters that cannot be misread."""
    return secrets.token_bytes(15).translate(_LETTER_OF).decode("ascii")


@dataclass(frozen=True, slots=True)
class Message:
    """One accepted message: its raw octets plus one plan for each outgoing message.

    fingerprint: what a resubmission of the same message shares with it.
    hold_duplicates: a plan is stored held (DUPLICATE_DOCUMENT) when one of its `marks` was already stored for the
    same address within the spool's window (setting `on_duplicate: hold`).
    generated: a notice or DSN of ours; never reported about (RFC 3464 §2).
    content_digest: content_digest(raw), plans_json: the JSON text of `plans`, when they are known already, else empty;
    no part of what a message is.
    """

    queue_id: str
    envelope: Envelope
    raw: bytes
    plans: tuple[Plan, ...]
    arrived: float
    fingerprint: str
    message_id: str = ""
    hold_duplicates: bool = False
    generated: bool = False
    content_digest: bytes = field(default=b"", compare=False, repr=False)
    plans_json: bytes = field(default=b"", compare=False, repr=False)

    def wants_success_notice(self, plan: int) -> bool:
        """Is its sender to be notified when the plan of this index was relayed (NOTIFY=SUCCESS, rfc3461#4.1)?"""
        answers = self.plans[plan].answers
        asking = [each.address for each in self.envelope.recipients if "SUCCESS" in each.notify]
        return bool(self.envelope.sender) and not self.generated and any(each in answers for each in asking)


class State(StrEnum):
    QUEUED = "queued"
    ACTIVE = "active"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    FAILED = "failed"
    HELD = "held"
    WITHHELD = "withheld"
    DROPPED = "dropped"

    @property
    def final(self) -> bool:
        return self in (State.DELIVERED, State.FAILED, State.DROPPED)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One address of one plan. `number` counts the deliveries of a message from 1; `plan` indexes `Message.plans`.

    attempts: claims so far, but for those given back unattempted; a claim that never settled and the one after it are
    one. unsettled: attempts in a row, each made alone after a crash, that never settled.
    last_reply: the next hop's last answer, or ours. reported: kinds of report already sent ("late", "failed", …).
    """

    queue_id: str
    number: int
    plan: int
    recipient: str | None
    state: State
    arrived: float
    next_attempt: float | None
    attempts: int = 0
    unconfirmed_attempts: int = 0
    last_reply: str = ""
    reason: Reason | None = None
    detail: str = ""
    size: int = 0
    firm: str | None = None
    dossier: str | None = None
    destination: str = "agiris"
    smarthost: str = "default"
    reported: frozenset[str] = frozenset()
    generated: bool = False
    first_attempt: float | None = None

    @property
    def id(self) -> str:
        return f"{self.queue_id}.{self.number}"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to attempt one delivery once: only the holder of `token` may settle, and only until `lease`.

    unconfirmed: an earlier claim of it never settled (a crash, an expired lease), so it may have been sent: it is
    attempted alone.
    """

    delivery: Delivery
    token: str
    lease: float
    unconfirmed: bool = False


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of a delivery's history. what: a name of relay.observability.events; text: for relay.reasons.describe;
    by: an operator's name or ""."""

    at: float
    number: int
    what: str
    text: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Retry(Section):
    """`retry:` of relay.yaml, in seconds."""

    first: Annotated[Duration, Meaning("wait after the first failed attempt", "2 min")] = 60.0
    factor: Annotated[Factor, Meaning("each wait is so many times the one before", 1.5)] = 2.0
    ceiling: Annotated[Duration, Meaning("longest wait", "30 min")] = 3600.0
    warn_after: Annotated[Duration, Meaning("sender and operator are notified that the message is late", "2 h")] = (
        4 * 3600.0
    )
    give_up: Annotated[Duration, Meaning("then it is failed, and both are notified", "3 d")] = 5 * 86400.0
    attempts: Annotated[SmallCount, Meaning("at least so many before giving up, whatever the clock says", 8)] = 5


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """What an operator does to deliveries: hold, release, retry, drop."""

    verb: str
    by: str = ""
    text: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
