"""Every answer we speak, every outcome of an attempt, and the failure table: one place decides what a failure means.

Sources: RFC 5321 §4.2 (codes), RFC 3463 (enhanced codes)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from relay.single_line import single_line


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
class OutcomeUnknown:
    """Lost after the final dot: the next hop may have it. Retried: twice rather than never."""

    reply: Reply
    stage: Stage = Stage.BODY


Outcome = Delivered | Deferred | Failed | OutcomeUnknown


class ErrorKind(StrEnum):
    """What went wrong when there is no reply that says it."""

    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    LOST = "lost"
    TLS = "tls"
    CERTIFICATE = "certificate"
    NO_TLS = "no_tls"
    NO_AUTH = "no_auth"
    GARBAGE = "garbage"
    NO_8BITMIME = "no_8bitmime"
    NO_SMTPUTF8 = "no_smtputf8"
    NO_ESMTP = "no_esmtp"
    TOO_LARGE = "too_large"
    OUTCOME_UNKNOWN = "outcome_unknown"
    UNUSABLE = "unusable"
    UNFORESEEN = "unforeseen"


TEXT_LIMIT = 500

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")

_TRANSACTION = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY})

# RFC 4954 §6: "authenticate first", "mechanism too weak", "wrong credentials", "encryption required".
_CREDENTIALS = frozenset({530, 534, 535, 538})

# What went wrong -> (code, enhanced code, what an operator reads). Doubt is temporary: only what the message
# itself makes impossible with this next hop is permanent.
_FAILURES: dict[ErrorKind, tuple[int, str, str]] = {
    ErrorKind.UNRESOLVED: (451, "4.4.3", "the name of the next hop cannot be resolved"),
    ErrorKind.UNREACHABLE: (451, "4.4.1", "no connection to the next hop"),
    ErrorKind.TIMEOUT: (451, "4.4.2", "no answer in time"),
    ErrorKind.LOST: (451, "4.4.2", "connection lost"),
    ErrorKind.TLS: (451, "4.7.5", "TLS failed"),
    ErrorKind.CERTIFICATE: (451, "4.7.5", "the certificate of the next hop cannot be trusted"),
    ErrorKind.NO_TLS: (451, "4.7.5", "the next hop offers no STARTTLS"),
    ErrorKind.NO_AUTH: (451, "4.7.0", "the next hop offers no way to authenticate"),
    ErrorKind.GARBAGE: (451, "4.5.0", "not an SMTP reply"),
    ErrorKind.NO_8BITMIME: (554, "5.6.3", "the message has 8-bit octets and the next hop does not offer 8BITMIME"),
    ErrorKind.NO_SMTPUTF8: (553, "5.6.7", "the message needs SMTPUTF8 and the next hop does not offer it"),
    ErrorKind.NO_ESMTP: (451, "4.5.1", "the next hop rejected EHLO, and the message needs an extension"),
    ErrorKind.TOO_LARGE: (552, "5.3.4", "larger than the next hop takes"),
    ErrorKind.OUTCOME_UNKNOWN: (451, "4.4.2", "connection lost before the final reply; delivery status unknown"),
    ErrorKind.UNUSABLE: (451, "4.3.5", "the smarthost's settings cannot be used"),
    ErrorKind.UNFORESEEN: (451, "4.3.0", "unforeseen error of the relay"),
}

_ALERTING = frozenset(
    {
        ErrorKind.TLS,
        ErrorKind.CERTIFICATE,
        ErrorKind.NO_TLS,
        ErrorKind.NO_AUTH,
        ErrorKind.UNUSABLE,
        ErrorKind.UNFORESEEN,
    }
)


class Subject(StrEnum):
    """What a refusal of the next hop is about."""

    SENDER = "sender"
    """Us: our account, address, domain or host. An operator must act, and the next message would fare no better."""
    MAILBOX = "mailbox"
    """Room or pace over there: it passes."""
    MESSAGE = "message"
    """This message or this recipient: it will be refused again."""


_SENDER_CODES = frozenset(
    {
        *(
            "5.1.7",
            "5.1.8",
            "5.3.2",
            "5.3.5",
        ),
        *(
            "5.7.4",
            "5.7.8",
            "5.7.9",
            "5.7.10",
            "5.7.11",
            "5.7.12",
            "5.7.13",
            "5.7.14",
        ),
        *(
            "5.7.20",
            "5.7.21",
            "5.7.22",
            "5.7.23",
            "5.7.24",
            "5.7.25",
            "5.7.26",
            "5.7.27",
            "5.7.28",
            "5.7.29",
            "5.7.30",
        ),
        *(
            "5.1.90",
            "5.2.252",
            "5.7.3",
            "5.7.54",
            "5.7.57",
            "5.7.60",
            "5.7.64",
            "5.7.124",
            "5.7.133",
            "5.7.134",
            "5.7.136",
            "5.7.232",
            "5.7.233",
            "5.7.367",
        ),
        *(
            "5.7.501",
            "5.7.502",
            "5.7.503",
            "5.7.506",
            "5.7.507",
            "5.7.508",
            "5.7.509",
            "5.7.510",
            "5.7.511",
        ),
        *("5.4.5",),
    }
)
"""Enhanced codes that are about the sender whatever the words, in this order:

- RFC 3463: sender's address, a system that takes nothing or is set up wrongly.
- RFC 4954 §6 and RFC 5248: authentication and encryption. RFC 7372, RFC 7505, RFC 8617 and the IANA registry of
  enhanced status codes: DKIM, SPF, reverse DNS, null MX, mail flood, ARC, REQUIRETLS.
- Microsoft, "Email non-delivery reports and SMTP errors in Exchange Online": daily limit, SendAsDenied, client not
  authenticated, no permission to send as this sender, relaying denied, senders a mailbox does not admit, limits of
  a tenant; banned senders and addresses, SPF, DMARC.
- Google, "Gmail SMTP errors and codes": daily limit (RFC 3463 has congestion, which passes as well).
"""

_SENDER_RANGES = ((606, 649), (700, 750))
"""5.7.606 to 5.7.649, banned sending address; 5.7.700 to 5.7.750, tenant over its threshold (Microsoft, as above)."""

_MAILBOX_CODES = frozenset({"5.2.2", "5.2.121", "5.2.122", "5.3.1"})
"""RFC 3463: mailbox full, mail system full. Microsoft: a recipient who receives too much at once."""

_WORDS_DECIDE = frozenset({"", "5.0.0", "5.1.0", "5.2.0", "5.3.0", "5.4.1", "5.5.0", "5.5.1", "5.7.0", "5.7.1"})
"""Codes under which servers refuse senders and messages alike: only here the words are asked."""

_PHRASES: tuple[tuple[Subject, str, tuple[str, ...]], ...] = (
    (
        Subject.MESSAGE,
        "content and recipients",
        (
            r"recipient address rejected(?!.*relay)",
            r"this message (is likely|violates|has been blocked|was blocked)",
            r"message (content )?rejected (due to|as|for) (content|spam)",
            r"content (policy|filter)",
            r"\bvirus\b",
            r"user unknown|no such user|does not exist",
        ),
    ),
    (
        Subject.SENDER,
        "relaying",
        (
            r"relay access denied|\brelay denied|relay not (permitted|allowed)",
            r"relaying (is )?(denied|prohibited|not (allowed|permitted))",
            r"(not (permitted|allowed|authori[sz]ed) to|unable to|cannot|do not) relay",
        ),
    ),
    (
        Subject.SENDER,
        "whose address is used",
        (
            r"send ?as ?denied|permissions? to send as|not owned by user|not (allowed|authori[sz]ed) to send",
            r"sender (address )?(is )?(rejected|denied|blocked|not (allowed|authori[sz]ed|permitted))",
        ),
    ),
    (
        Subject.SENDER,
        "blocklists and reputation",
        (
            r"blocked using|spamhaus|spamcop|barracuda|\bdns-?bl\b|\brbl\b",
            r"\b(block|black|deny)[ -]?list(ed)?\b|reputation|\bbanned\b|(client host|helo command) rejected",
        ),
    ),
    (
        Subject.SENDER,
        "quota and rate",
        (
            r"(daily|hourly|sending|relay|rate|user) (\w+ ){0,3}(limit|quota)",
            r"e?mail quota exceeded|too many (messages|e?mails)",
        ),
    ),
    (
        Subject.SENDER,
        "authentication of the session, the domain, the host",
        (
            r"authenticate first|authentication (is )?required|not (been )?authenticated|unauthenticated",
            r"must (first )?(authenticate|issue a starttls)|\bspf\b|\bdkim\b|\bdmarc\b|reverse dns|\bptr\b",
        ),
    ),
    (
        Subject.MAILBOX,
        "room",
        (
            r"(mailbox|inbox) (is )?full|quota exceeded|(over|exceeded) (its |his |the )?(storage )?quota",
            r"insufficient (system )?storage|out of storage",
        ),
    ),
)
_WORDS = tuple((subject, re.compile("|".join(phrases), re.IGNORECASE)) for subject, _, phrases in _PHRASES)
"""Read from top to bottom; what none knows is about the message."""


def subject_of(enhanced: str, text: str) -> Subject:
    """What a permanent refusal is about: by its enhanced code where that decides, else by its words."""
    if enhanced in _SENDER_CODES:
        return Subject.SENDER
    if enhanced in _MAILBOX_CODES:
        return Subject.MAILBOX
    if enhanced.startswith("5.7.") and any(low <= int(enhanced[4:]) <= high for low, high in _SENDER_RANGES):
        return Subject.SENDER
    if enhanced not in _WORDS_DECIDE:
        return Subject.MESSAGE
    return next((subject for subject, words in _WORDS if words.search(text)), Subject.MESSAGE)


def clean(text: str) -> str:
    """Text of a remote on one line, free of control characters, cut to `TEXT_LIMIT` characters."""
    line = single_line(text)
    return line if len(line) <= TEXT_LIMIT else line[: TEXT_LIMIT - 1] + "…"


def remote(code: int, text: str) -> Reply:
    """A reply of the next hop as a value; the lines of `text` may each bear the enhanced code (RFC 2034 §4)."""
    enhanced, lines = "", []
    for line in text.splitlines():
        match = _ENHANCED.match(line)
        if match and match[1][0] == str(code)[:1]:
            enhanced = enhanced or match[1]
            line = line[match.end() :]
        lines.append(line)
    return Reply(code, enhanced, clean(" ".join(lines)))


def classify(stage: Stage, code: int, enhanced: str, text: str) -> Outcome:
    """What the next hop's reply means for the message, when it is not the reply that lets the dialogue go on.

    `Delivered` only for a 2xx to the final dot. The first failure that applies decides.
    """
    reply = Reply(code, enhanced, clean(text))
    if stage is Stage.BODY and reply.accepted:
        return Delivered(reply)
    if 400 <= code < 500:
        return Deferred(reply, stage, alert=stage is Stage.TLS)
    if not 500 <= code < 600:
        return Deferred(Reply(451, "4.5.0", clean(f"unexpected reply: {reply}")), stage)
    if stage in (Stage.TLS, Stage.AUTH) or code in _CREDENTIALS:
        return Deferred(reply, stage, alert=True)  # a wrong password must not bounce invoices
    if stage is Stage.MAIL and enhanced.startswith("5.7."):
        return Deferred(reply, stage, alert=True)
    if stage in _TRANSACTION and (subject := subject_of(enhanced, text)) is not Subject.MESSAGE:
        return Deferred(reply, stage, alert=subject is Subject.SENDER)
    if stage is Stage.RCPT and code == 552:
        return Deferred(reply, stage)  # rfc5321#4.5.3.1.10: too many recipients, to be read as 452
    if stage in _TRANSACTION:
        return Failed(reply, stage)
    return Deferred(reply, stage)


def failure(stage: Stage, kind: ErrorKind, text: str = "") -> Outcome:
    """What it means for the message when there is no reply: `text` completes the sentence of the table."""
    code, enhanced, sentence = _FAILURES[kind]
    reply = Reply(code, enhanced, clean(f"{sentence}: {text}" if text else sentence))
    if kind is ErrorKind.OUTCOME_UNKNOWN:
        return OutcomeUnknown(reply, stage)
    if code >= 500:
        return Failed(reply, stage)
    return Deferred(reply, stage, alert=kind in _ALERTING)
