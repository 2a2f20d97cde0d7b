"""The envelope as commands for one next hop: what it takes, by its reply to EHLO, and the parameters it is given."""

import re

from relay.replies import ErrorKind, Outcome, Stage, failure
from relay.smtp_client.outgoing_content import HELO_ATTEMPTS, OutgoingMessage, SevenBit
from relay.smtp_client.protocol import ClientProtocol

_UNSAFE = re.compile(r"[\x00-\x20\x7f<>]")
_QUOTED_LOCAL = re.compile(r'"(?:[^\x00-\x1f\x7f"\\]|\\[ -~])*"@')
"""Between its quotes a local part may hold what cannot stand elsewhere (rfc5321#4.1.2)."""


def envelope_commands(message: OutgoingMessage, connection: ClientProtocol) -> list[bytes]:
    """MAIL, each RCPT, and DATA, with their CRLF. Raises ValueError for an address that cannot stand in a command."""
    extensions, parameters = connection.extensions, []
    if "size" in extensions:
        parameters.append(f"SIZE={message.content.size}")
    if "8bitmime" in extensions:
        parameters.append(f"BODY={'8BITMIME' if message.content.eightbit else '7BIT'}")
    if message.needs_smtputf8:
        parameters.append("SMTPUTF8")
    recipients = [path_command("RCPT TO:", each) for each in message.recipients]
    return [path_command("MAIL FROM:", message.sender, *parameters), *recipients, b"DATA\r\n"]


def path_command(verb: str, address: str, *parameters: str) -> bytes:
    """`verb`, the path and `parameters`, with CRLF. Raises ValueError for an address that cannot stand in a command."""
    if _UNSAFE.search(_QUOTED_LOCAL.sub("", address, 1) if address.startswith('"') else address):
        raise ValueError(f"an address of the envelope cannot stand in a command: {address!a}")
    return " ".join((f"{verb}<{address}>", *parameters)).encode() + b"\r\n"


def unsupported(message: OutgoingMessage, connection: ClientProtocol) -> Outcome | None:
    """Why this next hop cannot take `message`, known from its EHLO (RFC 6152 §3, RFC 6531 §3.2, RFC 1870 §6.1); None
    when it can."""
    extensions, content = connection.extensions, message.content
    if "smtputf8" not in extensions and message.needs_smtputf8:
        return _missing_extension(message, connection, "SMTPUTF8", ErrorKind.NO_SMTPUTF8)
    if content.eightbit and "8bitmime" not in extensions:
        return _missing_extension(message, connection, "8BITMIME", ErrorKind.NO_8BITMIME)
    limit = extensions.get("size", "")
    if limit.isdecimal() and 0 < int(limit) < content.size:
        return failure(Stage.MAIL, ErrorKind.TOO_LARGE, f"{content.size} octets, it takes {limit}")
    return None


def recoding_for(message: OutgoingMessage, connection: ClientProtocol) -> SevenBit | None:
    """What makes the content in 7 bits, if this next hop needs that and is not expected to accept EHLO again."""
    if not message.content.eightbit or "8bitmime" in connection.extensions or _retries_ehlo(message, connection):
        return None
    return message.seven_bit


def _missing_extension(
    message: OutgoingMessage, connection: ClientProtocol, extension: str, kind: ErrorKind
) -> Outcome:
    if _retries_ehlo(message, connection):
        return failure(Stage.MAIL, ErrorKind.NO_ESMTP, extension)
    return failure(Stage.MAIL, kind)


def _retries_ehlo(message: OutgoingMessage, connection: ClientProtocol) -> bool:
    """A server that rejected EHLO may offer the extension once it accepts EHLO again."""
    return not connection.esmtp and message.attempt < HELO_ATTEMPTS
