"""The content of a PDF stream, decoded with a limit: pikepdf has none, and a bomb of 2 MB holds 2 GB."""

import base64
import binascii
import zlib

import pikepdf

XML_LIMIT = 20 * 1024 * 1024
XMP_LIMIT = 2 * 1024 * 1024
HEAD_ROOM = 64 * 1024
MAX_FILTERS = 4

_LZW = frozenset({"/LZWDecode", "/LZW"})
_FLATE = pikepdf.Name.FlateDecode
_CLEAR, _END = 256, 257
_PREDICTED = {"/Predictor": 1, "/Columns": 1, "/Colors": 1, "/BitsPerComponent": 8}


class TooLarge(ValueError):
    """The content exceeds the limit."""


class Undecodable(ValueError):
    """The stream is damaged or uses a filter that PDF/A forbids for it (ISO 19005-3 §6.1.7)."""


def content(stream: pikepdf.Object, limit: int) -> bytes:
    """The decoded octets of `stream`, at most `limit` of them. Raises TooLarge, Undecodable."""
    data = _decoded(stream, limit)
    if len(data) > limit:
        raise TooLarge(f"more than {limit} octets")
    return data


def head(stream: pikepdf.Object, size: int) -> bytes:
    """The first `size` decoded octets of `stream`, fewer where it has fewer or its rest cannot be read.

    Raises Undecodable.
    """
    try:
        return _decoded(stream, size, cut=True)[:size]
    except TooLarge:  # cut streams are never too large; a row of a predictor may be
        return b""


def is_lzw(stream: pikepdf.Object) -> bool:
    """Is LZW among its filters? PDF/A forbids it (ISO 19005-3 §6.1.7.2)."""
    return (named := entry(stream, "/Filter")) != _FLATE and not _LZW.isdisjoint(_names(named))


def entry(node: pikepdf.Object, key: str) -> pikepdf.Object | None:
    """The value of `key`, None without it. For entries that are mostly absent: `get` alone then takes five times as
    long, for qpdf raises and pikepdf catches."""
    return node.get(key) if key in node else None


def _decoded(stream: pikepdf.Object, limit: int, *, cut: bool = False) -> bytes:
    """cut: what exceeds `limit` is left out at every filter, instead of raising TooLarge."""
    named = entry(stream, "/Filter")
    if named == _FLATE and "/DecodeParms" not in stream:  # as nearly every stream is
        data = _inflate(bytes(stream.read_raw_bytes()), limit)
        if len(data) > limit and not cut:
            raise TooLarge(f"more than {limit} octets")
        return data[:limit]
    filters = _names(named)
    if len(filters) > MAX_FILTERS:
        raise Undecodable(f"{len(filters)} filters")
    data = bytes(stream.read_raw_bytes())
    if not filters:
        return data[:limit] if cut else data
    parameters = _parameters(stream.get("/DecodeParms"))
    # What begins at the first octets of one filter may need more of the one before.
    room = max(limit, HEAD_ROOM) if cut and len(filters) > 1 else limit
    for place, name in enumerate(filters):
        how = parameters[place] if place < len(parameters) else None
        # A predictor spends an octet a row: what it is fed may exceed the limit by that.
        data = _decode(name, data, how, 2 * room if _predicts(how) else room)
        if _predicts(how):
            data = _unpredicted(data, how, room, cut=cut)
        if len(data) > room:
            if not cut:
                raise TooLarge(f"more than {limit} octets")
            data = data[:room]
    return data


def _decode(name: str, data: bytes, how: pikepdf.Object | None, limit: int) -> bytes:
    """What one filter makes of `data`, no more than a little beyond `limit`."""
    if name in ("/FlateDecode", "/Fl"):
        return _inflate(data, limit)
    if name in _LZW:
        return _lzw(data, limit, early=_number(how, "/EarlyChange", 1) != 0)
    if name in ("/RunLengthDecode", "/RL"):
        return _run_lengths(data, limit)
    if name == "/Crypt" and (how is None or str(how.get("/Name", "/Identity")) == "/Identity"):
        return data
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
        return inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise Undecodable("damaged FlateDecode stream") from error


def _run_lengths(data: bytes, limit: int) -> bytes:
    """ISO 32000-1 §7.4.5."""
    out, place = bytearray(), 0
    while place < len(data) and (length := data[place]) != 128 and len(out) <= limit:
        if length < 128:
            out += data[place + 1 : place + length + 2]
            place += length + 2
        else:
            out += data[place + 1 : place + 2] * (257 - length)
            place += 2
    return bytes(out)


def _lzw(data: bytes, limit: int, *, early: bool) -> bytes:
    """ISO 32000-1 §7.4.4.2: codes of 9 to 12 bits, the highest bit first. early: the width grows one code early."""
    first = [bytes([octet]) for octet in range(256)] + [b"", b""]
    table, before, width = list(first), b"", 9
    out = bytearray()
    held, bits = 0, 0
    for octet in data:
        held, bits = (held << 8 | octet) & 0xFFFFFF, bits + 8
        if bits < width:
            continue
        bits -= width
        code = held >> bits & (1 << width) - 1
        if code == _END:
            break
        if code == _CLEAR:
            table, before, width = list(first), b"", 9
            continue
        if code < len(table):
            piece = table[code]
        elif code == len(table) and before:
            piece = before + before[:1]
        else:
            raise Undecodable("damaged LZWDecode stream")
        out += piece
        if len(out) > limit:
            break
        if before and len(table) < 4096:
            table.append(before + piece[:1])
            width = min(12, max(9, (len(table) + early).bit_length()))
        before = piece
    return bytes(out)


def _unpredicted(data: bytes, how: pikepdf.Object | None, limit: int, *, cut: bool) -> bytes:
    """The octets before a predictor: qpdf knows all of them, and no predictor makes `data` longer."""
    row = _number(how, "/Columns", 1) * _number(how, "/Colors", 1) * _number(how, "/BitsPerComponent", 8)
    if not 0 < row <= 8 * limit:
        raise Undecodable("a predictor with impossible rows")
    if len(data) > 2 * limit:
        if not cut:
            raise TooLarge(f"more than {limit} octets")
        data = data[: 2 * limit]
    scratch = pikepdf.Pdf.new()
    stream = scratch.make_stream(b"")
    numbers = {key: _number(how, key, normal) for key, normal in _PREDICTED.items()}
    stream.write(zlib.compress(data, 0), filter=pikepdf.Name.FlateDecode, decode_parms=pikepdf.Dictionary(numbers))
    try:
        return bytes(stream.read_bytes())
    except (pikepdf.PdfError, ValueError) as error:
        raise Undecodable("a predictor that cannot be undone") from error


def _predicts(how: pikepdf.Object | None) -> bool:
    return _number(how, "/Predictor", 1) != 1


def _number(how: pikepdf.Object | None, key: str, normal: int) -> int:
    value = how.get(key, normal) if how is not None else normal
    return value if isinstance(value, int) else normal


def _names(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, pikepdf.Array):
        return [str(value[place]) for place in range(min(len(value), MAX_FILTERS + 1))]
    return [str(value)]


def _parameters(value: object) -> list[pikepdf.Object | None]:
    each = (
        [value[place] for place in range(min(len(value), MAX_FILTERS))] if isinstance(value, pikepdf.Array) else [value]
    )
    return [item if isinstance(item, pikepdf.Dictionary) else None for item in each]
