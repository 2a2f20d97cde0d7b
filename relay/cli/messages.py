"""What the commands say to a person, in English and French. Codes that are typed back (states, verbs) stay codes."""

from collections.abc import Mapping

from relay.reasons import french_spacing

_FRENCH: Mapping[str, str] = {
    # labels of `queue show`
    "mail": "message",
    "arrived": "arrivé",
    "from": "de",
    "by way of": "par",
    "for": "pour",
    "message id": "message-id",
    "plan": "plan",
    "document": "pièce",
    "delivery": "envoi",
    "to": "à",
    "towards": "vers",
    "by": "par",
    "number": "numéro",
    "octets": "octets",
    "attempts": "tentatives",
    "next attempt": "prochaine tentative",
    "why": "raison",
    "mend": "que faire",
    "last answer": "dernière réponse",
    "history": "historique",
    "of": "de",
    "cut": "retirée(s)",
    "unknown client": "dossier inconnu",
    "(no recipient)": "(sans destinataire)",
    "(no name)": "(sans nom)",
    # what a plan says
    "relay": "relayé",
    "hold": "retenu",
    "withhold": "non transmis",
    "refuse": "refusé",
    "sale": "vente",
    "purchase": "achat",
    "statement": "relevé",
    "unknown": "rôle inconnu",
    "role by": "rôle d'après",
    "elimination": "élimination (aucun identifiant du client dans la facture)",
    "recipient": "destinataire",
    "header": "en-tête",
    "siren": "SIREN",
    "facturx": "Factur-X",
    "original": "PDF d'origine",
    "other": "autre document",
    "xml": "XML",
    "keep": "conservé",
    "remove": "retiré",
    "valid": "valide",
    "invalid": "invalide",
    "undetermined": "indéterminée",
    "not-factur-x": "pas une Factur-X",
    # events of a history
    "accepted": "accepté",
    "delivered": "remis",
    "deferred": "différé",
    "failed": "non remis",
    "outcome_unknown": "remise incertaine",
    "attempt_unconfirmed": "sans réponse",
    "held": "retenu",
    "withheld": "non transmis",
    "released": "libéré",
    "retried": "relancé",
    "dropped": "écarté",
    "replanned": "réexaminé",
    "queued": "en file",
    "active": "en cours",
    "late": "en retard",
    "bounce_received": "retour reçu",
    "notification_queued": "avis envoyé",
    "message_corrupt": "endommagé",
}

_SENTENCES: Mapping[str, tuple[str, str]] = {
    "no mail": ("no mail {} in the queue", "aucun message {} dans la file"),
    "no delivery": ("no delivery {} in the queue", "aucun envoi {} dans la file"),
    "nothing known": ("nothing in the queue is known by {}", "rien dans la file ne répond à {}"),
    "not shown": ("not shown: {}", "non affichés\u00a0: {}"),
    "finished (one)": ("{} finished (--all)", "{} envoi terminé (--all)"),
    "finished (many)": ("{} finished (--all)", "{} envois terminés (--all)"),
    "notices (one)": ("{} notice of the relay (--all)", "{} avis du relais (--all)"),
    "notices (many)": ("{} notices of the relay (--all)", "{} avis du relais (--all)"),
    "older (one)": ("{} older (--limit)", "{} envoi plus ancien (--limit)"),
    "older (many)": ("{} older (--limit)", "{} envois plus anciens (--limit)"),
    "newer (one)": ("{} newer (--limit)", "{} envoi plus récent (--limit)"),
    "newer (many)": ("{} newer (--limit)", "{} envois plus récents (--limit)"),
    "no recipient": (
        "{} has no recipient to be released to: {}; {} (agiris-relay queue replan {})",
        "{} n'a pas de destinataire à qui le libérer : {} ; {} (agiris-relay queue replan {})",
    ),
    "under way": (
        "{} is being attempted at this moment: try again when the attempt has ended",
        "{} est en cours d'envoi : réessayez quand la tentative sera finie",
    ),
    "does not apply": ("{} is {}: {} does not apply", "{} est à l'état {} : {} ne s'y applique pas"),
    "purged": (
        "{}: its content is purged; it cannot be decided again",
        "{} : son contenu a été effacé, il ne peut pas être réexaminé",
    ),
    "a notice": (
        "{} is a notice of the relay: use retry or drop",
        "{} est un avis du relais : utilisez retry ou drop",
    ),
    "undecided": ("{}: nothing could be decided about it", "{} : rien n'a pu être décidé à son sujet"),
    "malformed": ("{}: {}", "{} : {}"),
    "malformed file": (
        "{}: {}. Fix: give a whole mail, header and body, as the platform sent it",
        "{} : {}. Que faire : donnez un message entier, en-tête et corps, tel que la plateforme l'a envoyé",
    ),
    "not ours": (
        "the daemon would answer 550 5.7.1 to RCPT TO:<{}>: it is no export address",
        "le service répondrait 550 5.7.1 à RCPT TO:<{}> : ce n'est pas une adresse d'export",
    ),
    "no client": (
        "the daemon would answer 550 5.1.1 to RCPT TO:<{}>: no client is known for it",
        "le service répondrait 550 5.1.1 à RCPT TO:<{}> : aucun dossier ne correspond à cette adresse",
    ),
    "refused": ("refused: {}", "refusé : {}"),
    "refused by the server": (
        "the SMTP server would refuse these octets as they stand: {}",
        "le serveur SMTP refuserait ces octets tels quels : {}",
    ),
    "to mend": ("mend: {}", "que faire : {}"),
    "no usable To": (
        "no recipient: the mail has no usable To. Fix: add --recipient ADDRESS",
        "pas de destinataire : le message n'a pas de To utilisable. Que faire : ajoutez --recipient ADRESSE",
    ),
    "none leaves": (
        "no mail would leave: nothing was written",
        "aucun message ne partirait : rien n'a été écrit",
    ),
    "wrote": ("wrote {}", "écrit : {}"),
}


def word(term: str, language: str) -> str:
    """A label or a code in `language` ("en" or "fr"); in English it is its own word."""
    return _FRENCH.get(term, term) if language == "fr" else term


def say(key: str, language: str, *details: object) -> str:
    """The sentence `key` with its details put in, in order."""
    english, french = _SENTENCES[key]
    text = french_spacing(french) if language == "fr" else english
    return text.format(*details)
