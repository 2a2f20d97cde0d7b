"""The content of a PDF stream, inflated with a limit: pikepdf has none, and a bomb of 2 MB holds 2 GB."""

import base64
import binascii
import zlib

import pikepdf

XML_LIMIT = 20 * 1024 * 1024
XMP_LIMIT = 2 * 1024 * 1024
MAX_FILTERS = 4


class TooLarge(ValueError):
    """The content exceeds the limit."""


class Undecodable(ValueError):
    """The stream is damaged or uses a filter that PDF/A forbids for it (ISO 19005-3 §6.1.7)."""


def content(stream: pikepdf.Object, limit: int) -> bytes:
    """The decoded octets of `stream`, at most `limit` of them. Raises TooLarge, Undecodable."""
    data = bytes(stream.read_raw_bytes())
    filters = _names(stream.get("/Filter"))
    if len(filters) > MAX_FILTERS:
        raise Undecodable(f"{len(filters)} filters")
    if filters and _predicts(stream.get("/DecodeParms")):
        raise Undecodable("a predictor on a stream that is no image")
    if not filters and len(data) > limit:
        raise TooLarge(f"more than {limit} octets")
    for name in filters:
        data = _decode(name, data, limit)
    return data


def _decode(name: str, data: bytes, limit: int) -> bytes:
    if name in ("/FlateDecode", "/Fl"):
        return _inflate(data, limit)
    try:
        if name in ("/ASCIIHexDecode", "/AHx"):
            digits = b"".join(data.split(b">")[0].split())
            return binascii.unhexlify(digits + b"0" * (len(digits) % 2))
        if name in ("/ASCII85Decode", "/A85"):
            return base64.a85decode(data.split(b"~>")[0].strip().removeprefix(b"<~"))
    except ValueError as error:
        raise Undecodable(f"damaged {name[1:]} stream") from error
    raise Undecodable(f"filter {name[1:40]}")


def _inflate(data: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise Undecodable("damaged FlateDecode stream") from error
    if len(out) > limit:
        raise TooLarge(f"more than {limit} octets")
    return out


def _names(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, pikepdf.Array):
        return [str(value[place]) for place in range(min(len(value), MAX_FILTERS + 1))]
    return [str(value)]


def _predicts(value: object) -> bool:
    each = (
        [value[place] for place in range(min(len(value), MAX_FILTERS))] if isinstance(value, pikepdf.Array) else [value]
    )
    return any(isinstance(item, pikepdf.Dictionary) and item.get("/Predictor", 1) != 1 for item in each)
