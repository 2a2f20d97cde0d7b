"""The states of an SMTP session, the commands that each state refuses, and the fixed replies."""

from enum import Enum, auto

from relay.observability.events import RejectCause
from relay.replies import Reply


class State(Enum):
    """Where a session stands."""

    CONNECTING = auto()  # no banner yet: PROXY header, TLS handshake
    GREETING = auto()  # EHLO or HELO must come first
    READY = auto()  # no transaction
    AUTH = auto()  # the next line answers a challenge
    VERIFYING = auto()  # a password is checked
    HANDSHAKE = auto()  # after STARTTLS
    MAIL = auto()  # a transaction without recipients
    RCPT = auto()  # a transaction with recipients
    DATA = auto()  # the octets of a message come
    CHUNK = auto()  # the octets of a BDAT chunk come
    BDAT = auto()  # between two chunks
    ACCEPTING = auto()  # the intake has the message
    CLOSED = auto()


CONTENT = frozenset({State.DATA, State.CHUNK})
"""What comes is no command."""
WAITING = frozenset({State.CONNECTING, State.VERIFYING, State.HANDSHAKE, State.ACCEPTING, State.CLOSED})
"""What comes is not read."""
IDLE = frozenset({State.GREETING, State.READY, State.AUTH, State.MAIL, State.RCPT})
"""The session may end with 421, and nothing is lost but what the client can send again at once."""

OK = Reply(250, "2.0.0", "OK")
LOCAL_ERROR = Reply(451, "4.3.0", "local error, try again later")
CLOSING = Reply(421, "4.3.2", "shutting down, try again later")
TIMEOUT = Reply(421, "4.4.2", "timeout, closing")
CONNECTION_REJECTED = {
    RejectCause.SERVER_LIMIT: Reply(421, "4.7.0", "too many connections, try again later"),
    RejectCause.HOST_LIMIT: Reply(421, "4.7.0", "too many connections from your address, try again later"),
    RejectCause.NETWORK: Reply(554, "5.7.1", "access denied"),
    RejectCause.STOPPING: CLOSING,
}
LINE_TOO_LONG = Reply(500, "5.5.2", "line too long")
AUTH_LINE_TOO_LONG = Reply(500, "5.5.6", "authentication exchange line too long")
BARE_LF = Reply(500, "5.5.2", "a command ends with CR LF")
UNKNOWN_COMMAND = Reply(500, "5.5.1", "command not recognized")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "command not implemented")
NO_ARGUMENT = Reply(501, "5.5.4", "no argument allowed")
BDAT_SYNTAX = Reply(501, "5.5.4", "syntax: BDAT octets [LAST]")
HELO_FIRST = Reply(503, "5.5.1", "send EHLO first")
MAIL_FIRST = Reply(503, "5.5.1", "need MAIL first")
NESTED_MAIL = Reply(503, "5.5.1", "nested MAIL")
NO_RECIPIENTS = Reply(554, "5.5.1", "no valid recipients")
BDAT_BEGUN = Reply(503, "5.5.1", "the message is being sent by BDAT")
NO_AUTH_NOW = Reply(503, "5.5.1", "AUTH is not possible now")
TLS_FIRST = Reply(530, "5.7.0", "must issue STARTTLS first")
AUTH_FIRST = Reply(530, "5.7.0", "authentication required")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "too many errors")
TOO_MANY_MESSAGES = Reply(450, "4.7.1", "too many messages from your address, try again in a minute")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "too many recipients, send the rest in another transaction")
NOT_SMTP = Reply(554, "5.5.1", "this is an SMTP server")

_IN_TRANSACTION = (State.MAIL, State.RCPT, State.BDAT)
REFUSALS: dict[str, dict[State, Reply]] = {
    "EHLO": {},
    "HELO": {},
    "STARTTLS": {},
    "AUTH": {State.GREETING: HELO_FIRST, **dict.fromkeys(_IN_TRANSACTION, NO_AUTH_NOW)},
    "MAIL": {State.GREETING: HELO_FIRST, **dict.fromkeys(_IN_TRANSACTION, NESTED_MAIL)},
    "RCPT": {State.GREETING: HELO_FIRST, State.READY: MAIL_FIRST, State.BDAT: BDAT_BEGUN},
    "DATA": {
        State.GREETING: HELO_FIRST,
        State.READY: MAIL_FIRST,
        State.MAIL: NO_RECIPIENTS,
        State.BDAT: BDAT_BEGUN,
    },
    "BDAT": {State.GREETING: HELO_FIRST, State.READY: MAIL_FIRST, State.MAIL: NO_RECIPIENTS},
    "RSET": {},
    "NOOP": {},
    "HELP": {},
    "VRFY": {},
    "EXPN": {},
    "ETRN": {},
    "TURN": {},
    "QUIT": {},
}
"""Every command: the states in which it is refused, and the reply. In the other states it is allowed."""

BEFORE_TLS = frozenset({"EHLO", "HELO", "STARTTLS", "NOOP", "QUIT", "RSET", "HELP"})
"""What a listener that requires TLS allows in clear text."""
JUNK = frozenset({"NOOP", "RSET", "VRFY", "HELP", "EHLO", "HELO", "EXPN", "AUTH", "STARTTLS"})
"""Commands that bring no message nearer."""
OTHER_PROTOCOLS = frozenset(
    {"GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PRI", "HTTP", "HOST:"}
)
"""First words of other protocols, whose content would be read as commands."""
