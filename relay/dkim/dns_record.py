"""The public key in DNS, by which receivers verify our DKIM signatures (rfc6376#3.6, rfc8463). Pure."""

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.dkim.signature import Signer

STRING = 255
"""Octets of one string of a TXT record (rfc1035#3.3); a longer value is several, joined without a blank."""

_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def place(signer: Signer) -> str:
    """The name at which the record stands, without a dot at its end."""
    return f"{signer.selector}._domainkey.{signer.domain}"


def zone_line(signer: Signer) -> str:
    """The record as a line of a zone file (rfc1035#5.1)."""
    value = signer.record()
    strings = " ".join(f'"{value[at : at + STRING]}"' for at in range(0, len(value), STRING))
    return f"{place(signer)}. IN TXT ( {strings} )"


def joined(printed: str) -> str:
    """The value of a TXT record as a tool printed it: `dig +short` and zone files quote its strings."""
    strings = _QUOTED.findall(printed)
    return re.sub(r"\\(.)", r"\1", "".join(strings)) if strings else printed.strip()


def differences(value: str, signer: Signer) -> Iterator[str]:
    """Why a receiver could not verify `signer`'s signatures by the record `value`; nothing when it can."""
    tags = _tags(value)
    if tags is None or "p" not in tags:
        yield "this is no DKIM record: tag=value, separated by semicolons, with a p="
        return
    if tags.get("v", "DKIM1") != "DKIM1":
        yield f"v={tags['v']}: receivers know DKIM1 only"
    elif "v" in tags and next(iter(tags)) != "v":
        yield "v= stands, but not as the first tag"
    ours, theirs = signer.algorithm.partition("-")[0], tags.get("k", "rsa")
    if theirs != ours:
        yield f"k={theirs}, but the key is {ours}"
    yield from _limits(tags)
    if not tags["p"]:
        yield "p= is empty: the key is revoked"
    elif theirs == ours and _octets(tags["p"]) not in _forms(signer):
        yield "p= is another public key: receivers will take each signature for a forged one"


def _limits(tags: dict[str, str]) -> Iterator[str]:
    if "h" in tags and "sha256" not in tags["h"].split(":"):
        yield f"h={tags['h']} does not allow sha256"
    if "s" in tags and not {"*", "email"} & set(tags["s"].split(":")):
        yield f"s={tags['s']} does not allow email"
    if "y" in tags.get("t", "").split(":"):
        yield "t=y: the domain only tests DKIM, receivers may treat its mails as unsigned"


def _tags(value: str) -> dict[str, str] | None:
    """The tag list (rfc6376#3.2), blanks in values left out; None when it is none or a tag is given twice."""
    tags: dict[str, str] = {}
    for item in value.strip().removesuffix(";").split(";"):
        match = _TAG.fullmatch(item)
        if match is None or match[1] in tags:
            return None
        tags[match[1]] = re.sub(r"\s+", "", match[2])
    return tags


def _octets(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Error, ValueError):
        return b""


def _forms(signer: Signer) -> set[bytes]:
    """The octets p= may hold: raw for Ed25519; for RSA SubjectPublicKeyInfo, or the bare RSAPublicKey of old makes."""
    public = signer.key.public_key()
    if signer.algorithm == "ed25519-sha256":
        return {public.public_bytes(Encoding.Raw, PublicFormat.Raw)}
    return {public.public_bytes(Encoding.DER, form) for form in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1)}
