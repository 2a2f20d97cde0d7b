"""The users file: one `name:$scrypt$ln=14,r=8,p=1$salt$hash` a line; `#` begins a comment line."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.settings.yaml_file import read_whole

_LOG_N, _R, _P = 14, 8, 1  # 16 MiB and about 50 ms a guess
_HASH = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_MEMORY = 64 * 1024 * 1024
_DIGEST = 32
"""Octets that `_scrypt` makes: a hash of another length matches no password."""


class UsersFileError(Exception):
    """A users file cannot be read: the text says which line and why, never a hash."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A hashed password. Its repr shows nothing."""

    log_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def __repr__(self) -> str:
        return "Secret(…)"

    def matches(self, password: str) -> bool:
        """Takes about 50 ms of CPU: never on the event loop."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.log_n, self.r, self.p), self.digest)


Users = Mapping[str, Secret]

# Checked when the name is unknown, so that the time of the answer does not tell which names exist.
_NOBODY = Secret(_LOG_N, _R, _P, b"\0" * 16, b"\0" * 32)


def make_user_line(name: str, password: str) -> str:
    """One line of a users file. Raises ValueError for a name or password that could not be given by AUTH."""
    if not _is_name(name):
        raise ValueError("a user name is printable, without colon, blanks around it or # in front")
    if not password or "\0" in password:
        raise ValueError("a password is not empty and holds no NUL")
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, _LOG_N, _R, _P)
    return f"{name}:$scrypt$ln={_LOG_N},r={_R},p={_P}${_b64(salt)}${_b64(digest)}"


def read_users(path: Path) -> dict[str, Secret]:
    """The users of the file at `path`, at least one. Raises OSError, UsersFault."""
    try:
        text = read_whole(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsersFileError("the file is not UTF-8") from error
    users = parse_users(text)
    if not users:
        raise UsersFileError("the file holds no user")
    return users


def parse_users(text: str) -> dict[str, Secret]:
    """The users of a file. Raises UsersFault for the first line that is none, or that lets nobody in."""
    users: dict[str, Secret] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, hashed = line.strip().partition(":")
        secret = _secret(hashed) if colon and _is_name(name) else None
        if secret is None:
            raise UsersFileError(f"line {number}: not name:$scrypt$ln=…,r=…,p=…$salt$hash")
        if len(secret.digest) != _DIGEST:
            octets = f"{len(secret.digest)} octets, not {_DIGEST}"
            raise UsersFileError(f"line {number}: the hash matches no password: it has {octets}")
        if name in users:
            raise UsersFileError(f"line {number}: {name} is there twice")
        users[name] = secret
    return users


def verify(users: Users, name: str, password: str) -> bool:
    """Is it the user's password? Takes the same time for unknown names. Blocks for about 50 ms of CPU."""
    secret = users.get(name)
    matches = (secret or _NOBODY).matches(password)
    return matches and secret is not None


def _is_name(name: str) -> bool:
    """Can AUTH give this name, and a line of the file hold it?"""
    return bool(name) and ":" not in name and name[0] != "#" and name.isprintable() and name == name.strip()


def _secret(text: str) -> Secret | None:
    match = _HASH.fullmatch(text)
    if match is None:
        return None
    log_n, r, p = int(match[1]), int(match[2]), int(match[3])
    try:
        salt, digest = _unb64(match[4]), _unb64(match[5])
    except binascii.Error:
        return None
    if not 10 <= log_n <= 20 or not r or not p or 128 * r * (1 << log_n) > _MEMORY // 2:
        return None
    if log_n >= 16 * r:  # RFC 7914 §2: N < 2^(128 * r / 8); hashlib raises for it
        return None
    return Secret(log_n, r, p, salt, digest)


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    prepared = unicodedata.normalize("NFKC", password).encode("utf-8")  # near enough to SASLprep, rfc4616#2
    return hashlib.scrypt(prepared, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MEMORY, dklen=_DIGEST)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
