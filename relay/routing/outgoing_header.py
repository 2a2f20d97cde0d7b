"""The header of the outgoing message: which fields are cut and which are put on top. Nothing is ever re-printed."""

from collections.abc import Iterable
from dataclasses import dataclass

from relay.mime.headers import after_mbox_line
from relay.mime.message import Header, MimeMessage
from relay.model import Span
from relay.routing.policy import Destination
from relay.single_line import replace_unprintable

NEVER_LEAVE = frozenset({"bcc", "resent-bcc", "return-path"})  # rfc5322#3.6.3, rfc5321#4.4

LEFT_OUT = NEVER_LEAVE | {"to", "cc", "from", "sender", "message-id", "references"}
LEFT_OUT |= {"authentication-results", "dkim-signature"}
"""Fields (lower case) that may be cut, with all that begin with "resent-"."""

PUT_ON_TOP = frozenset({"received", "to", "from", "reply-to", "message-id", "references"})
"""Fields (lower case) that may be put on top."""

LONGEST_ID = 900  # octets of a Message-ID that still fits a line of References (rfc5322#2.1.1)


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """Fields to cut, and the octets to put on top."""

    cuts: tuple[Span, ...]
    prepend: bytes


def edit_header(
    message: MimeMessage,
    destination: Destination,
    to: str | None,
    *,
    received: bytes,
    hostname: str,
    queue_id: str,
    number: int = 1,
    body_cut: bool = False,
) -> HeaderEdit:
    """What changes in the header of the `number`-th message (from 1) made of `message` for the address `to`.

    The first keeps its Message-ID; the others get their own and refer to the first. `body_cut`: octets of the body go.
    """
    names, fields = set(NEVER_LEAVE), [received]
    if to and destination.to_header == "rewrite":
        names |= {"to", "cc"}
        names.update([each.name for each in message.root.headers if each.name.startswith("resent-")])
        fields.append(_field("To", to))
    if destination.from_header != "keep":
        names |= {"from", "sender"}
        fields += _from(message, destination.from_header)
    fields += _message_id(message, names, hostname, queue_id, number)
    headers = message.root.headers
    to_remove = [header for header in headers if header.name in names]
    to_remove += [each for each in headers if each.name == "authentication-results" and _forged(each, hostname)]
    if signatures := [each for each in headers if each.name == "dkim-signature"]:
        changed = {header.name for header in to_remove} | {
            line.partition(b":")[0].decode().lower() for line in fields[1:]
        }
        to_remove += [each for each in signatures if _breaks(each, changed, body_cut)]
    cuts = {header.span for header in to_remove} | _mbox_line(message)
    return HeaderEdit(tuple(sorted(cuts)), b"".join(fields))


def _mbox_line(message: MimeMessage) -> set[Span]:
    """An mbox separator: below the fields we put on top it would end the header."""
    start, end = message.root.span
    fields = after_mbox_line(message.raw, start, end)
    return {Span(start, fields)} if fields > start else set()


def _from(message: MimeMessage, address: str) -> Iterable[bytes]:
    """Our From; the sender's becomes Reply-To, octet for octet, unless the message has its own Reply-To."""
    yield _field("From", address)
    author = next((header for header in message.root.headers if header.name == "from"), None)
    if author is not None and message.root.first("reply-to") is None:
        yield b"Reply-To" + message.raw[author.span.start + len("from") : author.span.end]


def _message_id(message: MimeMessage, names: set[str], hostname: str, queue_id: str, number: int) -> Iterable[bytes]:
    own = (message.root.first("message-id") or "").strip()
    if number == 1:
        return () if own else (_field("Message-ID", f"<{queue_id}@{hostname}>"),)
    names |= {"message-id", "references"}
    first = own or f"<{queue_id}@{hostname}>"
    references = (_field("References", first),) if len(first) <= LONGEST_ID else ()
    return (_field("Message-ID", f"<{queue_id}.{number}@{hostname}>"), *references)


def _forged(header: Header, hostname: str) -> bool:
    """An Authentication-Results in our name that we did not write (rfc8601#5)."""
    server = header.value.partition(";")[0].split()
    return bool(server) and server[0].casefold() == hostname.casefold()


def _breaks(header: Header, changed: set[str], body_cut: bool) -> bool:
    """Does our edit break this DKIM signature: does the body or a signed field change (rfc6376#3.5, tag h=)?"""
    tags = (tag.partition("=") for tag in header.value.split(";"))
    signed = next((value for name, _, value in tags if name.strip() == "h"), "")
    return body_cut or any(name.strip().lower() in changed for name in signed.split(":"))


def _field(name: str, value: str) -> bytes:
    """One field line. Without control characters: nothing can begin a second field."""
    return f"{name}: {replace_unprintable(value, '')}\r\n".encode("utf-8", "surrogateescape")
