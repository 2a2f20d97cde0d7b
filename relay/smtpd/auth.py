"""The exchanges of AUTH PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login): from lines to credentials."""

import base64
import binascii
from dataclasses import dataclass
from typing import Protocol

from relay.replies import Reply

CANCELLED = Reply(501, "5.0.0", "authentication cancelled")
NOT_BASE64 = Reply(501, "5.5.2", "cannot decode")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "unknown authentication mechanism")
SYNTAX = Reply(501, "5.5.4", "syntax: AUTH mechanism [initial-response]")


class Line(Protocol):
    """Who can say a challenge and read the answer."""

    def say(self, reply: Reply | str) -> None: ...

    async def read_auth_line(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client claims. The repr hides the password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.name!r}, …)"


async def exchange(client: Line, arg: str) -> Credentials | Reply:
    """Name and password, or the refusal. Raises what `read_auth_line` raises."""
    words = arg.split()
    if not 1 <= len(words) <= 2:
        return SYNTAX
    initial = words[1] if len(words) == 2 else None
    match words[0].upper():
        case "PLAIN":
            return _plain(await _answer(client, "", initial))
        case "LOGIN":
            return await _login(client, initial)
    return UNKNOWN_MECHANISM


async def _login(client: Line, initial: str | None) -> Credentials | Reply:
    name = await _answer(client, "Username:", initial)
    if isinstance(name, Reply):
        return name
    password = await _answer(client, "Password:", None)
    if isinstance(password, Reply):
        return password
    return _credentials(name, password)


def _plain(message: bytes | Reply) -> Credentials | Reply:
    if isinstance(message, Reply):
        return message
    parts = message.split(b"\0")
    if len(parts) != 3 or (parts[0] and parts[0] != parts[1]):  # to act for another is not offered
        return NOT_BASE64 if len(parts) != 3 else Reply(535, "5.7.8", "authentication credentials invalid")
    return _credentials(parts[1], parts[2])


def _credentials(name: bytes, password: bytes) -> Credentials | Reply:
    try:
        return Credentials(name.decode("utf-8"), password.decode("utf-8"))
    except UnicodeDecodeError:
        return NOT_BASE64


async def _answer(client: Line, challenge: str, initial: str | None) -> bytes | Reply:
    if initial is None:
        client.say("334 " + base64.b64encode(challenge.encode()).decode())
        initial = (await client.read_auth_line()).rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        if initial == "*":
            return CANCELLED
    elif initial == "=":  # an empty initial response, rfc4954#4
        return b""
    try:
        return base64.b64decode(initial.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError):
        return NOT_BASE64
