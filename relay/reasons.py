"""Why a delivery is held, refused or not sent: a closed list, each with its sentence, what to do, and details."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache


def french_spacing(text: str) -> str:
    """`text` with the spaces that French typography keeps on one line: U+00A0 before a colon and inside « », U+202F
    before `;`, `?` and `!`. For sentences of ours only: what a peer or an operator wrote stays as it is."""
    text = re.sub(r" (?=[:»])|(?<=«) ", "\u00a0", text)
    return re.sub(r" (?=[;?!])", "\u202f", text)


FRENCH = {
    "purchases": "achats (`purchases`)",
    "sales": "ventes (`sales`)",
    "credit_notes": "avoirs (`credit_notes`)",
    "statements": "relevés (`statements`)",
    "purchase": "achat",
    "sale": "vente",
    "credit_note": "avoir",
    "statement": "relevé",
    "unknown": "inconnu",
    "any": "l'adresse unique",
    "valid": "valide",
    "invalid": "invalide",
    "undetermined": "indéterminée",
    "not-factur-x": "pas une Factur-X",
}
"""Details that are a word of ours and not a figure or a name."""

DAMAGED = "its octets in the spool are damaged"
"""Detail of a message that the spool could not read back whole."""

_DEFECTS = {
    "empty": ("the mail is empty", "le message est vide"),
    "too-many-parts": ("the mail has more than {} parts", "le message a plus de {} parties"),
    "nesting-too-deep": (
        "the parts of the mail are nested deeper than {}",
        "les parties du message sont imbriquées sur plus de {} niveaux",
    ),
    "header-too-large": ("a header is larger than {} (octets / lines)", "un en-tête dépasse {} (octets / lignes)"),
    "headers-too-large": (
        "the headers of all parts together are too large",
        "les en-têtes de toutes les parties sont trop longs au total",
    ),
    "encoded-multipart": (
        "a multipart is transfer-encoded: two readers may find different documents in it",
        "un multipart est codé : deux lecteurs peuvent y trouver des pièces différentes",
    ),
    "duplicate-content-type": (
        "a part has two Content-Type fields: two readers may find different documents in it",
        "une partie a deux champs Content-Type : deux lecteurs peuvent y trouver des pièces différentes",
    ),
    "duplicate-content-transfer-encoding": (
        "a part has two Content-Transfer-Encoding fields: two readers may find different documents in it",
        "une partie a deux champs Content-Transfer-Encoding : deux lecteurs peuvent y trouver des pièces différentes",
    ),
    "duplicate-boundary": (
        "a multipart names two boundaries: two readers may find different documents in it",
        "un multipart indique deux délimiteurs : deux lecteurs peuvent y trouver des pièces différentes",
    ),
    "no-blank-line": (
        "a header is interrupted by a line that is no field: two readers may find different documents behind it",
        "un en-tête est interrompu par une ligne qui n'est pas un champ : deux lecteurs peuvent y trouver des pièces "
        "différentes",
    ),
    "mislabeled-encoding": (
        "a document is encoded otherwise than its Content-Transfer-Encoding says",
        "une pièce est codée autrement que ne le dit son champ Content-Transfer-Encoding",
    ),
    "ambiguous-encoding": (
        "the encoding of a part holds two documents, of which a reader may open either",
        "le codage d'une partie contient deux pièces, dont un lecteur peut ouvrir l'une ou l'autre",
    ),
    "document-in-text": (
        "a text holds a document that some mail programs show as an attachment (uuencode, yEnc, BinHex, base64, PDF)",
        "un texte contient une pièce que certains logiciels montrent comme pièce jointe (uuencode, yEnc, BinHex, "
        "base64, PDF)",
    ),
    "parts-in-text": (
        "a text holds parts that some mail programs show as attachments",
        "un texte contient des parties que certains logiciels montrent comme pièces jointes",
    ),
    "fields-in-body": (
        "a part begins with header fields: an empty line stands too early",
        "une partie commence par des champs d'en-tête : une ligne vide se trouve trop haut",
    ),
    "document-outside-parts": (
        "a document stands before the first part of a multipart or after the last one",
        "une pièce se trouve avant la première partie d'un multipart ou après la dernière",
    ),
    DAMAGED: (DAMAGED, "ses octets dans la file sont endommagés"),
}
_UNSEEN = (
    "a part of the type {} could not be looked into",
    "une partie de type {} n'a pas pu être examinée",
)
_GAVE_UP = (
    "gave up after {} attempts in {} h; the last answer was: {}",
    "abandonné après {} tentatives en {} h ; dernière réponse : {}",
)
"""As `relay.lifecycle` writes it."""

_COPIES = {
    "xml": ("{} (the same invoice in another PDF)", "{} (la même facture dans un autre PDF)"),
    "number": (
        "{} (an invoice of the same number and seller, with other content)",
        "{} (une facture de même numéro et de même vendeur, au contenu différent)",
    ),
}

_AUTOMATIC = (
    (" (delivery status notification)", " (avis de remise ou de non-remise)"),
    (" (read receipt)", " (accusé de lecture)"),
    (" (automatic reply)", " (réponse automatique)"),
    (" (automatic message)", " (message automatique)"),
)
_LINKS = (" (links: {})", " (liens : {})")

_WAYS = {
    "recipient": ("the address", "l'adresse"),
    "tag": ("the tag of the address", "le suffixe de l'adresse"),
    "siren": ("the SIREN of the invoice", "le SIREN de la facture"),
    "message": ("the message", "le message"),
}
_FIELD = ("the field {}", "le champ {}")
_WAY = r"(the address|the tag of the address|the SIREN of the invoice|the message|the field \S+)"
_TWO_CLIENTS = re.compile(rf"{_WAY} names client (.*), {_WAY} (?:another client|client (.*))", re.DOTALL)


def two_clients(by: str, client: str, other_by: str, other: str | None) -> str:
    """Detail of a contradiction. by, other_by: "recipient", "tag", "siren", "message" or the name of a header field.

    other: None for a client of another firm, which is not named: of the host's firms none learns of another's clients.
    """
    ways = [_WAYS[each][0] if each in _WAYS else _FIELD[0].format(each) for each in (by, other_by)]
    return f"{ways[0]} names client {client}, {ways[1]} {'another client' if other is None else f'client {other}'}"


def _two_clients_in_french(way: str, client: str, other_way: str, other: str | None) -> str:
    words = dict(_WAYS.values())
    ways = [words.get(each) or _FIELD[1].format(each.rpartition(" ")[2]) for each in (way, other_way)]
    second = "un autre dossier" if other is None else f"le dossier {other}"
    return f"{ways[0]} désigne le dossier {client}, {ways[1]} {second}"


def defect(name: str, language: str = "en", figure: str = "") -> str:
    """Why a message cannot be read, in words. name: of a defect, or the media type of a part that was not looked
    into."""
    words = _DEFECTS.get(name)
    if words is None and name.startswith(("multipart/", "message/")) and " " not in name:
        words, figure = _UNSEEN, name
    if words is None:
        return name
    return (french_spacing(words[1]) if language == "fr" else words[0]).replace("{}", figure)


def copy_of(queue_id: str, sameness: str) -> str:
    """Detail of a document that came before, in the message with this queue id. sameness: document | xml | number."""
    return _COPIES[sameness][0].replace("{}", queue_id) if sameness in _COPIES else queue_id


def french(detail: str) -> str:
    """A detail for a French sentence: figures, names and identifiers as they are, words of ours translated."""
    if detail in FRENCH:
        return FRENCH[detail]
    if (match := _TWO_CLIENTS.fullmatch(detail)) is not None:
        return _two_clients_in_french(*match.groups())
    for pattern, words in _unchanged():
        if (match := pattern.fullmatch(detail)) is not None:
            return words.format(*match.groups())
    return detail


@cache
def _unchanged() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each English wording, as a pattern of what it may have been made with, and its French one."""
    pairs = (*_DEFECTS.values(), _UNSEEN, _GAVE_UP, _LINKS, *_COPIES.values(), *_AUTOMATIC)
    return tuple(
        (re.compile("(.*)".join(map(re.escape, en.split("{}"))), re.DOTALL), french_spacing(fr)) for en, fr in pairs
    )


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
    """What happened and how to mend it, for a person. `smtp`: the reply (code, enhanced) when the message is
    refused."""

    en: str
    fr: str
    fix_en: str
    fix_fr: str
    smtp: tuple[int, str] = (550, "5.7.1")


_SENTENCES: dict[Reason, Sentence] = {
    Reason.UNKNOWN_CLIENT: Sentence(
        "no client is known for {detail}",
        "aucun dossier client ne correspond à {detail}",
        "add the address to `recipients` of the client, or its SIREN, then `agiris-relay queue replan`",
        "ajoutez l'adresse aux `recipients` du dossier, ou son SIREN, puis `agiris-relay queue replan`",
        (550, "5.1.1"),
    ),
    Reason.AMBIGUOUS_CLIENT: Sentence(
        "several clients match: {detail}",
        "plusieurs dossiers correspondent : {detail}",
        "give each client its own recipient address, or its SIRET, then `agiris-relay queue replan`",
        "donnez à chaque dossier sa propre adresse de réception, ou son SIRET, puis `agiris-relay queue replan`",
    ),
    Reason.CONTRADICTION: Sentence(
        "two different clients are named: {detail}",
        "deux dossiers différents sont désignés : {detail}",
        "correct the address on the platform or the configuration, then `agiris-relay queue replan`",
        "corrigez l'adresse sur la plateforme ou la configuration, puis `agiris-relay queue replan`",
    ),
    Reason.WRONG_CLIENT: Sentence(
        "neither seller nor buyer of the invoice is the client: {detail}",
        "ni le vendeur ni l'acheteur de la facture n'est le client : {detail}",
        "check the SIREN of the client; if it is wrong, correct it, then `agiris-relay queue replan`; if it is right,"
        " the document concerns another client: drop it and report it to the platform",
        "vérifiez le SIREN du dossier ; s'il est faux, corrigez-le, puis `agiris-relay queue replan` ; s'il est juste,"
        " la pièce concerne un autre client : écartez-la (drop) et signalez-le à la plateforme",
    ),
    Reason.UNIDENTIFIED_PARTY: Sentence(
        "it is not certain that the client is a party of the invoice (identifiers missing or contradictory): {detail}",
        "le client n'est pas à coup sûr partie à la facture (identifiants absents ou contradictoires) : {detail}",
        "open the invoice; release it if it is the client's, and ask its issuer to add the SIREN",
        "ouvrez la facture ; si elle concerne bien le dossier, libérez-la (release) et demandez à l'émetteur"
        " d'y ajouter le SIREN",
    ),
    Reason.BOTH_PARTIES: Sentence(
        "the client is seller and buyer of the invoice: {detail}",
        "le client est à la fois vendeur et acheteur : {detail}",
        "release it if it is meant so",
        "libérez la pièce (release) si c'est voulu",
    ),
    Reason.NO_ADDRESS: Sentence(
        "the client has no Agiris address for this kind of document: {detail}",
        "le dossier n'a pas d'adresse Agiris pour ce type de pièce : {detail}",
        "complete `agiris_address`, then `agiris-relay queue replan`",
        "complétez `agiris_address`, puis `agiris-relay queue replan`",
    ),
    Reason.UNKNOWN_KIND: Sentence(
        "nothing tells whether this is a purchase, a sale or a statement, and the client has several addresses{detail}",
        "rien ne dit s'il s'agit d'un achat, d'une vente ou d'un relevé, et le dossier a plusieurs adresses{detail}",
        "tell it by `kinds`, or give the client one `agiris_address`, then `agiris-relay queue replan`",
        "précisez-le avec `kinds`, ou donnez une seule `agiris_address` au dossier, puis `agiris-relay queue replan`",
    ),
    Reason.NOT_SHARED: Sentence(
        "the client does not share documents with the firm",
        "le client ne partage pas ses documents avec le cabinet comptable",
        "set `share_with_firm: true`, then `agiris-relay queue replan` or release",
        "mettez `share_with_firm: true`, puis `agiris-relay queue replan`, ou libérez (release)",
    ),
    Reason.TRANSMISSION_OFF: Sentence(
        "the connection does not transmit documents",
        "la connexion ne transmet pas les documents",
        "set `transmit_documents: true`, then `agiris-relay queue replan` or release",
        "mettez `transmit_documents: true`, puis `agiris-relay queue replan`, ou libérez (release)",
    ),
    Reason.NO_DOCUMENT: Sentence(
        "the mail has no document attached{detail}",
        "le message ne contient aucune pièce jointe{detail}",
        "check the export on the platform; release it if Agiris wants it all the same, or set "
        "`check.on_no_document: relay`",
        "vérifiez l'export sur la plateforme ; libérez le message s'il doit partir quand même, ou mettez "
        "`check.on_no_document: relay`",
        (550, "5.6.0"),
    ),
    Reason.NO_FACTURX: Sentence(
        "no Factur-X in the mail{detail}",
        "aucune facture Factur-X dans le message{detail}",
        "check the export on the platform, or set `check.on_missing: relay`",
        "vérifiez l'export sur la plateforme, ou mettez `check.on_missing: relay`",
        (550, "5.6.0"),
    ),
    Reason.INVALID_FACTURX: Sentence(
        "the Factur-X is invalid: {detail}",
        "la facture Factur-X est invalide : {detail}",
        "have the invoice issued again, or release it as it is",
        "faites réémettre la facture, ou libérez-la telle quelle (release)",
        (550, "5.6.0"),
    ),
    Reason.ACTIVE_CONTENT: Sentence(
        "a PDF holds a script, a program or a form that acts by itself: attachment {detail}",
        "un PDF contient un script, un programme ou un formulaire qui agit de lui-même : pièce {detail}",
        "open it on no workstation before it has been examined; ask the issuer for a PDF without active content and "
        "drop this one, or release it if it is harmless; `check.on_active_content: relay` relays all such PDFs",
        "ne l'ouvrez sur aucun poste avant de l'avoir fait examiner ; demandez à l'émetteur un PDF sans contenu actif "
        "et écartez celui-ci (drop), ou libérez-le (release) s'il est inoffensif ; `check.on_active_content: relay` "
        "relaie tous les PDF de ce genre",
    ),
    Reason.UNDETERMINED: Sentence(
        "the Factur-X could not be checked: {detail}",
        "la facture Factur-X n'a pas pu être vérifiée : {detail}",
        "run `agiris-relay queue replan` to check again, or release it as it is",
        "lancez `agiris-relay queue replan` pour vérifier de nouveau, ou libérez-la telle quelle (release)",
        (451, "4.3.0"),
    ),
    Reason.CONFLICTING_COPIES: Sentence(
        "two different invoices bear the number {detail}",
        "deux factures différentes portent le numéro {detail}",
        "find out which one is right on the platform; release or drop",
        "cherchez la bonne sur la plateforme ; libérez (release) ou écartez (drop)",
    ),
    Reason.DUPLICATE_DOCUMENT: Sentence(
        "this document or invoice was already sent to this address: {detail}",
        "cette pièce ou cette facture a déjà été envoyée à cette adresse : {detail}",
        "drop it if it is a copy; release it if it must be sent too, as a corrected invoice must",
        "si c'est une copie, écartez-la (drop) ; si elle doit partir aussi, comme une facture rectifiée, libérez-la"
        " (release)",
    ),
    Reason.TOO_LARGE: Sentence(
        "too large for the destination: {detail}",
        "trop volumineux pour la destination : {detail}",
        "raise `max_mail_size` of the destination if it takes more, then `agiris-relay queue replan`",
        "augmentez `max_mail_size` de la destination si elle accepte plus, puis `agiris-relay queue replan`",
        (552, "5.3.4"),
    ),
    Reason.TOO_MANY_ATTACHMENTS: Sentence(
        "too many attachments for the destination: {detail}",
        "trop de pièces jointes pour la destination : {detail}",
        "raise `max_attachments` of the destination, then `agiris-relay queue replan`",
        "augmentez `max_attachments` de la destination, puis `agiris-relay queue replan`",
    ),
    Reason.ATTACHMENT_TYPE: Sentence(
        "the destination takes no such attachment: {detail}",
        "la destination n'accepte pas ce type de pièce : {detail}",
        "add the type to `attachment_types` of the destination, then `agiris-relay queue replan`",
        "ajoutez le type à `attachment_types` de la destination, puis `agiris-relay queue replan`",
    ),
    Reason.ENCRYPTED_MAIL: Sentence(
        "the mail is encrypted: its documents cannot be read{detail}",
        "le message est chiffré : ses pièces ne peuvent pas être lues{detail}",
        "have the platform send it unencrypted; release it only if Agiris can read it",
        "faites-le envoyer sans chiffrement ; libérez-le seulement si Agiris sait le lire",
    ),
    Reason.SIGNED_MAIL: Sentence(
        "the mail is signed and a document would have to be cut from it{detail}",
        "le message est signé et une pièce devrait en être retirée{detail}",
        "release it to send it whole",
        "libérez-le (release) pour l'envoyer entier",
    ),
    Reason.PARTIAL_MAIL: Sentence(
        "the mail is a fragment (message/partial): its documents cannot be read{detail}",
        "le message est un fragment (message/partial) : ses pièces ne peuvent pas être lues{detail}",
        "have the platform send it in one piece",
        "faites-le envoyer en une seule fois",
    ),
    Reason.TNEF_MAIL: Sentence(
        "the documents are wrapped in winmail.dat (TNEF){detail}",
        "les pièces sont encapsulées dans winmail.dat (format Outlook){detail}",
        "have it sent as ordinary MIME",
        "faites-le envoyer en MIME ordinaire",
    ),
    Reason.UNKNOWN_ENCODING: Sentence(
        "a part of the message has an unknown transfer encoding and cannot be read: {detail}",
        "une partie du message porte un codage de transfert inconnu et ne peut pas être lue : {detail}",
        "have it sent again with the document in base64",
        "faites renvoyer le message, sa pièce codée en base64",
    ),
    Reason.MALFORMED_MAIL: Sentence(
        "the mail cannot be read: {detail}",
        "le message est illisible : {detail}",
        "have it sent again by a conforming program",
        "demandez un nouvel envoi : ce message ne respecte pas le format MIME",
        (554, "5.6.0"),
    ),
    Reason.LOOP: Sentence(
        "the mail would come back to this relay: {detail}",
        "le message reviendrait à ce relais : {detail}",
        "correct `agiris_address` of the client, then `agiris-relay queue replan`",
        "corrigez `agiris_address` du dossier, puis `agiris-relay queue replan`",
        (554, "5.4.6"),
    ),
    Reason.UNSETTLED: Sentence(
        "the relay stopped {detail} times in a row while it sent this message alone",
        "le relais s'est arrêté {detail} fois de suite pendant l'envoi de ce message seul",
        "find out from the next hop whether it has the message, then release or drop",
        "vérifiez auprès du serveur suivant s'il a reçu le message, puis libérez-le (release) ou écartez-le (drop)",
    ),
    Reason.BY_OPERATOR: Sentence(
        "held by an operator{detail}",
        "retenu par un opérateur{detail}",
        "release it when it may leave",
        "libérez-le (release) quand il peut partir",
    ),
    Reason.RESTORED: Sentence(
        "restored from the backup of {detail}: it may have been sent since",
        "restauré depuis la sauvegarde du {detail} : il est peut-être parti depuis",
        "look for it in Agiris or in the next hop's log; release it if it did not arrive, else drop it",
        "cherchez-le dans Agiris ou chez le serveur suivant ; absent, libérez-le (release), sinon écartez-le (drop)",
    ),
}

SENTENCES: dict[Reason, Sentence] = {
    reason: replace(each, fr=french_spacing(each.fr), fix_fr=french_spacing(each.fix_fr))
    for reason, each in _SENTENCES.items()
}


def sentence(reason: Reason, detail: str = "", language: str = "en") -> str:
    """What happened, in `language` ("en" or "fr")."""
    text = SENTENCES[reason]
    if reason is Reason.MALFORMED_MAIL:
        detail = defect(detail, language)
    if language == "fr":
        return text.fr.replace("{detail}", french(detail))
    return text.en.replace("{detail}", detail)


_PARTIES_TOLD = frozenset({"wrong_client", "unidentified_party"})
"""Reasons whose detail holds identifiers of an invoice's parties: these may be clients of another firm."""


def public_sentence(reason: Reason, detail: str, language: str) -> str:
    """What happened, for whoever does not run this host: a firm, the platform. It names no client of another firm."""
    named_others = reason is Reason.CONTRADICTION and "≠" in detail  # as earlier versions stored it
    if reason in _PARTIES_TOLD or named_others:
        return re.sub(r"[\s:]+$", "", sentence(reason, "", language))
    return sentence(reason, detail, language)


_ADDRESS_STATUS = re.compile(r"\b5\.(1\.(?:[01236]|10)|2\.1|4\.4)(?![.\d])")
_ADDRESS_CODE = re.compile(r"55[013](?! [245]\.)\b")
_FAILURE_FIXES = {
    True: (
        "correct `agiris_address` of the client, then `agiris-relay queue replan ID` (`queue retry` would send to the"
        " same address again)",
        "corrigez `agiris_address` du dossier, puis `agiris-relay queue replan ID` (`queue retry` renverrait à la même"
        " adresse)",
    ),
    False: (
        "correct the cause, then `agiris-relay queue retry ID`",
        "corrigez la cause, puis `agiris-relay queue retry ID`",
    ),
}


def failure_fix(reply: str, language: str = "en") -> str:
    """What a person can do about a delivery that failed with `reply` (of the next hop, or of a bounce).

    An address is frozen when the message is accepted: one that is at fault (RFC 3463 §3.2) takes a new plan.
    """
    wrong = bool(_ADDRESS_STATUS.search(reply) or _ADDRESS_CODE.match(reply))
    return _FAILURE_FIXES[wrong][language == "fr"]


def retold(text: str, language: str = "en") -> str:
    """An English sentence kept in a history, in `language`; what is no sentence of ours stays as it is."""
    if language != "fr":
        return text
    for reason, pattern in _kept().items():
        if (match := pattern.fullmatch(text)) is not None:
            return SENTENCES[reason].fr.replace("{detail}", french("".join(match.groups())))
    return french(text)


@cache
def _kept() -> dict[Reason, re.Pattern[str]]:
    """The English sentence of each reason, as a pattern of what it may have been made with."""
    return {
        reason: re.compile("(.*)".join(map(re.escape, each.en.split("{detail}"))), re.DOTALL)
        for reason, each in SENTENCES.items()
    }


def fix(reason: Reason, language: str = "en") -> str:
    """What a person can do about it, in `language`."""
    text = SENTENCES[reason]
    return text.fix_fr if language == "fr" else text.fix_en
