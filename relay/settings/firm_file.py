"""One firm's file: its keys, and how it is read. Head, connections and clients are read one by one, so that an error in
one does not hide the next; each client is resolved against its connection and the defaults of relay.yaml."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from relay import __version__
from relay.routing.policy import Client, Export, Firm, Origins
from relay.setting_parsers import InvalidValue
from relay.setting_types import Email, Meaning, Name, NonEmpty, Parsed, Section, Text
from relay.settings import yaml_file, yaml_tree
from relay.settings.check_clients import ClientCheck
from relay.settings.issues import ConfigIssue, ConfigIssues
from relay.settings.settings import Defaults
from relay.settings.uniqueness import UniqueKey, UniquenessCheck
from relay.settings.validate import File
from relay.settings.yaml_tree import Node, find, line_of


def _type(value: str) -> str:
    if value == "email":
        return value
    raise InvalidValue(f'type "{value}" is not served by this relay', 'write "email" (E-mail destinataire)')


@dataclass(frozen=True, slots=True)
class Connection(Export):
    """`connections.<key>`: Paramètres d'export, one connection shared by many clients."""

    link_name: Annotated[Text, Meaning("Nom du lien", "Agiris – envoi par e-mail")] = ""
    type: Annotated[
        str,
        Parsed(_type, {"enum": ["email"]}),
        Meaning("E-mail destinataire: the only type this relay serves", "email"),
    ] = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmHead(Section):
    """A firm's file with its connections and clients still unread."""

    firm: Annotated[Text, Meaning("name of the firm, as people read it; required", "Cabinet Durand")]
    operator: Annotated[
        Email | None,
        Meaning(
            "who gets the notices (held, failed, late) and the digest; left out: as `defaults` of relay.yaml says, "
            "else nobody",
            "exploitation@cabinet-durand.example",
        ),
    ] = None
    connections: Annotated[Mapping[str, Any], NonEmpty()]
    clients: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmFile(FirmHead):
    """All keys of a firm's file."""

    connections: Annotated[
        Mapping[Name, Connection],
        NonEmpty(),
        Meaning("Paramètres d'export → Nouvelle configuration du logiciel de comptabilité; shared by many clients"),
    ]
    clients: Annotated[list[Client], Meaning("dossiers clients")]


class _ClientKeys:
    """The keys of a client that its file gives, by field of Client; what it does not give is inherited."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return Client.given_schema(handler)


class Layer(NamedTuple):
    """One place that may give an inherited setting. place: its file's path from the configuration's folder."""

    place: str
    settings: Defaults | Connection
    node: Node | None

    def gives(self, key: str) -> bool:
        return self.node is not None and find(self.node, key) is not None

    def origin(self, key: str) -> str:
        """`file:line` of `key`, which this layer gives."""
        assert self.node is not None
        return f"{self.place}:{line_of(self.node, key)}"


INHERITED = ("link_name", "transmit_documents", "original_pdf", "destination", "smarthost", "share_with_firm")


class Inherited:
    """What the clients of one connection inherit. layers: the nearest to the client first."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.values: dict[str, Any] = {}
        self._origins: dict[str, str] = {}
        self._packed: dict[tuple[str, ...], str] = {}
        for layer in layers:
            for key in INHERITED:
                if key not in self.values and layer.gives(key):
                    self.values[key] = getattr(layer.settings, key)
                    self._origins[key] = layer.origin(key)

    def origins(self, own: Iterable[str]) -> str:
        """Where the settings that a client with the keys `own` inherits stand, as in Origins."""
        keys = tuple(own)
        packed = self._packed.get(keys)
        if packed is None:
            places = (f"{key}:{place}" for key, place in self._origins.items() if key not in keys)
            packed = self._packed[keys] = "\0".join(places)
        return packed


@dataclass(slots=True)
class FirmParts:
    """What is sound in one firm's file, with its nodes. place: its path from the configuration's folder.

    origins: of `name` and, if it is given, of `operator`.
    """

    key: str
    place: str
    name: str
    operator: str | None
    connections: dict[str, tuple[Connection, Node]] = field(default_factory=dict)
    clients: list[tuple[Client, yaml_tree.Mapping]] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)


def read_firm(file: File, key: str, place: str, top: Layer | None) -> FirmParts:
    """What is sound in the file. top: `defaults` of relay.yaml; None when relay.yaml is faulty."""
    file.report_duplicate_keys()
    head = file.read(FirmHead, file.root)
    parts = FirmParts(key, place, head.firm if head else "", head.operator if head else None)
    for name, written in (("name", "firm"), ("operator", "operator")):
        if file.says(written):
            parts.origins[name] = f"{place}:{line_of(file.root, written)}"
    _connections(file, parts)
    _clients(file, parts, top)
    return parts


def _connections(file: File, parts: FirmParts) -> None:
    node = find(file.root, "connections")
    for name, entry in node.entries.items() if isinstance(node, yaml_tree.Mapping) else ():
        connection = file.read(Connection, entry.node, ("connections", name))
        if connection is not None:
            parts.connections[name] = (connection, entry.node)


def _clients(file: File, parts: FirmParts, top: Layer | None) -> None:
    node = find(file.root, "clients")
    if not isinstance(node, yaml_tree.Sequence):
        return
    if not node.items:
        file.warning(file.root.entries["clients"].at, "the firm has no client", "add its clients")
    above = [] if top is None else [top]
    by_connection = {
        name: Inherited([Layer(parts.place, connection, below), *above])
        for name, (connection, below) in parts.connections.items()
    }
    without = Inherited(above)
    for index, item in enumerate(node.items):
        given: Any = file.read(_ClientKeys, item, ("clients", index))
        if given is not None:
            assert isinstance(item, yaml_tree.Mapping)
            inherited = by_connection.get(given["connection"], without)
            parts.clients.append((_client(parts, given, item, inherited), item))


def _client(parts: FirmParts, given: dict[str, Any], node: yaml_tree.Mapping, inherited: Inherited) -> Client:
    """One client with what its connection and the host's defaults say; what it says itself goes before."""
    line = node.at.line
    places = []
    for key, entry in node.entries.items():
        if key == "agiris_address":
            places.append(f"addresses:{entry.at.line - line}")
            if isinstance(entry.node, yaml_tree.Mapping):
                kinds = entry.node.entries.items()
                places += [f"addresses.{kind}:{below.at.line - line}" for kind, below in kinds]
        else:
            places.append(f"{key}:{entry.at.line - line}")
    origins = Origins(parts.place, line, " ".join(places), inherited.origins(node.entries))
    return Client(parts.key, origins=origins, **(inherited.values | given))


def firm_of(parts: FirmParts, top: Layer) -> Firm:
    """The firm itself. top: `defaults` of relay.yaml."""
    if parts.operator is not None or not top.gives("operator"):
        return Firm(parts.key, parts.name, parts.operator, parts.origins)
    assert isinstance(top.settings, Defaults)
    origins = parts.origins | {"operator": top.origin("operator")}
    return Firm(parts.key, parts.name, top.settings.operator, origins)


@dataclass(frozen=True, slots=True)
class FirmKept:
    """What a sound file of a firm says. place: its path from the configuration's folder.

    digest: of all that it was made from: its octets, those of relay.yaml, and this release of the relay.
    warnings: those that the file has by itself. claims: to be compared with those of the other firms.
    """

    place: str
    digest: str
    firm: Firm
    warnings: tuple[ConfigIssue, ...]
    claims: tuple[UniqueKey, ...]


@dataclass(frozen=True, slots=True)
class FirmRead:
    """clients: in the order of the file; None: the file is as it was, and so are its clients."""

    kept: FirmKept
    clients: tuple[Client, ...] | None


class FirmReader:
    """Reads the files of firms, in their order, and gives what they claim to `uniqueness`.

    relay_octets: of relay.yaml. top: its `defaults`; None when relay.yaml is faulty: then no firm is made.
    """

    def __init__(
        self, directory: Path, relay_octets: bytes, top: Layer | None, clients: ClientCheck, uniqueness: UniquenessCheck
    ) -> None:
        self._directory, self._top, self._clients, self._uniqueness = directory, top, clients, uniqueness
        self._base = hashlib.sha256(f"{__version__}\0{directory}\0".encode())
        self._base.update(hashlib.sha256(relay_octets).digest())

    def read(self, key: str, place: str, before: FirmKept | None, issues: ConfigIssues) -> FirmRead | None:
        """The firm of the file at `place`, or None with its errors in `issues`. before: what was read there earlier."""
        name = str(self._directory / place)
        octets = yaml_file.octets(self._directory / place, name, issues)
        if octets is None:
            return None
        digest = self._digest(octets)
        if before is not None and before.digest == digest:
            issues.take(before.warnings)
            self._uniqueness.take(name, before.claims)
            return FirmRead(before, None)
        own = ConfigIssues()
        firm = self._parse(key, place, digest, octets, own)
        issues.merge(own)
        return firm

    def _parse(self, key: str, place: str, digest: str, octets: bytes, own: ConfigIssues) -> FirmRead | None:
        file = parsed(octets, str(self._directory / place), own)
        if file is None:
            return None
        parts = read_firm(file, key, place, self._top)
        claims = tuple(self._clients.check(file, parts))
        self._uniqueness.take(file.file, claims)
        if own.errors or self._top is None:
            return None
        digest = "" if own.dropped else digest  # what is only counted cannot be reported again: never the same
        kept = FirmKept(place, digest, firm_of(parts, self._top), own.found, claims)
        return FirmRead(kept, tuple(client for client, _ in parts.clients))

    def _digest(self, octets: bytes) -> str:
        digest = self._base.copy()
        digest.update(octets)
        return digest.hexdigest()


def parsed(octets: bytes, name: str, issues: ConfigIssues) -> File | None:
    """The tree of a file's octets, or None with its errors added to `issues`."""
    content = yaml_file.decode(octets, name, issues)
    root = yaml_tree.parse(content, name, issues) if content is not None else None
    return None if root is None else File(name, root, issues)
