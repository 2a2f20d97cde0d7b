"""The exchanges of AUTH PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login): from lines to credentials.

An exchange is a generator: it yields the text of a challenge (what follows `334`), is sent the client's line without
its end, and returns the credentials or the refusal."""

import base64
import binascii
from collections.abc import Generator
from dataclasses import dataclass

from relay.replies import Reply

CANCELLED = Reply(501, "5.0.0", "authentication cancelled")
NOT_BASE64 = Reply(501, "5.5.2", "cannot decode")
INVALID = Reply(535, "5.7.8", "authentication credentials invalid")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "unknown authentication mechanism")
SYNTAX = Reply(501, "5.5.4", "syntax: AUTH mechanism [initial-response]")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client claims. The repr hides the password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.name!r}, …)"


def exchange(arg: str) -> Generator[str, bytes, Credentials | Reply]:
    """The exchange that `AUTH arg` begins."""
    words = arg.split()
    if not 1 <= len(words) <= 2:
        return SYNTAX
    initial = words[1] if len(words) == 2 else None
    match words[0].upper():
        case "PLAIN":
            return _plain((yield from _response("", initial)))
        case "LOGIN":
            return (yield from _login(initial))
    return UNKNOWN_MECHANISM


def _login(initial: str | None) -> Generator[str, bytes, Credentials | Reply]:
    name = yield from _response("Username:", initial)
    if isinstance(name, Reply):
        return name
    password = yield from _response("Password:", None)
    if isinstance(password, Reply):
        return password
    return _credentials(name, password)


def _plain(message: bytes | Reply) -> Credentials | Reply:
    if isinstance(message, Reply):
        return message
    parts = message.split(b"\0")
    if len(parts) != 3:
        return NOT_BASE64
    if parts[0] and parts[0] != parts[1]:  # to act for another is not offered
        return INVALID
    return _credentials(parts[1], parts[2])


def _credentials(name: bytes, password: bytes) -> Credentials | Reply:
    try:
        return Credentials(name.decode("utf-8"), password.decode("utf-8"))
    except UnicodeDecodeError:
        return NOT_BASE64


def _response(challenge: str, initial: str | None) -> Generator[str, bytes, bytes | Reply]:
    """The client's response, decoded. initial: the response that came with the command, which needs no challenge."""
    if initial is None:
        line = yield base64.b64encode(challenge.encode()).decode()
        initial = line.decode("utf-8", "surrogateescape")
        if initial == "*":
            return CANCELLED
    elif initial == "=":  # an empty initial response, rfc4954#4
        return b""
    try:
        return base64.b64decode(initial.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError):
        return NOT_BASE64
