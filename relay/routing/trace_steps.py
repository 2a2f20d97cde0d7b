"""Steps: the reasoning behind a decision, one value a step; `explain` shows them in French or English.

Attachments are named by their place in the message (from 1): file names may hold what a log must not."""

from dataclasses import dataclass

from relay.locale.catalogue import marked, translate
from relay.reasons import code, describe


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `code`: a key of SENTENCES; `detail` completes its sentence."""

    code: str
    detail: str = ""

    def text(self, language: str = "en") -> str:
        """The sentence in "en" or "fr"."""
        detail = code(self.detail, language) if self.code in _CODED else describe(self.detail, language)
        return translate(SENTENCES[self.code], language, detail=detail)


_CODED = frozenset({"role", "fallback", "invalid_relayed"})
"""Steps whose detail may be a code of relay.reasons.CODES."""

SENTENCES: dict[str, str] = {
    "identified_by_recipient": marked("client {detail}, identified by the recipient"),
    "identified_by_header": marked("client {detail}, identified by a header field"),
    "identified_by_siren": marked("client {detail}, identified by the SIREN"),
    "unidentified": marked("no client is identified for {detail}"),
    "facturx": marked("attachment {detail} is the Factur-X"),
    "paired_by_text": marked(
        "original PDF and its Factur-X: its text is that of the Factur-X's own pages, with the same figures: {detail}"
    ),
    "paired_by_content": marked(
        "original PDF and its Factur-X: its text states the invoice number, the date, the seller and the"
        " amounts with VAT, without VAT and of VAT: {detail}"
    ),
    "paired_by_stated_amounts": marked(
        "original PDF and its Factur-X: its text states the invoice number, the date, the seller and all"
        " the totals that the invoice states: {detail}"
    ),
    "paired_by_total": marked(
        "original PDF and its Factur-X: its text states the invoice number as its own, the date, the"
        " seller and the total with VAT, and nothing that the invoice does not: {detail}"
    ),
    "paired_by_name": marked("original PDF and its Factur-X: it has no text (a scan) and the same file name: {detail}"),
    "paired_by_setting": marked(
        "original PDF and its Factur-X, the only two, by the setting `always_paired`: {detail}"
    ),
    "several_originals": marked("several PDFs could be the original, none is guessed: {detail}"),
    "another_kind": marked(
        "a PDF names the invoice and is not its original, for its text is headed as another kind of document: {detail}"
    ),
    "another_number": marked(
        "a PDF names the invoice and is not its original, for its text bears another number: {detail}"
    ),
    "another_seller": marked(
        "a PDF names the invoice and is not its original, for its text names another seller: {detail}"
    ),
    "another_total": marked(
        "a PDF names the invoice and is not its original, for its text states another total: {detail}"
    ),
    "another_date": marked(
        "a PDF names the invoice and is not its original, for its text states another date: {detail}"
    ),
    "lacks_kind": marked(
        "a PDF names the invoice and is not its original, for its text is not headed as an invoice: {detail}"
    ),
    "lacks_date": marked(
        "a PDF names the invoice and is not its original, for its text does not state the date of the invoice: {detail}"
    ),
    "lacks_seller": marked(
        "a PDF names the invoice and is not its original, for its text does not name the seller: {detail}"
    ),
    "lacks_amounts": marked(
        "a PDF names the invoice and is not its original, for its text does not state the amounts of the"
        " invoice: {detail}"
    ),
    "split_invoice": marked("PDF and XML of one invoice in two parts, judged together: {detail}"),
    "unreadable": marked("attachment {detail} is encrypted or could not be read: kept"),
    "other_xml": marked("attachment {detail} is an XML of another invoice"),
    "not_facturx": marked("attachment {detail} is not a Factur-X: kept"),
    "other": marked("attachment {detail} is another document: kept"),
    "statement": marked("bank statement, recognized by its name: {detail}"),
    "removed": marked("original PDF removed (button off): {detail}"),
    "kept": marked("original PDF kept: {detail}"),
    "kept_by_rule": marked(
        "original PDF kept although the button is off, its Factur-X being unreadable, incomplete or unchecked: {detail}"
    ),
    "xml_removed": marked("XML of the same invoice removed, the destination takes none: {detail}"),
    "role": marked("role of the client: {detail}"),
    "role_by": marked("identifier of the client in the invoice: {detail}"),
    "role_by_elimination": marked(
        "the invoice holds no identifier of the client; its other party is {detail}, and the message names the client"
    ),
    "self_billed": marked("self-billed invoice (type {detail})"),
    "address": marked("address of Agiris: {detail}"),
    "fallback": marked("no address of its own for this kind of document, it goes with {detail}"),
    "invalid_relayed": marked("the Factur-X is invalid ({detail}); relayed by the setting `on_invalid`"),
    "active_relayed": marked("active content in attachment {detail}; relayed by the setting `on_active_content`"),
    "undetermined_relayed": marked(
        "not checked to the end: attachment {detail}; relayed by the setting `on_undetermined`"
    ),
    "missing_relayed": marked("no Factur-X in the message; relayed by the setting `on_missing`"),
    "no_document_relayed": marked("no document in the message; relayed by the setting `on_no_document`"),
    "wrong_client_relayed": marked(
        "the client is no party of the invoice ({detail}); relayed by the setting `on_wrong_client`"
    ),
    "signed_whole": marked("the message is signed: relayed whole by the setting `on_signed`"),
    "links": marked("links instead of attachments, never fetched: {detail}"),
    "split": marked("one message in, {detail} messages out"),
    "refusal_held": marked("held and not rejected: another part of the message is accepted"),
}
