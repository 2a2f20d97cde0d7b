"""A message without any document: what it is instead, and the links in it, found and named, never fetched."""

import re

from relay.export.content import body_text
from relay.mail.message import Message
from relay.mail.traits import automatic_kind

_URL = re.compile(r"https?://[^\s\"'<>\\^`{|}\x00-\x20\x7f]{4,500}", re.IGNORECASE)
_DOCUMENT = re.compile(
    r"\.(?:pdf|xml|zip)(?:$|[?#])|t[ée]l[ée]charge|download|factur|invoice|document|pi[eè]ces?-?jointes?", re.IGNORECASE
)
MOST = 5
READ = 256 * 1024


def document_links(message: Message) -> tuple[str, ...]:
    """Up to five links of the letter's text that seem to lead to a document, without their query (it may be a key)."""
    found: dict[str, None] = {}
    for entity in message.entities:
        if entity.media_type not in ("text/plain", "text/html") or entity.children:
            continue
        for url in _URL.findall(body_text(message, entity, READ)):
            host, _, path = url.partition("://")[2].partition("/")
            if _DOCUMENT.search(path):
                found.setdefault(f"{host}/{re.split('[?#]', path)[0]}"[:120])
    return tuple(list(found)[:MOST])


def why_no_document(message: Message) -> str:
    """What a message without a document is, as the detail of its reason; "" when nothing tells."""
    if kind := automatic_kind(message):
        return f" ({kind})"
    return f" (links: {len(links)})" if (links := document_links(message)) else ""
