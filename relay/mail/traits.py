"""What kind of mail it is, where that forbids to cut or to read it."""

from relay.mail.message import Entity, Message
from relay.mail.params import parse_value
from relay.mail.transfer_decoder import head

_PKCS7 = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_TNEF = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_DELIVERY_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_READ_RECEIPTS = frozenset({"message/disposition-notification", "message/global-disposition-notification"})
_PGP = b"-----BEGIN PGP MESSAGE-----"

# Content types of a CMS object (RFC 5652 §5.1, §6.1; RFC 5083 §2), as they stand in DER.
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_ENVELOPED_DATA = (bytes.fromhex("06092a864886f70d010703"), bytes.fromhex("060b2a864886f70d0109100117"))
_HEAD = 800


def is_signed(message: Message) -> bool:
    """Would a cut break a signature? multipart/signed (RFC 1847 §2.1) anywhere, or a whole mail in S/MIME signed-data.

    A DKIM signature is none in this sense: it is the transport's, and ours replaces it. Neither is an attached .p7m.
    """
    return "multipart/signed" in message.media_types or _pkcs7(message, "signed-data", (_SIGNED_DATA,))


def is_encrypted(message: Message) -> bool:
    """Are its documents out of reach? multipart/encrypted, S/MIME enveloped-data, or a text that is a PGP message."""
    if "multipart/encrypted" in message.media_types:
        return True
    if _pkcs7(message, "enveloped-data", _ENVELOPED_DATA) or _pkcs7(message, "authenveloped-data", ()):
        return True
    return any(_inline_pgp(message, entity) for entity in message.entities if entity.media_type == "text/plain")


def is_partial(message: Message) -> bool:
    """Is it a fragment (message/partial, RFC 2046 §5.2.2)?"""
    return "message/partial" in message.media_types


def has_tnef(message: Message) -> bool:
    """Does it carry a winmail.dat (MS-OXTNEF), in which documents may hide?"""
    if not _TNEF.isdisjoint(message.media_types):
        return True
    return "winmail.dat" in [entity.filename.casefold() for entity in message.entities if entity.filename]


def is_auto_submitted(message: Message) -> bool:
    """Did a program write it, so that no program may answer? RFC 3834 §2, §5; Precedence as of old."""
    submitted = (message.root.first("auto-submitted") or "").partition(";")[0].strip().lower()
    if submitted not in ("", "no"):
        return True
    if (message.root.first("precedence") or "").strip().lower() in ("bulk", "junk", "list", "auto_reply"):
        return True
    if message.root.first("list-id") is not None or message.root.first("x-autoreply") is not None:
        return True
    return (message.root.first("return-path") or "").strip() == "<>" or message.root.media_type == "multipart/report"


def automatic_kind(message: Message) -> str | None:
    """What kind of report or automatic reply it is, in words; None for an ordinary message.

    RFC 3464 and RFC 8098 (multipart/report), RFC 3834 (Auto-Submitted), and the fields that programs used before.
    """
    report = message.root.params.get("report-type", "").lower() if message.root.media_type == "multipart/report" else ""
    types = message.media_types
    if report == "disposition-notification" or not types.isdisjoint(_READ_RECEIPTS):
        return "read receipt"
    if report or message.root.media_type == "multipart/report" or not types.isdisjoint(_DELIVERY_STATUS):
        return "delivery status notification"
    sender = (message.root.first("from") or "").lower()
    if "mailer-daemon@" in sender or sender.strip() == "mailer-daemon":
        return "delivery status notification"
    submitted = parse_value(message.root.first("auto-submitted") or "")[0]
    precedence = (message.root.first("precedence") or "").strip().lower()
    replied = any(message.root.first(name) is not None for name in ("x-autoreply", "x-autorespond", "x-autoresponder"))
    if submitted == "auto-replied" or precedence == "auto_reply" or replied:
        return "automatic reply"
    return "automatic message" if submitted not in ("", "no") else None


def is_report(message: Message) -> bool:
    """Does it tell of another message (RFC 6522)? The documents in it are that message's, returned and not sent."""
    return message.root.media_type == "multipart/report"


def _pkcs7(message: Message, smime_type: str, objects: tuple[bytes, ...]) -> bool:
    """Is the whole mail one CMS object of this type? By its smime-type, or by the object itself when it says none."""
    root = message.root
    if root.media_type not in _PKCS7:
        return False
    said = root.params.get("smime-type", "").lower()
    if said:
        return said == smime_type
    start = _head(message, root)
    return any(each in start for each in objects)


def _head(message: Message, entity: Entity) -> bytes:
    return head(memoryview(message.raw)[entity.body.start : entity.body.end], entity.encoding, _HEAD)


def _inline_pgp(message: Message, entity: Entity) -> bool:
    if entity.children:
        return False
    return _head(message, entity).lstrip().startswith(_PGP)
