"""What completes the sentence of a reason: figures and names as they are, words of ours in either language."""

import re
from functools import cache


def french_spacing(text: str) -> str:
    """`text` with the spaces that French typography keeps on one line: U+00A0 before a colon and inside « », U+202F
    before `;`, `?` and `!`. For sentences of ours only: what a peer or an operator wrote stays as it is."""
    text = re.sub(r" (?=[:»])|(?<=«) ", "\u00a0", text)
    return re.sub(r" (?=[;?!])", "\u202f", text)


def is_printable(letter: str) -> bool:
    """Can `letter` stand in a line of text? Python counts the spaces of `french_spacing` among what cannot."""
    return letter.isprintable() or letter in "\u00a0\u202f"


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
"""Detail of a mail that the spool could not read back whole."""

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
    """Why a mail cannot be read, in words. name: of a defect, or the media type of a part that was not looked into."""
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
    for pattern, words in _kept():
        if (match := pattern.fullmatch(detail)) is not None:
            return words.format(*match.groups())
    return detail


@cache
def _kept() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each English wording, as a pattern of what it may have been made with, and its French one."""
    pairs = (*_DEFECTS.values(), _UNSEEN, _GAVE_UP, _LINKS, *_COPIES.values(), *_AUTOMATIC)
    return tuple(
        (re.compile("(.*)".join(map(re.escape, en.split("{}"))), re.DOTALL), french_spacing(fr)) for en, fr in pairs
    )
