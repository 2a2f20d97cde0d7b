"""DKIM signatures of what leaves (RFC 6376), relaxed/relaxed, RSA and Ed25519 (RFC 8463)."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from relay.mime.headers import MAX_HEADER

Octets = bytes | bytearray | memoryview

BLOCK = 16 * 1024

_ODD_BLANKS = re.compile(rb"\t[ \t]*| [ \t]+| (?=\r)")  # runs of blanks that are not one space inside a line
BLANKS = b" \t"
EMPTY = b" \t\r\n"


def split_header(chunks: Sequence[Octets]) -> tuple[bytes | None, list[memoryview]]:
    """The header without its last CRLF, and the slices of the body. None when no empty line closes it in time."""
    header = bytearray()
    views = [memoryview(chunk).cast("B") for chunk in chunks]
    for index, view in enumerate(views):
        for start in range(0, len(view), BLOCK):
            before = len(header)
            header += view[start : start + BLOCK]
            found = header.find(b"\r\n\r\n", max(0, before - 3))
            if found >= 0:
                body = start + found + 4 - before
                return bytes(header[:found]), [view[body:], *views[index + 1 :]]
            if len(header) > 2 * MAX_HEADER:
                return None, []
    return (bytes(header[:-2]), []) if header.endswith(b"\r\n") else (None, [])


def relaxed(field: bytes) -> bytes:
    """A header field without its last CRLF in relaxed form (rfc6376#3.4.2), without CRLF."""
    name, _, value = field.partition(b":")
    plain = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" \t")
    return name.rstrip(b" \t").lower() + b":" + plain


def body_hash(slices: Sequence[memoryview]) -> bytes:
    """SHA-256 of the body in relaxed form (rfc6376#3.4.4): lines end in CRLF, the last one perhaps in nothing."""
    digest = sha256()
    blank = something = False
    for block in _blocks(_without_empty_end(slices)):
        something = True
        inner = block.lstrip(BLANKS)
        blank = blank or len(inner) < len(block)
        if not inner:
            continue
        if blank and not inner.startswith(b"\r"):
            digest.update(b" ")
        kept = inner.rstrip(BLANKS)
        blank = len(kept) < len(inner)
        # Most blocks are base64: a look for blanks is a hundred times faster than a search for the odd ones.
        digest.update(_ODD_BLANKS.sub(_one_or_none, kept) if b" " in kept or b"\t" in kept else kept)
    if something:
        digest.update(b"\r\n")
    return digest.digest()


def _one_or_none(odd: re.Match[bytes]) -> bytes:
    return b"" if odd.string[odd.end() : odd.end() + 1] == b"\r" else b" "


def _blocks(slices: Iterable[memoryview]) -> Iterator[bytes]:
    """Small pieces that stay in the processor's cache; a run of blanks may lie across two of them."""
    for view in slices:
        for start in range(0, len(view), BLOCK):
            yield bytes(view[start : start + BLOCK])


def _without_empty_end(slices: Sequence[memoryview]) -> Iterator[memoryview]:
    """The slices up to the last octet that is not of an empty line at the end."""
    for last in range(len(slices) - 1, -1, -1):
        view = slices[last]
        end = len(view)
        while end:
            start = max(0, end - BLOCK)
            if kept := len(bytes(view[start:end]).rstrip(EMPTY)):
                yield from slices[:last]
                yield view[: start + kept]
                return
            end = start


RSA_LEAST, RSA_WANTED = 1024, 2048  # bits, rfc8301#3.2
WIDTH = 72

ALWAYS = ("from", "reply-to", "subject", "to", "cc")
"""Signed once more than they stand there, so that none can be added unseen (rfc6376#8.15)."""

IF_PRESENT = (
    "sender",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
)
"""Likewise, if present. Absent ones stay open, for a next hop may rightly add Date or MIME-Version (rfc6409#8)."""

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")


class BadKey(ValueError):
    """The private key is of no use for DKIM; str() says why, without a word of the key."""


@dataclass(frozen=True, slots=True)
class Signer:
    """domain: d=. selector: s=. Made by `signer`."""

    domain: str
    selector: str
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        return "rsa-sha256" if isinstance(self.key, rsa.RSAPrivateKey) else "ed25519-sha256"

    @property
    def bits(self) -> int:
        return self.key.key_size if isinstance(self.key, rsa.RSAPrivateKey) else 256

    def record(self) -> str:
        """The TXT record that must stand at `<selector>._domainkey.<domain>` (rfc6376#3.6.1, rfc8463#3)."""
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return f"v=DKIM1; k=rsa; p={b64encode(der).decode()}"
        return f"v=DKIM1; k=ed25519; p={b64encode(public.public_bytes_raw()).decode()}"

    def sign(self, chunks: Sequence[Octets], at: float) -> bytes:
        """The DKIM-Signature field to put on top of the message `chunks`. at: t=, seconds since the epoch.

        Empty when no verifier could agree on what was signed: the header is not closed, a line of it is no field, or
        there is no From (rfc6376#5.4 demands it).
        """
        header, body = split_header(chunks)
        if header is None or (fields := _fields(header)) is None or not any(name == b"from" for name, _ in fields):
            return b""
        names, signed = _chosen(fields)
        unsigned = self._field(names, body_hash(body), at)
        digest = sha256()
        for field in signed:
            digest.update(relaxed(field) + b"\r\n")
        digest.update(relaxed(unsigned.removesuffix(b"\r\n")))
        return unsigned.removesuffix(b"\r\n") + _folded(b64encode(self._signature(digest.digest())).decode()) + b"\r\n"

    def _field(self, names: Sequence[str], body: bytes, at: float) -> bytes:
        lines = [
            f"DKIM-Signature: v=1; a={self.algorithm}; c=relaxed/relaxed;",
            f" d={self.domain}; s={self.selector}; t={int(at)};",
            *_lines("h=", names),
            f" bh={b64encode(body).decode()};",
            " b=",
        ]
        return "\r\n".join(lines).encode("ascii") + b"\r\n"

    def _signature(self, digest: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        return self.key.sign(digest)  # rfc8463#3: PureEdDSA over the hash


def signer(domain: str, selector: str, pem: bytes) -> Signer:
    """A Signer with the private key `pem` (PKCS#8 or PKCS#1, without passphrase). Raises BadKey."""
    return Signer(_ascii(domain), selector, _key(pem))


def weak(pem: bytes) -> int:
    """Bits of an RSA key that are fewer than `RSA_WANTED`, 0 for a good key. Raises BadKey."""
    key = _key(pem)
    return key.key_size if isinstance(key, rsa.RSAPrivateKey) and key.key_size < RSA_WANTED else 0


def _key(pem: bytes) -> rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise BadKey("the key is encrypted with a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("no private key in PEM form is in it") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < RSA_LEAST:
            raise BadKey(f"an RSA key of {key.key_size} bits is refused by every receiver")
    elif not isinstance(key, ed25519.Ed25519PrivateKey):
        raise BadKey("the key is neither RSA nor Ed25519")
    return key


def _ascii(domain: str) -> str:
    return domain if domain.isascii() else domain.encode("idna").decode("ascii")


def _fields(header: bytes) -> list[tuple[bytes, bytes]] | None:
    """(name in lower case, field without its last CRLF) from the top; None when a line is no field."""
    fields = []
    for field in re.split(rb"\r\n(?![ \t])", header):
        match = _NAME.match(field)
        if match is None:
            return None
        fields.append((match[1].lower(), field))
    return fields


def _chosen(fields: Iterable[tuple[bytes, bytes]]) -> tuple[list[str], list[bytes]]:
    """The h= list and the fields it stands for, in its order: of one name from the lowest up (rfc6376#5.4.2)."""
    standing: dict[str, list[bytes]] = {}
    for octets, field in fields:
        standing.setdefault(octets.decode("ascii"), []).append(field)
    names: list[str] = []
    signed: list[bytes] = []
    for name in (*ALWAYS, *IF_PRESENT):
        present = standing.get(name, [])
        if present or name in ALWAYS:
            names += [name] * (len(present) + 1)
            signed += reversed(present)
    return names, signed


def _lines(tag: str, names: Sequence[str]) -> list[str]:
    lines, line = [], f" {tag}"
    for number, name in enumerate(names, 1):
        piece = name + (":" if number < len(names) else ";")
        if len(line) + len(piece) > WIDTH:
            lines.append(line)
            line = "  "
        line += piece
    return [*lines, line]


def _folded(value: str) -> bytes:
    first, rest = value[: WIDTH - 3], value[WIDTH - 3 :]
    return "\r\n  ".join([first, *(rest[at : at + WIDTH] for at in range(0, len(rest), WIDTH))]).encode("ascii")
