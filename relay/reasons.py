"""Why a delivery is held, rejected or not sent: a closed list, each reason with its sentence and what to do.

A sentence is completed by a *detail*: a figure, a name, a code, or a phrase of ours. The spool and its history hold
identifiers with their parameters and never a sentence; what earlier versions wrote there is shown as it is. French:
relay/locale.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from relay.locale.catalogue import decimal, marked, marked_in, translate, translate_in


class Reason(StrEnum):
    UNKNOWN_CLIENT = "unknown_client"
    AMBIGUOUS_CLIENT = "ambiguous_client"
    CONTRADICTION = "contradiction"
    WRONG_CLIENT = "wrong_client"
    UNIDENTIFIED_PARTY = "unidentified_party"
    BOTH_PARTIES = "both_parties"
    NO_ADDRESS = "no_address"
    UNKNOWN_KIND = "unknown_kind"
    NOT_SHARED = "not_shared"
    TRANSMISSION_OFF = "transmission_off"
    NO_DOCUMENT = "no_document"
    NO_FACTURX = "no_facturx"
    INVALID_FACTURX = "invalid_facturx"
    ACTIVE_CONTENT = "active_content"
    UNDETERMINED = "undetermined"
    CONFLICTING_COPIES = "conflicting_copies"
    DUPLICATE_DOCUMENT = "duplicate_document"
    TOO_LARGE = "too_large"
    TOO_MANY_ATTACHMENTS = "too_many_attachments"
    ATTACHMENT_TYPE = "attachment_type"
    ENCRYPTED_MAIL = "encrypted_mail"
    SIGNED_MAIL = "signed_mail"
    PARTIAL_MAIL = "partial_mail"
    TNEF_MAIL = "tnef_mail"
    UNKNOWN_ENCODING = "unknown_encoding"
    MALFORMED_MAIL = "malformed_mail"
    LOOP = "loop"
    UNSETTLED = "unsettled"
    BY_OPERATOR = "by_operator"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Sentence:
    """What happened and how to fix it: source texts. `smtp`: the reply (code, enhanced) when the message is
    rejected."""

    text: str
    fix: str
    smtp: tuple[int, str] = (550, "5.7.1")


SENTENCES: dict[Reason, Sentence] = {
    Reason.UNKNOWN_CLIENT: Sentence(
        marked("no client is known for {detail}"),
        marked("add the address to `recipients` of the client, or its SIREN, then `agiris-relay queue replan`"),
        (550, "5.1.1"),
    ),
    Reason.AMBIGUOUS_CLIENT: Sentence(
        marked("several clients match: {detail}"),
        marked("give each client its own recipient address, or its SIRET, then `agiris-relay queue replan`"),
    ),
    Reason.CONTRADICTION: Sentence(
        marked("two different clients are named: {detail}"),
        marked("correct the address on the platform or the configuration, then `agiris-relay queue replan`"),
    ),
    Reason.WRONG_CLIENT: Sentence(
        marked("neither seller nor buyer of the invoice is the client: {detail}"),
        marked(
            "check the SIREN of the client; if it is wrong, correct it, then `agiris-relay queue replan`;"
            " if it is right, the document concerns another client: drop it and report it to the platform"
        ),
    ),
    Reason.UNIDENTIFIED_PARTY: Sentence(
        marked(
            "it is not certain that the client is a party of the invoice (identifiers missing or"
            " contradictory): {detail}"
        ),
        marked("open the invoice; release it if it is the client's, and ask its issuer to add the SIREN"),
    ),
    Reason.BOTH_PARTIES: Sentence(
        marked("the client is seller and buyer of the invoice: {detail}"),
        marked("release it if that is intended"),
    ),
    Reason.NO_ADDRESS: Sentence(
        marked("the client has no Agiris address for this kind of document: {detail}"),
        marked("complete `agiris_address`, then `agiris-relay queue replan`"),
    ),
    Reason.UNKNOWN_KIND: Sentence(
        marked(
            "it is not known whether this is a purchase, a sale or a statement, and the client has several"
            " addresses{detail}"
        ),
        marked("set it with `kinds`, or give the client one `agiris_address`, then `agiris-relay queue replan`"),
    ),
    Reason.NOT_SHARED: Sentence(
        marked("the client does not share documents with the firm"),
        marked("set `share_with_firm: true`, then `agiris-relay queue replan` or release"),
    ),
    Reason.TRANSMISSION_OFF: Sentence(
        marked("the connection does not transmit documents"),
        marked("set `transmit_documents: true`, then `agiris-relay queue replan` or release"),
    ),
    Reason.NO_DOCUMENT: Sentence(
        marked("the message has no document attached{detail}"),
        marked(
            "check the export on the platform; release it if Agiris wants it all the same, or set"
            " `check.on_no_document: relay`"
        ),
        (550, "5.6.0"),
    ),
    Reason.NO_FACTURX: Sentence(
        marked("no Factur-X in the message{detail}"),
        marked("check the export on the platform, or set `check.on_missing: relay`"),
        (550, "5.6.0"),
    ),
    Reason.INVALID_FACTURX: Sentence(
        marked("the Factur-X is invalid: {detail}"),
        marked("have the invoice issued again, or release it as it is"),
        (550, "5.6.0"),
    ),
    Reason.ACTIVE_CONTENT: Sentence(
        marked("a PDF holds a script, a program or a form that acts by itself: attachment {detail}"),
        marked(
            "open it on no workstation before it has been examined; ask the issuer for a PDF without"
            " active content and drop this one, or release it if it is harmless; `check.on_active_content:"
            " relay` relays all such PDFs"
        ),
    ),
    Reason.UNDETERMINED: Sentence(
        marked("the Factur-X could not be checked: {detail}"),
        marked("run `agiris-relay queue replan` to check again, or release it as it is"),
        (451, "4.3.0"),
    ),
    Reason.CONFLICTING_COPIES: Sentence(
        marked("two different invoices bear the number {detail}"),
        marked("find out which one is right on the platform; release or drop"),
    ),
    Reason.DUPLICATE_DOCUMENT: Sentence(
        marked("this document or invoice was already sent to this address: {detail}"),
        marked("drop it if it is a copy; release it if it must be sent too, as a corrected invoice must"),
    ),
    Reason.TOO_LARGE: Sentence(
        marked("too large for the destination: {detail}"),
        marked("raise `max_mail_size` of the destination if it takes more, then `agiris-relay queue replan`"),
        (552, "5.3.4"),
    ),
    Reason.TOO_MANY_ATTACHMENTS: Sentence(
        marked("too many attachments for the destination: {detail}"),
        marked("raise `max_attachments` of the destination, then `agiris-relay queue replan`"),
    ),
    Reason.ATTACHMENT_TYPE: Sentence(
        marked("the destination takes no such attachment: {detail}"),
        marked("add the type to `attachment_types` of the destination, then `agiris-relay queue replan`"),
    ),
    Reason.ENCRYPTED_MAIL: Sentence(
        marked("the message is encrypted: its documents cannot be read{detail}"),
        marked("have the platform send it unencrypted; release it only if Agiris can read it"),
    ),
    Reason.SIGNED_MAIL: Sentence(
        marked("the message is signed and a document would have to be removed from it{detail}"),
        marked("release it to send it whole"),
    ),
    Reason.PARTIAL_MAIL: Sentence(
        marked("the message is a fragment (message/partial): its documents cannot be read{detail}"),
        marked("have the platform send it in one piece"),
    ),
    Reason.TNEF_MAIL: Sentence(
        marked("the documents are wrapped in winmail.dat (TNEF){detail}"),
        marked("have it sent as ordinary MIME"),
    ),
    Reason.UNKNOWN_ENCODING: Sentence(
        marked("a part of the message has an unknown transfer encoding and cannot be read: {detail}"),
        marked("have it sent again with the document in base64"),
    ),
    Reason.MALFORMED_MAIL: Sentence(
        marked("the message cannot be read: {detail}"),
        marked("have it sent again by a conforming program"),
        (554, "5.6.0"),
    ),
    Reason.LOOP: Sentence(
        marked("the message would come back to this relay: {detail}"),
        marked("correct `agiris_address` of the client, then `agiris-relay queue replan`"),
        (554, "5.4.6"),
    ),
    Reason.UNSETTLED: Sentence(
        marked("the relay stopped {detail} times in a row while it sent this message alone"),
        marked("find out from the next hop whether it has the message, then release or drop"),
    ),
    Reason.BY_OPERATOR: Sentence(
        marked("held by an operator{detail}"),
        marked("release it when it may leave"),
    ),
    Reason.RESTORED: Sentence(
        marked("restored from the backup of {detail}: it may have been sent since"),
        marked("look for it in Agiris or in the next hop's log; release it if it did not arrive, else drop it"),
    ),
}


CODED = frozenset({Reason.NO_ADDRESS, Reason.UNKNOWN_KIND, Reason.INVALID_FACTURX, Reason.UNDETERMINED})
"""Reasons whose detail may be a code of CODES."""


def sentence(reason: Reason, detail: str = "", language: str = "en") -> str:
    """What happened, in `language` ("en" or "fr")."""
    if reason is Reason.MALFORMED_MAIL:
        words = defect(detail, language)
    else:
        words = code(detail, language) if reason in CODED else describe(detail, language)
    return translate(SENTENCES[reason].text, language, detail=words)


def fix(reason: Reason, language: str = "en") -> str:
    """What a person can do about it, in `language`."""
    return translate(SENTENCES[reason].fix, language)


_PARTIES_NAMED = frozenset({Reason.WRONG_CLIENT, Reason.UNIDENTIFIED_PARTY})
"""Reasons whose detail holds identifiers of an invoice's parties: these may be clients of another firm."""


def public_sentence(reason: Reason, detail: str, language: str) -> str:
    """What happened, for whoever does not run this host: a firm, the platform. It names no client of another firm."""
    names_others = reason is Reason.CONTRADICTION and "≠" in detail  # as earlier versions stored it
    if reason in _PARTIES_NAMED or names_others:
        return re.sub(r"[\s:]+$", "", sentence(reason, "", language))
    return sentence(reason, detail, language)


_ADDRESS_STATUS = re.compile(r"\b5\.(1\.(?:[01236]|10)|2\.1|4\.4)(?![.\d])")
_ADDRESS_CODE = re.compile(r"55[013](?! [245]\.)\b")


def failure_fix(reply: str, language: str = "en") -> str:
    """What a person can do about a delivery that failed with `reply` (of the next hop, or of a bounce).

    An address is frozen when the message is accepted: one that is at fault (RFC 3463 §3.2) takes a new plan.
    """
    if _ADDRESS_STATUS.search(reply) or _ADDRESS_CODE.match(reply):
        return translate(
            "correct `agiris_address` of the client, then `agiris-relay queue replan ID` (`queue retry` would send to"
            " the same address again)",
            language,
        )
    return translate("correct the cause, then `agiris-relay queue retry ID`", language)


CODES = (
    marked_in("detail", "purchases"),
    marked_in("detail", "sales"),
    marked_in("detail", "credit_notes"),
    marked_in("detail", "statements"),
    marked_in("detail", "purchase"),
    marked_in("detail", "sale"),
    marked_in("detail", "statement"),
    marked_in("detail", "unknown"),
    marked_in("detail", "any"),
    marked_in("detail", "valid"),
    marked_in("detail", "invalid"),
    marked_in("detail", "undetermined"),
    marked_in("detail", "not-factur-x"),
)
"""Details that are a code: a kind of address, a role, a verdict."""


def code(detail: str, language: str) -> str:
    """A detail that may be a code, in words."""
    return translate_in("detail", detail, language) if detail in CODES else describe(detail, language)


Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Detail:
    """A phrase of ours: an identifier (of PHRASES, or a Reason) with its parameters. str() is its form in the spool."""

    id: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        return json.dumps({"id": self.id, "values": dict(self.values)})


PHRASES: Mapping[str, str] = {
    "damaged": marked("its octets in the spool are damaged"),
    "gave_up": marked("gave up after {attempts} attempts in {hours} h; the last answer was: {reply}"),
    "operator": marked(": {text}"),
    "sizes": marked("{size} MiB > {limit} MiB"),
    "links": marked(" (links: {count})"),
    "delivery_status_notification": marked(" (delivery status notification)"),
    "read_receipt": marked(" (read receipt)"),
    "automatic_reply": marked(" (automatic reply)"),
    "automatic_message": marked(" (automatic message)"),
    "same_xml": marked("{queue_id} (the same invoice in another PDF)"),
    "same_number": marked("{queue_id} (an invoice of the same number and seller, with other content)"),
    "two_clients": marked("{way} names client {client}, {other_way} client {other}"),
    "client_of_another_firm": marked("{way} names client {client}, {other_way} another client"),
}
"""Details in words; some begin with the space or the sign that joins them to their sentence."""

_WAYS: Mapping[str, str] = {
    "recipient": marked("the address"),
    "tag": marked("the tag of the address"),
    "siren": marked("the SIREN of the invoice"),
    "message": marked("the message"),
}

DAMAGED = str(Detail("damaged"))
"""Detail of a message that the spool could not read back whole."""


def describe(detail: str, language: str = "en") -> str:
    """`detail`, or the text of a history event, for a person. What is no phrase of ours stays as it is: figures, names,
    replies, what an operator wrote, and the sentences of earlier versions."""
    if not detail.startswith('{"id": '):
        return detail
    try:
        stored = json.loads(detail)
        name, values = stored["id"], stored["values"]
        if name in _REASONS:
            return sentence(Reason(name), values["detail"], language)
        shown = {key: _shown(key, value, language) for key, value in values.items()}
        return translate(PHRASES[name], language).format(**shown)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return detail


def _shown(key: str, value: Value, language: str) -> str:
    if key in ("way", "other_way"):
        known = _WAYS.get(str(value))
        return translate(known, language) if known else translate("the field {name}", language, name=value)
    return decimal(value, language) if isinstance(value, float) else str(value)


_REASONS = frozenset(each.value for each in Reason)


def reason_text(reason: Reason | None, detail: str = "") -> str:
    """The text of a history event that says why: what `describe` makes the reason's sentence of."""
    return str(Detail(reason.value, {"detail": detail})) if reason else ""


def two_clients(by: str, client: str, other_by: str, other: str | None) -> str:
    """Detail of a contradiction. by, other_by: "recipient", "tag", "siren", "message" or the name of a header field.

    other: None for a client of another firm, which is not named: of the host's firms none learns of another's clients.
    """
    values: dict[str, Value] = {"way": by, "client": client, "other_way": other_by}
    if other is None:
        return str(Detail("client_of_another_firm", values))
    return str(Detail("two_clients", {**values, "other": other}))


def copy_of(queue_id: str, sameness: str) -> str:
    """Detail of a document that came before, in the message with this queue id. sameness: document | xml | number."""
    return queue_id if sameness == "document" else str(Detail(f"same_{sameness}", {"queue_id": queue_id}))


_DEFECTS: dict[str, str] = {
    "empty": marked("the message is empty"),
    "too-many-parts": marked("the message has more than {limit} parts"),
    "nesting-too-deep": marked("the parts of the message are nested deeper than {limit}"),
    "header-too-large": marked("a header is larger than {limit} (octets / lines)"),
    "headers-too-large": marked("the headers of all parts together are too large"),
    "encoded-multipart": marked("a multipart is transfer-encoded: two readers may find different documents in it"),
    "duplicate-content-type": marked(
        "a part has two Content-Type fields: two readers may find different documents in it"
    ),
    "duplicate-content-transfer-encoding": marked(
        "a part has two Content-Transfer-Encoding fields: two readers may find different documents in it"
    ),
    "duplicate-boundary": marked("a multipart names two boundaries: two readers may find different documents in it"),
    "no-blank-line": marked(
        "a header is interrupted by a line that is no field: two readers may find different documents behind it"
    ),
    "mislabeled-encoding": marked("a document is encoded otherwise than its Content-Transfer-Encoding says"),
    "ambiguous-encoding": marked("the encoding of a part holds two documents, of which a reader may open either"),
    "document-in-text": marked(
        "a text holds a document that some mail programs show as an attachment (uuencode, yEnc, BinHex, base64, PDF)"
    ),
    "parts-in-text": marked("a text holds parts that some mail programs show as attachments"),
    "fields-in-body": marked("a part begins with header fields: an empty line stands too early"),
    "document-outside-parts": marked("a document stands before the first part of a multipart or after the last one"),
}
"""Why a message cannot be read; {limit} is the one that was passed."""


def defect(name: str, language: str = "en", limit: str = "") -> str:
    """Why a message cannot be read, in words. name: of a defect, or the media type of a part that was not looked
    into."""
    if name in _DEFECTS:
        return translate(_DEFECTS[name], language, limit=limit)
    if name.startswith(("multipart/", "message/")) and " " not in name:
        return translate("a part of the type {media_type} could not be looked into", language, media_type=name)
    return describe(name, language)
