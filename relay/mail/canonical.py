"""Canonical forms of DKIM (rfc6376#3.4) of a mail given as slices; the body is hashed block by block."""

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from relay.mail.fields import MAX_HEADER

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
