"""What the settings mean for a decision, as frozen values. Sizes are octets, durations seconds.

Declared here are the sections of relay.yaml and of the firms' files that `relay.routing` obeys."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar

from relay.inspection import Severity
from relay.model import Role
from relay.setting_parsers import InvalidValue, address, header_name
from relay.setting_types import (
    COMPUTED,
    Bool,
    Count,
    Duration,
    Email,
    HeaderName,
    Key,
    Meaning,
    MediaType,
    Name,
    Parsed,
    Section,
    Siren,
    Siret,
    Size,
    SmallCount,
    Text,
    one_of,
    only_text,
)


class Level(StrEnum):
    OFF = "off"
    STRUCTURE = "structure"
    FULL = "full"


class Policy(StrEnum):
    RELAY = "relay"
    HOLD = "hold"
    REFUSE = "refuse"


_RelayHoldRefuse = Annotated[Policy, one_of(*Policy)]
_RelayHold = Annotated[Policy, one_of(Policy.RELAY, Policy.HOLD)]
_HoldRelay = Annotated[Policy, one_of(Policy.HOLD, Policy.RELAY)]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Check(Section):
    """`check:` of relay.yaml.

    on_active_content: no part of the verdict that `on_invalid` is for.
    on_signed: relay it whole, hold or refuse it; a signed message is never cut.
    on_unidentified_party: what elimination cannot tell is held in any case.
    always_paired: so the only plain PDF beside the only Factur-X is its original even when its text proves nothing; not
    when its text says something else.
    """

    level: Annotated[
        Level,
        one_of(*Level),
        Meaning("`off`, `structure` (PDF, XMP, XSD), `full` (the business rules too)", "structure"),
    ] = Level.FULL
    french_rules: Annotated[
        str,
        one_of("off", "warning", "error"),
        Meaning(
            "`off`, `warning`, `error`: weight of the French rules (BR-FR); applied when the seller is French", "error"
        ),
    ] = "warning"
    on_invalid: Annotated[
        _RelayHoldRefuse, Meaning("the Factur-X breaks a rule: `relay`, `hold`, `refuse`", "hold")
    ] = Policy.RELAY
    on_missing: Annotated[_RelayHoldRefuse, Meaning("there is no Factur-X in the message", "hold")] = Policy.RELAY
    on_no_document: Annotated[
        _HoldRelay,
        Meaning(
            "there is no document in the message (a bounce, an absence notice, a bare link): `relay` or `hold`", "relay"
        ),
    ] = Policy.HOLD
    on_undetermined: Annotated[_RelayHoldRefuse, Meaning("the check could not be finished", "hold")] = Policy.RELAY
    on_wrong_client: Annotated[_RelayHoldRefuse, Meaning("neither party of the invoice is the client", "refuse")] = (
        Policy.HOLD
    )
    on_unidentified_party: Annotated[
        _RelayHold,
        Meaning(
            "the client bears no identifier in the invoice, the message came to the client's own address, and the "
            "other party is someone else: `relay` takes the client for the unidentified party. Where that does not "
            "follow the invoice is held, whatever is set here",
            "hold",
        ),
    ] = Policy.RELAY
    on_duplicate: Annotated[
        _RelayHoldRefuse,
        Meaning(
            "the same document was already sent to this address within a year, or the same invoice in another PDF: "
            "the same XML, or the same number, seller and year",
            "relay",
        ),
    ] = Policy.HOLD
    on_active_content: Annotated[
        _HoldRelay,
        Meaning("a PDF that leaves holds a script, a program or a form that acts by itself: `hold`, `relay`", "relay"),
    ] = Policy.HOLD
    on_signed: Annotated[
        _RelayHoldRefuse,
        Meaning("a signed message from which the original PDF would have to be cut", "relay"),
    ] = Policy.HOLD
    always_paired: Annotated[
        Bool,
        Meaning(
            "the platform always sends an original with its Factur-X: the only PDF beside it is its original, "
            "unless its text says otherwise",
            True,
        ),
    ] = False
    severities: Annotated[
        Mapping[str, Annotated[Severity, one_of(Severity.ERROR, Severity.WARNING, Severity.INFO)]],
        Meaning("weight of single rules: `error`, `warning`, `info`", {"BR-CO-15": "warning"}),
    ] = field(default_factory=lambda: {"PEPPOL-EN16931-R008": Severity.INFO})
    timeout: Annotated[Duration, Meaning("for one document; then it is undetermined", "20 s")] = 10.0
    workers: Annotated[
        SmallCount, Meaning("processes that read PDFs; left out: number of cores", 4, inherited=True)
    ] = field(default_factory=_cores)


def _from_header(value: str) -> str:
    return value if value == "keep" else address(value)


@dataclass(frozen=True, slots=True)
class Destination(Section):
    """`destinations.<name>`: what the receiving intake demands. attachment_types empty: any."""

    name: Annotated[str, COMPUTED] = "agiris"
    max_mail_size: Annotated[Size, Meaning("of the encoded message", "10 MiB")] = 20 * 1024 * 1024
    max_attachments: Annotated[Count, Meaning("in one message", 5)] = 10
    one_invoice_per_mail: Annotated[Bool, Meaning("several invoices leave as one message each", False)] = True
    to_header: Annotated[
        str,
        one_of("rewrite", "keep"),
        Meaning("`rewrite` (To is exactly the destination's address, no Cc) or `keep`", "keep"),
    ] = "rewrite"
    from_header: Annotated[
        str,
        Parsed(_from_header, {"type": "string"}),
        Meaning("`keep`, or an address the intake knows", "export@cabinet-durand.example"),
    ] = "keep"
    attachment_types: Annotated[
        tuple[MediaType, ...],
        Meaning("media types it takes; `[]`: any", ["application/pdf", "image/png"]),
    ] = ("application/pdf",)
    max_mails_per_minute: Annotated[Count, Meaning("how fast it is sent to", 30)] = 60


@dataclass(frozen=True, slots=True)
class Addresses(Section):
    """`agiris_address`: one address for all is all four fields alike. credit_notes falls back to purchases or sales."""

    purchases: Annotated[Email | None, Meaning("for purchases", "achats@agiris.example")] = None
    sales: Annotated[Email | None, Meaning("for sales", "ventes@agiris.example")] = None
    credit_notes: Annotated[
        Email | None,
        Meaning("for credit notes; left out: with purchases or sales", "avoirs@agiris.example"),
    ] = None
    statements: Annotated[Email | None, Meaning("for bank statements", "releves@agiris.example")] = None


class _OneOrByKind:
    """Annotation: one address for all kinds of documents, or a map of them."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        function = {"type": "no-info", "function": _addresses}
        return {"type": "function-wrap", "function": function, "schema": handler(source)}

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Any:
        return {"anyOf": [{"type": "string"}, handler(core)]}


def _addresses(value: object, by_kind: Any) -> Any:
    if isinstance(value, dict):
        if not {"purchases", "sales"} & value.keys() and not set(value) - Addresses.__dataclass_fields__.keys():
            what = '"{key}" names neither an address for purchases nor one for sales'
            raise InvalidValue(what, "add purchases: and sales:, or write one address for all")
        return by_kind(value)
    if isinstance(value, list):
        what = f'"{{key}}" takes one address, got a list of {len(value)}'
        raise InvalidValue(what, "write one address, or purchases:, sales:, credit_notes:, statements:")
    one = address(only_text(value))
    return Addresses(one, one, one, one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export(Section):
    """Settings of an export that are inherited: client over connection over `defaults` of relay.yaml."""

    transmit_documents: Annotated[Bool, Meaning("first button; `false`: nothing is sent for this connection", True)] = (
        True
    )
    original_pdf: Annotated[
        Bool,
        Meaning(
            "second button; `true`: the original PDF goes along, `false`: it is removed. The Factur-X always goes", True
        ),
    ] = False
    destination: Annotated[Name, Meaning("a name under `destinations` of relay.yaml", "agiris")] = "agiris"
    smarthost: Annotated[Name, Meaning("a name under `smarthosts` of relay.yaml", "default")] = "default"


@dataclass(frozen=True, slots=True)
class Origins(Mapping[str, str]):
    """Setting -> "file:line" where it stands; packed, for a daemon holds 100,000 of them.

    file, line: of the client. own: "key:lines below `line`" of its own settings, blanks between them. inherited:
    "key:file:line" of the others, NUL between them, which no file name holds.
    """

    file: str = ""
    line: int = 0
    own: str = ""
    inherited: str = ""

    def __getitem__(self, key: str) -> str:
        return self._unpacked()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._unpacked())

    def __len__(self) -> int:
        return len(self._unpacked())

    def _unpacked(self) -> dict[str, str]:
        places = dict(each.split(":", 1) for each in self.inherited.split("\0") if each)
        for key, below in (each.split(":") for each in self.own.split()):
            places[key] = f"{self.file}:{self.line + int(below)}"
        return places


@dataclass(frozen=True, slots=True)
class Client(Export):
    """`clients[]` of a firm: a client (*dossier*) with the settings of its connection and of the host resolved.

    firm: key of the firm (file name without .yaml). recipients: envelope addresses, domain in lower case. kinds: asked
    only for documents without a Factur-X (a bank statement, a scan): with one, the SIREN alone determines the role.
    """

    inherited_meaning: ClassVar[Meaning | None] = Meaning("overrides the connection's", inherited=True)

    firm: Annotated[str, COMPUTED]
    dossier: Annotated[Name, Meaning("number of the client; required, in quotes", "00012345")]
    name: Annotated[Text, Meaning("as people read it", "Boulangerie Martin")] = ""
    siren: Annotated[
        Siren | None, Meaning("distinguishes purchase from sale, and another client's invoice", "732829320")
    ] = None
    siret: Annotated[Siret | None, Meaning("distinguishes establishments of one company", "73282932000074")] = None
    share_with_firm: Annotated[
        Bool, Meaning("Partager les documents avec le cabinet comptable: master switch of the client", True)
    ] = True
    connection: Annotated[
        Name,
        Meaning(
            "sélectionner la connexion: a key under `connections`; its settings are inherited, what it does not say "
            "from `defaults` of relay.yaml",
            "agiris",
            required=True,
        ),
    ] = ""
    addresses: Annotated[
        Addresses,
        _OneOrByKind(),
        Key("agiris_address"),
        Meaning(
            "compléter votre adresse agiris: one address for all, or one for each kind, as below",
            "00012345@agiris.example",
            required=True,
        ),
    ] = Addresses()
    recipients: Annotated[
        tuple[Email, ...],
        Meaning("where the platform sends this client's documents", ["martin@export.relay.example"]),
    ] = ()
    kinds: Annotated[
        Mapping[Email, Annotated[Role, one_of(Role.PURCHASE, Role.SALE, Role.STATEMENT)]],
        Meaning("kind by recipient: `purchase`, `sale`, `statement`", {"martin@export.relay.example": "purchase"}),
    ] = field(default_factory=dict)
    link_name: Annotated[Text, Meaning("overrides the connection's", "Agiris – Martin", inherited=True)] = ""
    origins: Annotated[Origins, COMPUTED] = Origins()

    @property
    def key(self) -> str:
        return f"{self.firm}/{self.dossier}"


@dataclass(frozen=True, slots=True)
class Firm:
    """One accounting firm. key: its file's name. operator: who gets the notices, or None.

    origins: setting -> "file:line" where it stands.
    """

    key: str
    name: str
    operator: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identify:
    """One step of `identify:`. by: recipient | header | siren; `header` names the field, lower case."""

    by: str
    header: str = ""


class IdentifyStep(Parsed):
    """Annotation: `recipient`, `siren` or `{header: X-Dossier}`."""

    def __init__(self) -> None:
        header = {"type": "object", "properties": {"header": {"type": "string", "description": _HEADER_MEANING}}}
        closed = {"required": ["header"], "additionalProperties": False}
        super().__init__(_step, {"anyOf": [{"enum": ["recipient", "siren"]}, header | closed]}, _written_step)

    def parse(self, value: object) -> Any:
        return _step(value)


_HEADER_MEANING = "a header field that names the dossier"


def _step(value: object) -> Identify:
    if value in ("recipient", "siren"):
        return Identify(str(value))
    if isinstance(value, dict) and set(value) == {"header"}:
        return Identify("header", header_name(only_text(value["header"])))
    what = f'"identify" knows no way "{value}"' if isinstance(value, str) else "a way to identify is not written so"
    raise InvalidValue(what, "use recipient, siren or {header: X-Dossier}")


def _written_step(step: Identify) -> object:
    return {"header": step.header} if step.header else step.by


@dataclass(frozen=True, slots=True)
class Kinds(Section):
    """`kinds:` of relay.yaml: what a document without a Factur-X is, after `Client.kinds`; nothing says it by default.

    header: name (lower case) of a field that says purchase, sale or statement (achat, vente, relevé), or "".
    statement_names: file name patterns (`releve*.pdf`) of bank statements, compared without case and accents.
    """

    header: Annotated[HeaderName, Meaning("a header field that says `purchase`, `sale` or `statement`", "X-Kind")] = ""
    statement_names: Annotated[tuple[Text, ...], Meaning("file names of bank statements", ["releve*.pdf"])] = ()


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
