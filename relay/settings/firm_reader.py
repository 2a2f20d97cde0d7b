"""One firm's file to what the whole configuration needs of it; read again only when it, or relay.yaml, has changed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from relay import __version__
from relay.export.terms import Client, Firm
from relay.settings import nodes, text
from relay.settings.check_clients import Clients
from relay.settings.claims import Claim
from relay.settings.crossing import Crossing
from relay.settings.faults import Fault, Faults
from relay.settings.firm import read_firm
from relay.settings.inherit import Layer
from relay.settings.resolve import client, head
from relay.settings.validate import File


@dataclass(frozen=True, slots=True)
class FirmKept:
    """What a sound file of a firm said. place: its path from the configuration's folder.

    digest: of all that it was made from: its octets, those of relay.yaml, and this release of the relay.
    warnings: those that the file has by itself. claims: to be compared with those of the other firms.
    """

    place: str
    digest: str
    firm: Firm
    warnings: tuple[Fault, ...]
    claims: tuple[Claim, ...]


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
        self, directory: Path, relay_octets: bytes, top: Layer | None, clients: Clients, crossing: Crossing
    ) -> None:
        self._directory, self._top, self._clients, self._crossing = directory, top, clients, crossing
        self._base = hashlib.sha256(f"{__version__}\0{directory}\0".encode())
        self._base.update(hashlib.sha256(relay_octets).digest())

    def read(self, key: str, place: str, before: FirmKept | None, faults: Faults) -> FirmRead | None:
        """The firm of the file at `place`, or None with the faults told. before: what was read there earlier."""
        name = str(self._directory / place)
        octets = text.octets(self._directory / place, name, faults)
        if octets is None:
            return None
        digest = self._digest(octets)
        if before is not None and before.digest == digest:
            faults.take(before.warnings)
            self._crossing.take(name, before.claims)
            return FirmRead(before, None)
        own = Faults()
        found = self._parse(key, place, digest, octets, own)
        faults.merge(own)
        return found

    def _parse(self, key: str, place: str, digest: str, octets: bytes, own: Faults) -> FirmRead | None:
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


def parsed(octets: bytes, name: str, faults: Faults) -> File | None:
    """The tree of a file's octets, or None with the faults told."""
    content = text.decode(octets, name, faults)
    root = nodes.parse(content, name, faults) if content is not None else None
    return None if root is None else File(name, root, faults)
