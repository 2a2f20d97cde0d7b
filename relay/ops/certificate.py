"""When does a certificate end? The one field of X.509 (RFC 5280 §4.1) that the metrics need and `ssl` does not give."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

_CONTEXT_0, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18
_FIRST, _LAST = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def expiry(path: Path) -> float:
    """notAfter, in epoch seconds, of the first certificate of a PEM file: the door's own, before its chain.

    Raises OSError when it cannot be read, ValueError when it is none.
    """
    text = path.read_text("ascii", errors="replace")
    start, end = text.find(_FIRST), text.find(_LAST)
    if start < 0 or end < start:
        raise ValueError(f"{path} holds no certificate")
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(text[start : end + len(_LAST)]))
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path} holds no certificate that can be read") from error


def _not_after(der: bytes) -> float:
    _, certificate, _ = _element(der)
    _, fields, _ = _element(certificate)
    tag, _, after_version = _element(fields)
    if tag == _CONTEXT_0:
        fields = after_version
    for _ in ("serialNumber", "signature", "issuer"):
        _, _, fields = _element(fields)
    _, validity, _ = _element(fields)
    _, _, rest = _element(validity)
    tag, text, _ = _element(rest)
    return _time(tag, text.decode("ascii"))


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
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
