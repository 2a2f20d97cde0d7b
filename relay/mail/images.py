"""Images that decorate the text of a message (a logo, a signature, a tracking pixel) and are no documents."""

import re
from urllib.parse import unquote

from relay.file_type import file_type, is_pdf
from relay.mail.message import Entity, Message
from relay.mail.transfer_decoder import decode

SMALL = 32 * 1024
"""Encoded octets up to which an image that bears the name of a decoration is one, wherever it stands."""

_SHOWN = frozenset({"image/png", "image/gif", "image/jpeg", "application/x-riff", "text/xml", None})
"""What `file_type` says of images that mail programs show: PNG, GIF, JPEG, WebP, SVG, and formats it does not know.
A TIFF is none of them: scanners write it."""
_NAME = re.compile(
    r"image[0-9]{3}(?:[@.].*)?|oledata.*|outlook-.*|.*(?:logo|signature|banner|banniere|footer|header|"
    r"icone?|picto|facebook|linkedin|twitter|instagram|youtube|pixel|spacer).*"
)
_CID = re.compile(rb"""cid:([^\s"'<>)]{1,200})""", re.IGNORECASE)


def is_decorative(message: Message, entity: Entity) -> bool:
    """Is it an image of the text, whatever its Content-Disposition?

    One that stands in a multipart/related (RFC 2387) beside its root, one that has a Content-ID and is shown inline or
    named by the HTML, or a small one with the name of a decoration (`image001.png`, `logo.gif`).
    """
    octets = message.head(entity)
    if not entity.media_type.startswith("image/") or is_pdf(octets) or file_type(octets) not in _SHOWN:
        return False
    if entity.media_type in ("image/tiff", "image/tif"):
        return False
    content_id = (entity.first("content-id") or "").strip().strip("<>")
    if content_id and (entity.disposition != "attachment" or content_id in shown_images(message)):
        return True
    small = entity.body.end - entity.body.start <= SMALL
    return entity.span in message.related or (small and _NAME.fullmatch((entity.filename or "").casefold()) is not None)


def shown_images(message: Message) -> frozenset[str]:
    """Content-IDs that the HTML of the message shows (`cid:`, RFC 2392)."""
    found: set[str] = set()
    for entity in message.entities:
        if entity.media_type == "text/html" and not entity.children:
            html = decode(memoryview(message.raw)[entity.body.start : entity.body.end], entity.encoding).octets
            found |= {unquote(each.decode("utf-8", "replace")) for each in _CID.findall(html)}
    return frozenset(found)
