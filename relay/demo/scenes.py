"""The scenes of the demo: what the platform sends, and what must become of it. Judged by content, not by file name."""

from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from hashlib import sha256

from relay.demo.sample_pdf import facturx_pdf, original_pdf
from relay.demo.samples import invoice_xml
from relay.reasons import Reason

BAKERY, GARAGE, ARTISAN = "732829320", "356000000", "552100554"
SUPPLIER, STRANGER = "542051180", "775670417"

FIRM_YAML = f"""\
firm: Cabinet de démonstration
operator: exploitation@cabinet.example
connections:
  agiris:
    link_name: Agiris – envoi par e-mail
    type: email
    transmit_documents: true
    original_pdf: false
  silent:
    link_name: Agiris – en pause
    type: email
    transmit_documents: false
    original_pdf: false
clients:
  - dossier: "00012345"
    name: Boulangerie Martin
    siren: "{BAKERY}"
    share_with_firm: true
    connection: agiris
    agiris_address: 00012345@agiris.example
    recipients: [martin@export.relay.example]
  - dossier: "00012346"
    name: Garage Petit
    siren: "{GARAGE}"
    share_with_firm: true
    connection: agiris
    original_pdf: true
    agiris_address:
      purchases: achats.petit@agiris.example
      sales: ventes.petit@agiris.example
      credit_notes: avoirs.petit@agiris.example
    recipients: [petit@export.relay.example]
  - dossier: "00012347"
    name: Atelier Durand
    siren: "{ARTISAN}"
    share_with_firm: true
    connection: silent
    agiris_address: 00012347@agiris.example
    recipients: [atelier@export.relay.example]
"""


@dataclass(frozen=True, slots=True)
class Attached:
    """One PDF of a scene. `cut`: it must not arrive."""

    filename: str
    content: bytes
    cut: bool = False

    @property
    def sha256(self) -> str:
        return sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Scene:
    """One message of the platform. `to`: the Agiris address it must reach, or None when `reason` holds it."""

    title: str
    recipient: str
    attached: tuple[Attached, ...]
    to: str | None
    reason: Reason | None = None

    @property
    def message_id(self) -> str:
        return f"<{self.attached[0].sha256[:16]}@jefacture.example>"

    def mail(self) -> bytes:
        """The message as the platform would send it."""
        message = EmailMessage(policy=SMTP)
        message["From"] = "Plateforme jefacture <noreply@jefacture.example>"
        message["To"] = self.recipient
        message["Subject"] = f"Nouvelle pièce : {self.attached[0].filename}"
        message["Date"] = "Tue, 24 Nov 2026 09:00:00 +0100"
        message["Message-ID"] = self.message_id
        message.set_content("Bonjour,\n\nvous trouverez ci-joint une nouvelle pièce.\n")
        for each in self.attached:
            message.add_attachment(each.content, maintype="application", subtype="pdf", filename=each.filename)
        # Python's boundaries are random; a message that is sent again must be the same octet for octet.
        message.set_boundary(f"=_{self.attached[0].sha256[:32]}")
        return message.as_bytes()


def _invoice(number: str, seller: str, buyer: str, *, type_code: str = "380", wrong_total: bool = False) -> bytes:
    xml = invoice_xml(
        number=number, seller_siren=seller, buyer_siren=buyer, type_code=type_code, wrong_total=wrong_total
    )
    return facturx_pdf(xml, text=f"Facture {number}")


def _original(number: str, buyer: str) -> bytes:
    return original_pdf(invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=buyer))


def scenes() -> tuple[Scene, ...]:
    """Factur-X alone, with its original (button off, on), credit note, invalid, another client's, transmission off."""
    martin, petit, atelier = (f"{each}@export.relay.example" for each in ("martin", "petit", "atelier"))
    return (
        Scene(
            "a Factur-X alone (sale of Boulangerie Martin)",
            martin,
            (Attached("F-2026-001.pdf", _invoice("F-2026-001", BAKERY, SUPPLIER)),),
            "00012345@agiris.example",
        ),
        Scene(
            "a Factur-X and its original PDF, button off",
            martin,
            (
                Attached("F-2026-002.pdf", _invoice("F-2026-002", SUPPLIER, BAKERY)),
                Attached("original.pdf", _original("F-2026-002", BAKERY), cut=True),
            ),
            "00012345@agiris.example",
        ),
        Scene(
            "a Factur-X and its original PDF, button on (purchase of Garage Petit)",
            petit,
            (
                Attached("F-2026-003.pdf", _invoice("F-2026-003", SUPPLIER, GARAGE)),
                Attached("original.pdf", _original("F-2026-003", GARAGE)),
            ),
            "achats.petit@agiris.example",
        ),
        Scene(
            "a credit note (381) of Garage Petit",
            petit,
            (Attached("A-2026-001.pdf", _invoice("A-2026-001", GARAGE, SUPPLIER, type_code="381")),),
            "avoirs.petit@agiris.example",
        ),
        Scene(
            "an invalid Factur-X: the total is wrong",
            martin,
            (Attached("F-2026-004.pdf", _invoice("F-2026-004", BAKERY, SUPPLIER, wrong_total=True)),),
            None,
            Reason.INVALID_FACTURX,
        ),
        Scene(
            "another client's invoice, sent to Boulangerie Martin's address",
            martin,
            (Attached("F-2026-005.pdf", _invoice("F-2026-005", SUPPLIER, GARAGE)),),
            None,
            Reason.CONTRADICTION,
        ),
        Scene(
            "a stranger's invoice, sent to Boulangerie Martin's address",
            martin,
            (Attached("F-2026-007.pdf", _invoice("F-2026-007", SUPPLIER, STRANGER)),),
            None,
            Reason.WRONG_CLIENT,
        ),
        Scene(
            "transmission off for Atelier Durand",
            atelier,
            (Attached("F-2026-006.pdf", _invoice("F-2026-006", ARTISAN, SUPPLIER)),),
            None,
            Reason.TRANSMISSION_OFF,
        ),
    )
