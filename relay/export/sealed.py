"""Mails whose documents cannot be told: what is not seen is not judged, and what is not judged does not leave."""

from relay.export.unit import Ruling, hold
from relay.mail.message import Entity, Message
from relay.mail.traits import has_tnef, is_encrypted, is_partial, is_signed
from relay.reason import Reason

# Two parsers may read such a mail in two ways; ours must not pass what the next one finds a document in.
_AMBIGUOUS = frozenset({"encoded-multipart", "duplicate-content-type", "duplicate-content-transfer-encoding"})
_PKCS7 = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})


def sealed_by(message: Message) -> Ruling | None:
    """What keeps us from seeing all documents of the mail, as a ruling to hold it; None when all can be seen."""
    if is_partial(message):
        return hold(Reason.PARTIAL_MAIL)
    if is_encrypted(message) or (is_signed(message) and message.root.media_type in _PKCS7):
        return hold(Reason.ENCRYPTED_MAIL)
    if has_tnef(message):
        return hold(Reason.TNEF_MAIL)
    defects = [each for each in message.defects if each in _AMBIGUOUS]
    defects += [entity.media_type for entity in message.entities if _unseen(entity)]
    return hold(Reason.MALFORMED_MAIL, defects[0]) if defects else None


def _unseen(entity: Entity) -> bool:
    """A multipart that could not be divided, a forwarded mail that was not looked into (the second level, or coded)."""
    if entity.children:
        return False
    return entity.media_type.startswith("multipart/") or entity.media_type in ("message/rfc822", "message/global")
