"""Return paths of our own, signed: what comes back names its delivery, and nobody can forge one (VERP)."""

import hmac
import re
from base64 import b32encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

_TAG = re.compile(r"([0-9A-Z]{1,40})-([1-9][0-9]{0,8})-([A-Z2-7]{16})")
MAX_LOCAL = 64
"""Octets of a local part (rfc5321#4.5.3.1.1)."""

MAX_RETURN_PATH_LOCAL = 24
"""Octets of the local part of a return path to which a tag can be added, whatever the number of the delivery."""


def verp(return_path: str, queue_id: str, number: int, secret: bytes) -> str:
    """`bounces@relay.example` -> `bounces+<queue id>-<number>-<80 bits of HMAC-SHA-256>@relay.example`.

    Letters and digits that survive a change of case on the way. Raises ValueError when `return_path` is no address or
    its local part leaves no room (MAX_RETURN_PATH_LOCAL octets always fit), or the secret is empty.
    """
    local, at, domain = return_path.rpartition("@")
    tag = f"{queue_id}-{number}".upper()
    tagged = f"{local}+{tag}-{_seal(tag, secret)}"
    if not (local and at and domain) or len(tagged.encode()) > MAX_LOCAL:
        raise ValueError("the return path is no address, or its local part is too long for a tag")
    return f"{tagged}@{domain}"


def parse_verp(address: str, secret: bytes) -> tuple[str, int] | None:
    """(queue id, number) of an address that `verp` made with this secret; None for any other: a forged bounce."""
    tag = address.rpartition("@")[0].rpartition("+")[2].upper()
    match = _TAG.fullmatch(tag) if len(tag) <= MAX_LOCAL else None
    if match is None or not hmac.compare_digest(_seal(f"{match[1]}-{match[2]}", secret), match[3]):
        return None
    return match[1], int(match[2])


def _seal(tag: str, secret: bytes) -> str:
    keyed = _keyed(secret).copy()
    keyed.update(tag.encode("utf-8"))
    return b32encode(keyed.digest()[:10]).decode("ascii")


@lru_cache(maxsize=4)
def _keyed(secret: bytes) -> hmac.HMAC:
    """Kept, and not `hmac.digest`, which lets go of the interpreter's lock for a few octets."""
    if not secret:
        raise ValueError("no secret to sign return paths with")
    return hmac.new(secret, b"verp\0", sha256)


@dataclass(frozen=True, slots=True)
class Returned:
    """text: one line for the history. failed: the message did not reach its mailbox after all."""

    text: str
    failed: bool
