"""What completes the sentence of a reason: figures and names as they are, words of ours in either language."""

import re
from functools import cache

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

_LINKS = (" (links: {})", " (liens : {})")


def defect(name: str, language: str = "en", figure: str = "") -> str:
    """Why a mail cannot be read, in words. name: of a defect, or the media type of a part that was not looked into."""
    words = _DEFECTS.get(name)
    if words is None and name.startswith(("multipart/", "message/")) and " " not in name:
        words, figure = _UNSEEN, name
    return words[language == "fr"].replace("{}", figure) if words else name


def french(detail: str) -> str:
    """A detail for a French sentence: figures, names and identifiers as they are, words of ours translated."""
    if detail in FRENCH:
        return FRENCH[detail]
    for pattern, words in _kept():
        if (match := pattern.fullmatch(detail)) is not None:
            return words.format(*match.groups())
    return detail


@cache
def _kept() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each English wording, as a pattern of what it may have been made with, and its French one."""
    pairs = (*_DEFECTS.values(), _UNSEEN, _GAVE_UP, _LINKS)
    return tuple((re.compile("(.*)".join(map(re.escape, en.split("{}"))), re.DOTALL), fr) for en, fr in pairs)
