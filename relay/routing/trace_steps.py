"""Steps: the reasoning behind a decision, one value a step, told in French or English by `explain`.

Attachments are named by their place in the mail (from 1): file names may hold what a log must not."""

from dataclasses import dataclass

from relay.reasons import french, french_spacing


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `code`: a key of SENTENCES; `detail` completes its sentence."""

    code: str
    detail: str = ""

    def text(self, language: str = "en") -> str:
        """The sentence in "en" or "fr"."""
        en, fr = SENTENCES[self.code]
        return (
            french_spacing(fr).replace("{}", french(self.detail)) if language == "fr" else en.replace("{}", self.detail)
        )


SENTENCES: dict[str, tuple[str, str]] = {
    "identified_by_recipient": ("client {}, told by the recipient", "dossier {}, reconnu par le destinataire"),
    "identified_by_header": ("client {}, told by a header field", "dossier {}, reconnu par un champ d'en-tête"),
    "identified_by_siren": ("client {}, told by the SIREN", "dossier {}, reconnu par le SIREN"),
    "unidentified": ("no client is told for {}", "aucun dossier n'est reconnu pour {}"),
    "facturx": ("attachment {} is the Factur-X", "la pièce {} est la Factur-X"),
    "paired_by_text": (
        "original PDF and its Factur-X: its text is that of the Factur-X's own pages, with the same figures: {}",
        "PDF d'origine et sa Factur-X : son texte est celui des pages de la Factur-X, avec les mêmes chiffres : {}",
    ),
    "paired_by_content": (
        "original PDF and its Factur-X: its text states the invoice number, the date, the seller and the amounts with"
        " VAT, without VAT and of VAT: {}",
        "PDF d'origine et sa Factur-X : son texte indique le numéro de facture, la date, le vendeur, le montant TTC,"
        " le montant HT et la TVA : {}",
    ),
    "paired_by_stated_amounts": (
        "original PDF and its Factur-X: its text states the invoice number, the date, the seller and all the totals"
        " that the invoice states: {}",
        "PDF d'origine et sa Factur-X : son texte indique le numéro de facture, la date, le vendeur et tous les totaux"
        " que la facture comporte : {}",
    ),
    "paired_by_total": (
        "original PDF and its Factur-X: its text states the invoice number as its own, the date, the seller and the"
        " total with VAT, and nothing that the invoice does not: {}",
        "PDF d'origine et sa Factur-X : son texte porte le numéro de facture en titre, la date, le vendeur et le total"
        " TTC, et rien d'autre que la facture : {}",
    ),
    "paired_by_name": (
        "original PDF and its Factur-X: it has no text (a scan) and the same file name: {}",
        "PDF d'origine et sa Factur-X : il n'a pas de texte (numérisation) et porte le même nom de fichier : {}",
    ),
    "paired_by_setting": (
        "original PDF and its Factur-X, the only two, by the setting `always_paired`: {}",
        "PDF d'origine et sa Factur-X, seuls dans le message, selon le réglage `always_paired` : {}",
    ),
    "copies": ("copies of one invoice (same XML): {}", "exemplaires d'une même facture (même XML) : {}"),
    "several_originals": (
        "several PDFs could be the original, none is guessed: {}",
        "plusieurs PDF pourraient être l'original, aucun n'est deviné : {}",
    ),
    "another_kind": (
        "a PDF names the invoice and is not its original, for its text is headed as another kind of document: {}",
        "un PDF cite la facture sans en être l'original, car son texte annonce un autre type de document : {}",
    ),
    "another_number": (
        "a PDF names the invoice and is not its original, for its text bears another number: {}",
        "un PDF cite la facture sans en être l'original, car son texte porte un autre numéro : {}",
    ),
    "another_seller": (
        "a PDF names the invoice and is not its original, for its text names another seller: {}",
        "un PDF cite la facture sans en être l'original, car son texte désigne un autre vendeur : {}",
    ),
    "another_total": (
        "a PDF names the invoice and is not its original, for its text states another total: {}",
        "un PDF cite la facture sans en être l'original, car son texte indique un autre total : {}",
    ),
    "another_date": (
        "a PDF names the invoice and is not its original, for its text states another date: {}",
        "un PDF cite la facture sans en être l'original, car son texte indique une autre date : {}",
    ),
    "lacks_kind": (
        "a PDF names the invoice and is not its original, for its text is not headed as an invoice: {}",
        "un PDF cite la facture sans en être l'original, car son texte n'a pas de titre de facture : {}",
    ),
    "lacks_date": (
        "a PDF names the invoice and is not its original, for its text does not state the date of the invoice: {}",
        "un PDF cite la facture sans en être l'original, car son texte n'indique pas la date de la facture : {}",
    ),
    "lacks_seller": (
        "a PDF names the invoice and is not its original, for its text does not name the seller: {}",
        "un PDF cite la facture sans en être l'original, car son texte ne désigne pas le vendeur : {}",
    ),
    "lacks_amounts": (
        "a PDF names the invoice and is not its original, for its text does not state the amounts of the invoice: {}",
        "un PDF cite la facture sans en être l'original, car son texte n'indique pas les montants de la facture : {}",
    ),
    "split_invoice": (
        "PDF and XML of one invoice in two parts, judged together: {}",
        "PDF et XML d'une même facture en deux pièces, jugés ensemble : {}",
    ),
    "unreadable": (
        "attachment {} is encrypted or could not be read: kept",
        "la pièce {} est chiffrée ou illisible : conservée",
    ),
    "other_xml": ("attachment {} is an XML of another invoice", "la pièce {} est le XML d'une autre facture"),
    "not_facturx": ("attachment {} is not a Factur-X: kept", "la pièce {} n'est pas une Factur-X : conservée"),
    "other": ("attachment {} is another document: kept", "la pièce {} est un autre document : conservée"),
    "statement": ("bank statement, told by its name: {}", "relevé bancaire, reconnu à son nom : {}"),
    "removed": ("original PDF removed (button off): {}", "PDF d'origine retiré (bouton désactivé) : {}"),
    "kept": ("original PDF kept: {}", "PDF d'origine conservé : {}"),
    "kept_by_rule": (
        "original PDF kept although the button is off, its Factur-X being unreadable, incomplete or unchecked: {}",
        "PDF d'origine conservé bien que le bouton soit désactivé, "
        "sa Factur-X étant illisible, incomplète ou non vérifiée : {}",
    ),
    "xml_removed": (
        "XML of the same invoice removed, the destination takes none: {}",
        "XML de la même facture retiré, la destination n'en accepte pas : {}",
    ),
    "role": ("role of the client: {}", "rôle du client : {}"),
    "role_by": ("identifier of the client in the invoice: {}", "identifiant du client dans la facture : {}"),
    "role_by_elimination": (
        "the invoice holds no identifier of the client; its other party is {}, and the message names the client",
        "la facture ne contient aucun identifiant du client ; l'autre partie est {}, et le message désigne le dossier",
    ),
    "self_billed": ("self-billed invoice (type {})", "autofacturation (type {})"),
    "address": ("address of Agiris: {}", "adresse Agiris : {}"),
    "fallback": (
        "no address of its own for this kind of document, it goes with {}",
        "pas d'adresse propre à ce type de pièce, elle part avec {}",
    ),
    "invalid_relayed": (
        "the Factur-X is invalid ({}); relayed by the setting `on_invalid`",
        "la Factur-X est invalide ({}) ; relayée selon le réglage `on_invalid`",
    ),
    "active_relayed": (
        "active content in attachment {}; relayed by the setting `on_active_content`",
        "contenu actif dans la pièce {} ; relayée selon le réglage `on_active_content`",
    ),
    "undetermined_relayed": (
        "not checked to the end: attachment {}; relayed by the setting `on_undetermined`",
        "vérification inachevée : pièce {} ; relayée selon le réglage `on_undetermined`",
    ),
    "missing_relayed": (
        "no Factur-X in the mail; relayed by the setting `on_missing`",
        "aucune Factur-X dans le message ; relayé selon le réglage `on_missing`",
    ),
    "no_document_relayed": (
        "no document in the message; relayed by the setting `on_no_document`",
        "aucune pièce dans le message ; relayé selon le réglage `on_no_document`",
    ),
    "wrong_client_relayed": (
        "the client is no party of the invoice ({}); relayed by the setting `on_wrong_client`",
        "le client n'est pas partie à la facture ({}) ; relayée selon le réglage `on_wrong_client`",
    ),
    "signed_whole": (
        "the mail is signed: relayed whole by the setting `on_signed`",
        "le message est signé : relayé entier selon le réglage `on_signed`",
    ),
    "links": (
        "links instead of attachments, never fetched: {}",
        "des liens au lieu de pièces jointes, jamais suivis : {}",
    ),
    "split": ("one mail in, {} mails out", "un message reçu, {} messages émis"),
    "refusal_held": (
        "held and not refused: another part of the mail is accepted",
        "retenu et non refusé : une autre partie du message est acceptée",
    ),
    "size": ("size of the outgoing mail: {}", "taille du message émis : {}"),
}
