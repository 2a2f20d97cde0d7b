"""One firm's file: head, connections and clients read one by one, so that a fault in one does not hide the next."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from relay import __version__
from relay.routing.policy import Client, Firm
from relay.settings import yaml_file, yaml_tree
from relay.settings.check_clients import Clients
from relay.settings.firm_schema import ClientYaml, ConnectionYaml, FirmHead
from relay.settings.issues import ConfigIssue, ConfigIssues
from relay.settings.resolve import FirmParts, Layer, client, head
from relay.settings.uniqueness import UniqueKey, UniquenessCheck
from relay.settings.validate import File
from relay.settings.yaml_tree import Mapping, Sequence, find, line_of, plain


def read_firm(file: File, key: str, place: str) -> FirmParts:
    """What is sound in the file."""
    data = plain(file.root)
    file.tell_twice()
    head = file.read(FirmHead, file.root, data)
    parts = FirmParts(key, place, head.firm if head else "", head.operator if head else None, {}, [])
    for name, said in (("name", "firm"), ("operator", "operator")):
        if find(file.root, said) is not None:
            parts.origins[name] = f"{place}:{line_of(file.root, said)}"
    _connections(file, parts, data)
    _clients(file, parts, data)
    return parts


def _connections(file: File, parts: FirmParts, data: dict[str, object]) -> None:
    node, values = find(file.root, "connections"), data.get("connections")
    if not isinstance(node, Mapping) or not isinstance(values, dict):
        return
    for name, entry in node.entries.items():
        model = file.read(ConnectionYaml, entry.node, values[name], ("connections", name))
        if model is not None:
            parts.connections[name] = (model, entry.node)


def _clients(file: File, parts: FirmParts, data: dict[str, object]) -> None:
    node, values = find(file.root, "clients"), data.get("clients")
    if not isinstance(node, Sequence) or not isinstance(values, list):
        return
    if not node.items:
        file.warning(file.root.entries["clients"].at, "the firm has no client", "add its clients")
    for index, item in enumerate(node.items):
        model = file.read(ClientYaml, item, values[index], ("clients", index))
        if model is not None:
            parts.clients.append((model, item))


@dataclass(frozen=True, slots=True)
class FirmKept:
    """What a sound file of a firm said. place: its path from the configuration's folder.

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
    """Reads the files of firms, in their order, and gives what they claim to `crossing`.

    relay_octets: of relay.yaml. top: its `defaults`; None when relay.yaml is faulty: then no firm is made.
    """

    def __init__(
        self, directory: Path, relay_octets: bytes, top: Layer | None, clients: Clients, crossing: UniquenessCheck
    ) -> None:
        self._directory, self._top, self._clients, self._crossing = directory, top, clients, crossing
        self._base = hashlib.sha256(f"{__version__}\0{directory}\0".encode())
        self._base.update(hashlib.sha256(relay_octets).digest())

    def read(self, key: str, place: str, before: FirmKept | None, faults: ConfigIssues) -> FirmRead | None:
        """The firm of the file at `place`, or None with the faults told. before: what was read there earlier."""
        name = str(self._directory / place)
        octets = yaml_file.octets(self._directory / place, name, faults)
        if octets is None:
            return None
        digest = self._digest(octets)
        if before is not None and before.digest == digest:
            faults.take(before.warnings)
            self._crossing.take(name, before.claims)
            return FirmRead(before, None)
        own = ConfigIssues()
        found = self._parse(key, place, digest, octets, own)
        faults.merge(own)
        return found

    def _parse(self, key: str, place: str, digest: str, octets: bytes, own: ConfigIssues) -> FirmRead | None:
        file = parsed(octets, str(self._directory / place), own)
        if file is None:
            return None
        parts = read_firm(file, key, place)
        claims = tuple(self._clients.check(file, parts))
        self._crossing.take(file.file, claims)
        if own.errors or self._top is None:
            return None
        digest = "" if own.dropped else digest  # what is only counted cannot be told again: never the same
        kept = FirmKept(place, digest, head(parts, self._top), own.found, claims)
        return FirmRead(kept, tuple(client(parts, model, node, self._top) for model, node in parts.clients))

    def _digest(self, octets: bytes) -> str:
        digest = self._base.copy()
        digest.update(octets)
        return digest.hexdigest()


def parsed(octets: bytes, name: str, faults: ConfigIssues) -> File | None:
    """The tree of a file's octets, or None with the faults told."""
    content = yaml_file.decode(octets, name, faults)
    root = yaml_tree.parse(content, name, faults) if content is not None else None
    return None if root is None else File(name, root, faults)
