"""Keys for DKIM, made anew in each run, and dkimpy as the verifier."""

from functools import cache

import dkim
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from relay.dkim.signature import Signer, signer

DOMAIN, SELECTOR = "relay.example", "s1"


@cache
def pem(kind: str, bits: int = 2048, password: bytes = b"") -> bytes:
    """A private key: rsa | ed25519 | ec."""
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if kind == "rsa":
        key = rsa.generate_private_key(65537, bits)
    else:
        key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    wrapped = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, wrapped)


@cache
def key(kind: str) -> Signer:
    return signer(DOMAIN, SELECTOR, pem(kind))


def verified(mail: bytes, by: Signer) -> bool:
    """Does dkimpy take the first signature of `mail` by the record of `by`? As it arrives: closed by CRLF."""
    mail += b"" if mail.endswith(b"\r\n") else b"\r\n"
    record = by.record().encode()
    place = f"{by.selector}._domainkey.{by.domain}.".encode()

    def lookup(name: bytes | str, timeout: int = 5) -> bytes | None:
        asked = name.encode() if isinstance(name, str) else name
        return record if asked == place else None

    return bool(dkim.verify(mail, dnsfunc=lookup))
