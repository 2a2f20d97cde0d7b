"""What a person or a log reads of a message: decoded bodies, header values and file names without surprises."""

import unicodedata

from relay.mime.encoded_words import decode, decode_words
from relay.mime.headers import as_octets
from relay.mime.message import Entity, MimeMessage
from relay.mime.transfer_decoder import decode as undo_encoding
from relay.single_line import single_line

MAX_NAME = 150
"""Characters of a displayed file name; file systems take 255 octets."""


def octets(message: MimeMessage, entity: Entity) -> bytes:
    """The body of `entity`, its transfer encoding undone. A damaged one is read as far as it goes. Never raises."""
    return undo_encoding(message.raw[entity.body.start : entity.body.end], entity.encoding).octets


def text(message: MimeMessage, entity: Entity) -> str:
    """The body of `entity` as text, LF line ends: by its charset, else UTF-8, else Windows-1252."""
    return decode(octets(message, entity), entity.params.get("charset", "")).replace("\r\n", "\n")


def header_value(message: MimeMessage, name: str) -> str | None:
    """The message's first field `name` (any case), decoded, on one line and without control characters; or None."""
    value = message.root.first(name.lower())
    if value is None:
        return None
    return single_line(decode_words(decode(as_octets(value))))


def message_id(message: MimeMessage) -> str:
    """The Message-ID with its angle brackets, printable ASCII of at most 998 octets; "" when there is none."""
    value = (message.root.first("message-id") or "").strip()
    start, end = value.find("<"), value.find(">")
    if 0 <= start < end:
        value = value[start : end + 1]
    usable = value.isascii() and value.isprintable() and len(value) <= 998
    return value if usable and " " not in value else ""


def safe_filename(name: str | None) -> str:
    """`name` fit to be shown or written to a folder: no path, no control characters, no leading dot, at most
    150 characters with the extension kept; "unnamed" when nothing is left."""
    plain = single_line(unicodedata.normalize("NFC", name or ""))
    plain = plain.replace("\\", "/").rpartition("/")[2]
    plain = "".join("_" if letter in '<>:"|?*' else letter for letter in plain).strip(" .")
    if len(plain) > MAX_NAME:
        stem, dot, extension = plain.rpartition(".")
        tail = dot + extension if dot and len(extension) <= 10 else ""
        plain = (stem if tail else plain)[: MAX_NAME - len(tail)] + tail
    return plain or "unnamed"
