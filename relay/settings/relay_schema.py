"""The keys of relay.yaml, their types and defaults."""

import os
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from relay.inspection import Severity
from relay.settings.firm_schema import DefaultsYaml
from relay.settings.parsers import Endpoint, InvalidValue, address, integer
from relay.settings.types import (
    Bool,
    Count,
    Duration,
    Email,
    Exchanger,
    Factor,
    Few,
    Host,
    Hostname,
    HostPort,
    HttpEndpoint,
    Level,
    Name,
    Network,
    Path_,
    Pattern,
    Port,
    Read,
    Size,
    SpoolUrl,
    Strict,
    Text,
    one_of,
    only_text,
    refusal,
)

MiB = 1024 * 1024
Tls = Annotated[str, one_of("none", "starttls", "required", "implicit")]
Rate = Annotated[int, Read(lambda value: integer(value, 0, 1_000_000), {"type": "integer", "minimum": 0})]
Disposition = Annotated[str, one_of("relay", "hold", "refuse")]


class ListenYaml(Strict):
    """One SMTP door. tls: starttls is offered, required is demanded before MAIL, implicit from the first octet."""

    address: HostPort
    tls: Tls = "none"
    certificate: Path_ | None = None
    private_key: Path_ | None = None
    proxy_protocol: Bool = False
    allow_networks: list[Network] = Field(default=["127.0.0.0/8", "::1/128"])
    users_file: Path_ | None = None
    proxy_networks: list[Network] | None = None


class AcceptYaml(Strict):
    recipients: list[Pattern] = Field(default=["*@export.relay.example"], min_length=1)
    max_mail_size: Size = 50 * MiB
    max_recipients: Count = 100
    max_connections: Count = 500
    max_connections_per_host: Count = 50
    idle_timeout: Duration = 300.0
    session_timeout: Duration = 3600.0
    max_mails_per_minute_per_host: Rate = 0
    bare_lf: Annotated[str, one_of("refuse", "repair")] = "refuse"
    backlog: Count = 1024


def _field_name(value: str) -> str:
    """Name of a header field (RFC 5322 §2.2), lower case."""
    if value.isascii() and value.isprintable() and value and not set(value) & {":", " "}:
        return value.lower()
    raise InvalidValue(f'"{value}" is not the name of a header field', "write for example X-Dossier, without the colon")


class HeaderYaml(Strict):
    header: Annotated[str, Read(_field_name)]


def _way(value: Any) -> Any:
    if value in ("recipient", "siren"):
        return value
    if isinstance(value, dict) and set(value) == {"header"}:
        try:
            return HeaderYaml.model_construct(header=_field_name(only_text(value["header"])))
        except InvalidValue as bad:
            raise refusal(bad) from None
    what = f'"identify" knows no way "{value}"' if isinstance(value, str) else "a way to identify is not written so"
    raise refusal(InvalidValue(what, "use recipient, siren or {header: X-Dossier}"))


Way = Annotated[str | HeaderYaml, BeforeValidator(_way)]


class KindsYaml(Strict):
    """How the kind of a document without a Factur-X is told (purchase, sale, statement)."""

    header: Annotated[str, Read(_field_name)] = ""
    statement_names: list[Text] = Field(default=[])


class CheckYaml(Strict):
    level: Annotated[str, one_of("off", "structure", "full")] = "full"
    french_rules: Annotated[str, one_of("off", "warning", "error")] = "warning"
    on_invalid: Disposition = "relay"
    on_missing: Disposition = "relay"
    on_no_document: Annotated[str, one_of("hold", "relay")] = "hold"
    on_undetermined: Disposition = "relay"
    on_wrong_client: Disposition = "hold"
    on_unidentified_party: Annotated[str, one_of("relay", "hold")] = "relay"
    on_duplicate: Disposition = "hold"
    on_active_content: Annotated[str, one_of("hold", "relay")] = "hold"
    on_signed: Disposition = "hold"
    always_paired: Bool = False
    severities: dict[str, Level] = Field(default={"PEPPOL-EN16931-R008": Severity.INFO})
    timeout: Duration = 10.0
    workers: Few = Field(default_factory=lambda: len(os.sched_getaffinity(0)))


def _from_header(value: str) -> str:
    return value if value == "keep" else address(value)


def _media_type(value: str) -> str:
    kind, slash, subtype = value.lower().partition("/")
    if slash and kind and subtype and value.isascii() and not set(value) & set(" ;,"):
        return value.lower()
    raise InvalidValue(f'"{value}" is not a media type', "write for example application/pdf")


class DestinationYaml(Strict):
    max_mail_size: Size = 20 * MiB
    max_attachments: Count = 10
    one_invoice_per_mail: Bool = True
    to_header: Annotated[str, one_of("rewrite", "keep")] = "rewrite"
    from_header: Annotated[str, Read(_from_header, {"type": "string", "examples": ["keep"]})] = "keep"
    attachment_types: list[Annotated[str, Read(_media_type)]] = Field(default=["application/pdf"])
    max_mails_per_minute: Count = 60


class SmarthostYaml(Strict):
    """tls: starttls if it is offered, required: no message without it, implicit from the first octet."""

    host: Host
    port: Port = 587
    tls: Tls = "required"
    username: Text | None = None
    password_file: Path_ | None = None
    token_file: Path_ | None = None
    connections: Few = 4
    mx: Bool = False
    mx_names: list[Exchanger] = Field(default=[])


class DkimYaml(Strict):
    domain: Hostname
    selector: Name
    private_key: Path_


class RetryYaml(Strict):
    first: Duration = 60.0
    factor: Factor = 2.0
    ceiling: Duration = 3600.0
    warn_after: Duration = 4 * 3600.0
    give_up: Duration = 5 * 86400.0
    attempts: Few = 5


class LogYaml(Strict):
    level: Annotated[str, one_of("debug", "info", "warning", "error")] = "info"
    format: Annotated[str, one_of("auto", "json", "console")] = "auto"


def _default_listen() -> list[ListenYaml]:
    return [ListenYaml.model_construct(address=Endpoint(host, 2525)) for host in ("::1", "127.0.0.1")]


class RelayYaml(Strict):
    """relay.yaml."""

    hostname: Hostname = "relay.cabinet.example"
    listen: Annotated[list[ListenYaml], Field(min_length=1, default_factory=_default_listen)]
    accept: AcceptYaml = AcceptYaml.model_construct()
    identify: list[Way] = Field(
        default=["recipient", HeaderYaml.model_construct(header="x-dossier"), "siren"], min_length=1
    )
    kinds: KindsYaml = KindsYaml.model_construct()
    check: CheckYaml = Field(default_factory=CheckYaml.model_construct)
    defaults: DefaultsYaml = DefaultsYaml.model_construct()
    destinations: dict[Name, DestinationYaml] = Field(default={})
    smarthosts: Annotated[dict[Name, SmarthostYaml], Field(min_length=1)]
    return_path: Email = "bounces@export.relay.example"
    dkim: DkimYaml | None = None
    retry: RetryYaml = RetryYaml.model_construct()
    spool: SpoolUrl = "sqlite:///var/lib/agiris-relay/spool.db"
    keep_delivered: Duration = 30 * 86400.0
    http: HttpEndpoint = Endpoint("127.0.0.1", 9525)
    log: LogYaml = LogYaml.model_construct()
    language: Annotated[str, one_of("fr", "en")] = "fr"
    digest: Annotated[str, one_of("off", "daily", "weekly")] = "off"
