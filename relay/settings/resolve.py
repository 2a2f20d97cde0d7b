"""Models to Settings: defaults filled in, what is inherited resolved, the origin of each value noted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import BaseModel

from relay.model import Retry, Role
from relay.routing.policy import Addresses, Check, Client, Destination, Firm, Identify, Kinds, Level, Policy, Terms
from relay.settings.firm_schema import ClientYaml, ConnectionYaml
from relay.settings.relay_schema import CheckYaml, DkimYaml, HeaderYaml, ListenYaml, RelayYaml, SmarthostYaml
from relay.settings.settings import Accept, Dkim, Endpoint, Listener, Log, Settings, Smarthost, resolve_path
from relay.settings.yaml_tree import Mapping as Tree
from relay.settings.yaml_tree import Node, find, line_of

INHERITED = ("link_name", "transmit_documents", "original_pdf", "destination", "smarthost", "share_with_firm")


class Layer(NamedTuple):
    """One place that may say a setting. place: its file's path from the configuration's folder."""

    place: str
    model: BaseModel
    node: Node | None

    def says(self, key: str) -> bool:
        return key in self.model.model_fields_set

    def value(self, key: str) -> Any:
        return getattr(self.model, key)

    def origin(self, key: str) -> str:
        """`file:line` of `key`, which this layer says."""
        assert self.node is not None
        return f"{self.place}:{line_of(self.node, key)}"


def inherited(key: str, layers: Iterable[Layer]) -> tuple[Any, str | None]:
    """The value of the first of `layers` that says `key`, and its origin; None: nobody says it."""
    for layer in layers:
        if layer.says(key):
            return layer.value(key), layer.origin(key)
    return None, None


@dataclass(slots=True)
class FirmParts:
    """What is sound in one firm's file, with its nodes. place: its path from the configuration's folder.

    origins: of `name` and, if it is said, of `operator`.
    """

    key: str
    place: str
    name: str
    operator: str | None
    connections: dict[str, tuple[ConnectionYaml, Node]]
    clients: list[tuple[ClientYaml, Node]]
    origins: dict[str, str] = field(default_factory=dict)


def settings(directory: Path, relay: RelayYaml, firms: Iterable[Firm], clients: Iterable[Client]) -> Settings:
    """The Settings of files that have no fault."""
    return Settings(
        terms=_terms(relay, firms, clients),
        listen=tuple(_listener(directory, each) for each in relay.listen),
        accept=Accept(**relay.accept.model_dump(exclude={"recipients"})),
        smarthosts={name: _smarthost(directory, name, each) for name, each in relay.smarthosts.items()},
        retry=Retry(**relay.retry.model_dump()),
        spool=spool_of(directory, relay.spool),
        keep_delivered=relay.keep_delivered,
        http=Endpoint(*relay.http) if relay.http else None,
        log=Log(**relay.log.model_dump()),
        language=relay.language,
        digest=relay.digest,
        dkim=_dkim(directory, relay.dkim),
        operator=relay.defaults.operator,
    )


def _dkim(directory: Path, dkim: DkimYaml | None) -> Dkim | None:
    return None if dkim is None else Dkim(dkim.domain, dkim.selector, resolve_path(directory, dkim.private_key))


def _terms(relay: RelayYaml, firms: Iterable[Firm], clients: Iterable[Client]) -> Terms:
    given = {"agiris": Destination()} | {
        name: Destination(name=name, **{**each.model_dump(), "attachment_types": tuple(each.attachment_types)})
        for name, each in relay.destinations.items()
    }
    return Terms(
        hostname=relay.hostname,
        recipients=tuple(relay.accept.recipients),
        identify=tuple(
            Identify("header", way.header) if isinstance(way, HeaderYaml) else Identify(way) for way in relay.identify
        ),
        check=_check(relay.check),
        destinations=given,
        firms={each.key: each for each in firms},
        clients={each.key: each for each in clients},
        return_path=relay.return_path,
        kinds=Kinds(relay.kinds.header, tuple(relay.kinds.statement_names)),
    )


def _check(check: CheckYaml) -> Check:
    policies = [name for name in CheckYaml.model_fields if name.startswith("on_")]
    return Check(
        level=Level(check.level),
        french_rules=check.french_rules,
        severities=dict(check.severities),
        timeout=check.timeout,
        workers=check.workers,
        always_paired=check.always_paired,
        **cast(Any, {name: Policy(getattr(check, name)) for name in policies}),
    )


def head(firm: FirmParts, top: Layer) -> Firm:
    """The firm itself. top: `defaults` of relay.yaml."""
    if firm.operator is not None or not top.says("operator"):
        return Firm(firm.key, firm.name, firm.operator, firm.origins)
    return Firm(firm.key, firm.name, top.value("operator"), firm.origins | {"operator": top.origin("operator")})


def client(firm: FirmParts, model: ClientYaml, node: Node, top: Layer) -> Client:
    """One client with what its connection and the host's defaults say; what it says itself goes before."""
    connection, connection_node = firm.connections[model.connection]
    origins: dict[str, str] = {}
    for key in model.model_fields_set - {"agiris_address"}:
        origins[key] = f"{firm.place}:{line_of(node, key)}"
    origins["addresses"] = f"{firm.place}:{line_of(node, 'agiris_address')}"
    if isinstance(by_kind := find(node, "agiris_address"), Tree):
        for kind in by_kind.entries:
            origins[f"addresses.{kind}"] = f"{firm.place}:{line_of(by_kind, kind)}"
    layers = (Layer(firm.place, model, node), Layer(firm.place, connection, connection_node), top)
    values = {}
    for key in INHERITED:
        value, origin = inherited(key, layers)
        if origin is not None:
            values[key], origins[key] = value, origin
    to = model.agiris_address
    return Client(
        firm=firm.key,
        dossier=model.dossier,
        name=model.name,
        siren=model.siren,
        siret=model.siret,
        connection=model.connection,
        addresses=Addresses(to.purchases, to.sales, to.credit_notes, to.statements),
        recipients=tuple(model.recipients),
        origins=origins,
        kinds={address: Role(role) for address, role in model.kinds.items()},
        **values,
    )


def _listener(directory: Path, listen: ListenYaml) -> Listener:
    return Listener(
        host=listen.address.host,
        port=listen.address.port,
        tls=listen.tls,
        certificate=_file(directory, listen.certificate),
        private_key=_file(directory, listen.private_key),
        proxy_protocol=listen.proxy_protocol,
        allow_networks=tuple(listen.allow_networks),
        users_file=_file(directory, listen.users_file),
        proxy_networks=None if listen.proxy_networks is None else tuple(listen.proxy_networks),
    )


def _smarthost(directory: Path, name: str, model: SmarthostYaml) -> Smarthost:
    values: Mapping[str, object] = model.model_dump()
    files = {key: _file(directory, getattr(model, key)) for key in ("password_file", "token_file")}
    return Smarthost(name=name, **{**values, **files, "mx_names": tuple(model.mx_names)})  # type: ignore[arg-type]


def _file(directory: Path, name: str | None) -> str | None:
    return None if name is None else resolve_path(directory, name)


def spool_of(directory: Path, url: str) -> str:
    """`url` as relay.yaml in `directory` means it: with an absolute path."""
    path = url.removeprefix("sqlite:")
    return url if path.startswith("///") else f"sqlite://{(directory / path).absolute()}"
