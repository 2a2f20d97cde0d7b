"""The firms against relay.yaml and against each other: nothing may reach the wrong client, nothing may loop."""

import re
from dataclasses import dataclass, field

from relay.settings.check_relay import matcher
from relay.settings.faults import Position, did_you_mean
from relay.settings.firm_schema import ClientYaml
from relay.settings.nodes import Mapping, Node, find, nearest
from relay.settings.resolve import FirmParts
from relay.settings.scalars import fold, luhn
from relay.settings.schema import HeaderYaml, RelayYaml
from relay.settings.validate import File


@dataclass(frozen=True, slots=True)
class Claim:
    """Who claims something, and where."""

    file: File
    dossier: str
    at: Position
    value: str

    def seen_from(self, file: File) -> str:
        where = f"line {self.at.line}" if file is self.file else f"{self.file.file}:{self.at.line}"
        return f'"{self.dossier}" ({where})'


@dataclass
class Clients:
    """relay: None when relay.yaml has faults of its own. destinations, smarthosts: names, None when unknown."""

    relay: RelayYaml | None
    destinations: frozenset[str] | None
    smarthosts: frozenset[str] | None
    _addresses: dict[str, Claim] = field(default_factory=dict)
    _sirens: dict[str, tuple[Claim, bool]] = field(default_factory=dict)
    _agiris: list[Claim] = field(default_factory=list)
    _dossiers: dict[tuple[str, str], Claim] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ours: re.Pattern[str] | None = matcher(self.relay.accept.recipients) if self.relay else None
        ways = self.relay.identify if self.relay else ["siren", HeaderYaml.model_construct(header="")]
        self._by_header = any(isinstance(way, HeaderYaml) for way in ways)
        self._by_siren = "siren" in ways
        self._explicit = self.relay is not None and "recipients" in self.relay.accept.model_fields_set

    def check_defaults(self, file: File) -> None:
        """The names under `defaults` of relay.yaml."""
        node = find(file.root, "defaults")
        for key in ("destination", "smarthost"):
            if node is not None and self.relay is not None and self._by_default(key):
                self._name(file, node, node.at, key, getattr(self.relay.defaults, key))

    def check(self, file: File, firm: FirmParts) -> None:
        """All faults of one firm; call it for every firm, in the order of their files."""
        for name, (connection, node) in firm.connections.items():
            at = _key(file.root, "connections", name)
            for key in ("destination", "smarthost"):
                if key in connection.model_fields_set or not self._by_default(key):
                    self._name(file, node, at, key, getattr(connection, key))
        given = find(file.root, "connections")
        connections = list(given.entries) if isinstance(given, Mapping) else None
        for client, node in firm.clients:
            self._dossier(file, client, node)
            if connections is not None and client.connection not in connections:
                what = f'connection "{client.connection}" of client "{client.dossier}" is not defined'
                file.error(nearest(node, "connection"), what, did_you_mean(client.connection, connections))
            self._name(file, node, node.at, "destination", client.destination)
            self._name(file, node, node.at, "smarthost", client.smarthost)
            self._recipients(file, client, node)
            self._agiris_addresses(file, client, node)
            self._siren(file, client, node)
            self._reachable(file, client, node)

    def _by_default(self, key: str) -> bool:
        return self.relay is not None and key in self.relay.defaults.model_fields_set

    def _name(self, file: File, node: Node, at: Position, key: str, name: str | None) -> None:
        known = self.destinations if key == "destination" else self.smarthosts
        if name is not None and known is not None and name not in known:
            value = find(node, key)
            file.error(value.at if value else at, f'{key} "{name}" is not defined', did_you_mean(name, known))

    def _dossier(self, file: File, client: ClientYaml, node: Node) -> None:
        claim = Claim(file, client.dossier, nearest(node, "dossier"), client.dossier)
        if (first := self._dossiers.setdefault((file.file, fold(client.dossier)), claim)) is not claim:
            what = f'client "{client.dossier}" is defined twice (first at line {first.at.line})'
            file.error(claim.at, what, "remove one, or give it its own dossier")

    def _recipients(self, file: File, client: ClientYaml, node: Node) -> None:
        for index, address in enumerate(client.recipients):
            at = nearest(node, "recipients", index)
            claim = Claim(file, client.dossier, at, address)
            if self.relay and fold(self.relay.return_path) in (fold(address), untagged(fold(address))[0]):
                what = f"recipient {address} is the return_path of relay.yaml: its mail would be taken for a bounce"
                file.error(at, what, "give the client another address")
            first = self._addresses.setdefault(fold(address), claim)
            if first is not claim:
                self._claimed(claim, first)
            if self._explicit and self._ours is not None and not self._ours.fullmatch(address.lower()):
                what = f"recipient {address} is not among accept.recipients"
                file.warning(at, what, "add its domain to accept.recipients in relay.yaml, or correct the address")
        for address in client.kinds:
            if fold(address) not in map(fold, client.recipients):
                what = f'"kinds" of client "{client.dossier}" names {address}, which is not among its recipients'
                file.error(_key(node, "kinds", address), what, "add it to recipients, or correct it")

    @staticmethod
    def _claimed(claim: Claim, first: Claim) -> None:
        address, file = claim.value, claim.file
        if first.file is file and first.dossier == claim.dossier:
            if first.value == address:
                file.warning(claim.at, f'address {address} given twice in client "{claim.dossier}"', "remove one")
            return
        twin = "" if first.value == address else f" (as {first.value}: the two differ in case only)"
        who = f"{first.seen_from(file)} and {claim.seen_from(file)}{twin}"
        what = f"address {address} is claimed by clients {who}: mail could go to the wrong one"
        file.error(claim.at, what, "give each client its own address")

    def _agiris_addresses(self, file: File, client: ClientYaml, node: Node) -> None:
        to = client.agiris_address
        given = {"purchases": to.purchases, "sales": to.sales}
        given |= {"credit_notes": to.credit_notes, "statements": to.statements}
        first_keys: dict[str, str] = {}
        for key, address in given.items():
            if address is not None:
                first_keys.setdefault(address, key)
        for address, key in first_keys.items():
            self._agiris.append(Claim(file, client.dossier, nearest(node, "agiris_address", key), address))

    def finish(self) -> None:
        """What can be told only when every firm was seen: loops, and addresses with another client's number."""
        for claim in self._agiris:
            folded = fold(claim.value)
            ours = self._ours is not None and self._ours.fullmatch(folded) is not None
            if ours or folded in self._addresses or untagged(folded)[0] in self._addresses:
                what = f"agiris_address {claim.value} is an address of this relay: mail would loop"
                claim.file.error(claim.at, what, "write the address given by Agiris")
        for claim in self._addresses.values():
            other = self._dossiers.get((claim.file.file, fold(untagged(claim.value)[1])))
            if other is not None and other.dossier != claim.dossier:
                what = f'address {claim.value} of client "{claim.dossier}" bears the number of client '
                what += f"{other.seen_from(claim.file)}: mail could go to the wrong one"
                claim.file.error(claim.at, what, "list it in the client whose number it bears")

    def _siren(self, file: File, client: ClientYaml, node: Node) -> None:
        for key, value in (("siren", client.siren), ("siret", client.siret)):
            if value and not luhn(value) and not value.startswith("356000000"):
                what = f'the check digit of {key.upper()} "{value}" is wrong'
                file.warning(nearest(node, key), what, "compare it with the official register")
        if client.siren and client.siret and not client.siret.startswith(client.siren):
            what = f"SIRET {client.siret} does not begin with SIREN {client.siren}"
            file.error(nearest(node, "siret"), what, "correct one of them")
        siren = client.siren or (client.siret or "")[:9]
        if not siren or not self._by_siren:
            return
        claim = Claim(file, client.dossier, nearest(node, "siren" if client.siren else "siret"), siren)
        first, told_apart = self._sirens.setdefault(siren, (claim, client.siret is not None))
        if first is not claim and not (told_apart and client.siret is not None):
            who = f"{first.seen_from(file)} and {claim.seen_from(file)}"
            what = f"SIREN {siren} is the one of clients {who}: an invoice known by SIREN only will be held"
            file.warning(claim.at, what, "give each client its siret, or leave it if each has its own recipients")

    def _reachable(self, file: File, client: ClientYaml, node: Node) -> None:
        known_by = client.recipients or ((client.siren or client.siret) and self._by_siren) or self._by_header
        if not known_by:
            what = f'nothing tells a mail of client "{client.dossier}": no recipients, no SIREN'
            file.warning(node.at, what, "add recipients: [ … ]")


def names(root: Mapping | None, key: str, *built_in: str) -> frozenset[str] | None:
    """The names defined under `key` of relay.yaml, sound or not; None when the file cannot be read."""
    if root is None:
        return None
    node = find(root, key)
    if isinstance(node, Mapping):
        return frozenset([*built_in, *node.entries])
    return frozenset(built_in) if built_in else None


def untagged(address: str) -> tuple[str, str]:
    """("local@domain", "tag") of "local+tag@domain"; the tag is "" when there is none."""
    local, _, domain = address.rpartition("@")
    base, _, tag = local.partition("+")
    return f"{base}@{domain}", tag


def _key(root: Node, *path: str) -> Position:
    holder = find(root, *path[:-1])
    return holder.entries[path[-1]].at if isinstance(holder, Mapping) else root.at
