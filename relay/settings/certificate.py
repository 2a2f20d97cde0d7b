"""What a certificate says (RFC 5280 §4.1) that `ssl` does not give: its validity and the host names it is for."""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from relay.settings.text import read_whole

_CONTEXT_0, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18
_EXTENSIONS, _OCTET_STRING, _DNS_NAME = 0xA3, 0x04, 0x82
_SUBJECT_ALT_NAME = bytes.fromhex("0603551d11")  # OBJECT IDENTIFIER 2.5.29.17
_TIME = re.compile(r"[0-9]{14}Z")
_FIRST, _LAST = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """not_before, not_after: epoch seconds. names: dNSName of subjectAltName, lower case."""

    not_before: float
    not_after: float
    names: tuple[str, ...]

    def is_for(self, host: str) -> bool:
        """Is `host` among the names? A wildcard stands for one whole label on the left (RFC 9525 §6.3)."""
        wanted = host.lower()
        return wanted in self.names or f"*.{wanted.partition('.')[2]}" in self.names


def expiry(path: Path) -> float:
    """notAfter, in epoch seconds, as `read_certificate`; it raises the same."""
    return read_certificate(path).not_after


def read_certificate(path: Path) -> Certificate:
    """The first certificate of a PEM file: the server's own, before its chain.

    Raises OSError when it cannot be read, ValueError when it is none.
    """
    text = read_whole(path).decode("ascii", errors="replace")
    start, end = text.find(_FIRST), text.find(_LAST)
    if start < 0 or end < start:
        raise ValueError(f"{path} holds no certificate")
    try:
        return _certificate(ssl.PEM_cert_to_DER_cert(text[start : end + len(_LAST)]))
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path} holds no certificate that can be read") from error


def _certificate(der: bytes) -> Certificate:
    _, certificate, _ = _element(der)
    _, fields, _ = _element(certificate)
    tag, _, after_version = _element(fields)
    if tag == _CONTEXT_0:
        fields = after_version
    for _ in ("serialNumber", "signature", "issuer"):
        _, _, fields = _element(fields)
    _, validity, fields = _element(fields)
    first_tag, first, rest = _element(validity)
    last_tag, last, _ = _element(rest)
    names = tuple(_names(fields))
    return Certificate(_time(first_tag, first.decode("ascii")), _time(last_tag, last.decode("ascii")), names)


def _names(fields: bytes) -> Iterator[str]:
    """The dNSName of subjectAltName (RFC 5280 §4.2.1.6) in what follows the validity."""
    while fields:
        tag, content, fields = _element(fields)
        if tag != _EXTENSIONS:
            continue
        _, extensions, _ = _element(content)
        while extensions:
            _, extension, extensions = _element(extensions)
            if not extension.startswith(_SUBJECT_ALT_NAME):
                continue
            _, _, rest = _element(extension)
            tag, value, rest = _element(rest)
            if tag != _OCTET_STRING:  # `critical` stands before it
                _, value, _ = _element(rest)
            _, names, _ = _element(value)
            while names:
                tag, name, names = _element(names)
                if tag == _DNS_NAME:
                    yield name.decode("ascii").lower()


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows, of the first DER element of `data`."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("cut short")
    return tag, data[start : start + length], data[start + length :]


def _time(tag: int, text: str) -> float:
    """RFC 5280 §4.1.2.5: years of two digits are 1950 to 2049."""
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not a time")
    if _TIME.fullmatch(text) is None:
        raise ValueError("not a time")
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    return datetime(year, month, day, int(text[8:10]), int(text[10:12]), int(text[12:14]), tzinfo=UTC).timestamp()
