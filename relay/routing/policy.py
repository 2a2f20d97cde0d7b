"""The terms of an export as plain values: what the YAML means once inheritance is resolved.

`relay.settings` makes them, `relay.routing` obeys them. Sizes are octets, durations seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from relay.inspection import Severity
from relay.model import Role


class Level(StrEnum):
    OFF = "off"
    STRUCTURE = "structure"
    FULL = "full"


class Policy(StrEnum):
    RELAY = "relay"
    HOLD = "hold"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Check:
    """`check:` of relay.yaml. french_rules: off | warning | error.

    on_active_content: a PDF that holds a script, a program or a form that acts by itself: relay or hold; no part of the
    verdict that `on_invalid` is for.
    on_signed: a signed mail from which a part would have to be cut: relay it whole, hold or refuse it; never cut.
    on_unidentified_party: the role is told by elimination, for the client bears no identifier in the invoice: relay or
    hold it. What elimination cannot tell is held in any case.
    on_no_document: a message without any document (a bounce, an absence notice, a bare link): hold or relay it.
    always_paired: the platform always sends an original with its Factur-X, so that the only plain PDF beside the only
    Factur-X is its original even when its text proves nothing; not when its text says something else.
    """

    level: Level = Level.FULL
    french_rules: str = "warning"
    on_invalid: Policy = Policy.RELAY
    on_missing: Policy = Policy.RELAY
    on_no_document: Policy = Policy.HOLD
    on_undetermined: Policy = Policy.RELAY
    on_wrong_client: Policy = Policy.HOLD
    on_duplicate: Policy = Policy.HOLD
    on_active_content: Policy = Policy.HOLD
    severities: Mapping[str, Severity] = field(default_factory=dict)
    timeout: float = 10.0
    workers: int = 2
    on_signed: Policy = Policy.HOLD
    always_paired: bool = False
    on_unidentified_party: Policy = Policy.RELAY


@dataclass(frozen=True, slots=True)
class Destination:
    """`destinations.<name>`: what the receiving intake demands. to_header: rewrite | keep. from_header: keep | address.

    attachment_types empty: any.
    """

    name: str = "agiris"
    max_mail_size: int = 20 * 1024 * 1024
    max_attachments: int = 10
    one_invoice_per_mail: bool = True
    to_header: str = "rewrite"
    from_header: str = "keep"
    attachment_types: tuple[str, ...] = ("application/pdf",)
    max_mails_per_minute: int = 60


@dataclass(frozen=True, slots=True)
class Addresses:
    """`agiris_address`: one address for all is all four fields alike. credit_notes falls back to purchases or sales."""

    purchases: str | None = None
    sales: str | None = None
    credit_notes: str | None = None
    statements: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A client's folder (*dossier*) with its connection's settings resolved.

    firm: key of the firm (file name without .yaml). recipients: envelope addresses, domain in lower case.
    origins: setting -> "file:line" it came from. kinds: one of `recipients` -> what arrives there; asked only for
    documents without a Factur-X (a bank statement, a scan): with one, the SIREN alone tells the role.
    """

    firm: str
    dossier: str
    name: str = ""
    siren: str | None = None
    siret: str | None = None
    share_with_firm: bool = True
    connection: str = ""
    transmit_documents: bool = True
    original_pdf: bool = False
    addresses: Addresses = Addresses()
    destination: str = "agiris"
    smarthost: str = "default"
    recipients: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Role] = field(default_factory=dict)
    link_name: str = ""

    @property
    def key(self) -> str:
        return f"{self.firm}/{self.dossier}"


@dataclass(frozen=True, slots=True)
class Firm:
    """One accounting firm. key: its file's name. operator: who gets the notices, or None. origins: as of a Client."""

    key: str
    name: str
    operator: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identify:
    """One step of `identify:`. by: recipient | header | siren; `header` names the field, lower case."""

    by: str
    header: str = ""


@dataclass(frozen=True, slots=True)
class Kinds:
    """How the kind of a document without a Factur-X is told, after `Client.kinds`; nothing is told by default.

    header: name (lower case) of a field that says purchase, sale or statement (achat, vente, relevé), or "".
    statement_names: file name patterns (`releve*.pdf`) of bank statements, compared without case and accents.
    """

    header: str = ""
    statement_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """All that a decision needs beside the message itself.

    recipients: patterns of `accept.recipients`, lower case ("*@export.relay.example").
    clients: by firm and dossier ("firm/dossier").
    """

    hostname: str
    recipients: tuple[str, ...]
    identify: tuple[Identify, ...] = (Identify("recipient"), Identify("siren"))
    check: Check = Check()
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    firms: Mapping[str, Firm] = field(default_factory=dict)
    clients: Mapping[str, Client] = field(default_factory=dict)
    return_path: str = ""
    kinds: Kinds = Kinds()

    def destination(self, name: str) -> Destination:
        return self.destinations.get(name) or _unset(name)


@cache
def _unset(name: str) -> Destination:
    return Destination(name=name)
