"""One firm against relay.yaml, and its clients one by one; `uniqueness` compares them with those of other firms."""

import re
from typing import TYPE_CHECKING

from relay.routing.policy import Client
from relay.setting_parsers import fold, luhn
from relay.settings import yaml_tree
from relay.settings.check_relay import matcher
from relay.settings.issues import Position, did_you_mean
from relay.settings.settings import RelayFile
from relay.settings.uniqueness import UniqueKey, unique_keys, untagged
from relay.settings.validate import File
from relay.settings.yaml_tree import Node, find, nearest

if TYPE_CHECKING:
    from relay.settings.firm_file import FirmParts


class ClientCheck:
    """relay: None when relay.yaml has errors of its own; file: its file. destinations, smarthosts: None when unknown.

    ours: what matches the addresses this relay accepts, None without `relay`. served: domains whose postmaster we are.
    """

    def __init__(self, file: File | None, relay: RelayFile | None) -> None:
        self._file, self._relay = file, relay
        root = file.root if file else None
        self._known = {
            "destination": names(root, "destinations", "agiris"),
            "smarthost": names(root, "smarthosts"),
        }
        self.ours = _ours(relay) if relay else None
        self.served = _served(relay) if relay else frozenset()
        ways = {step.by for step in relay.identify} if relay else {"siren", "header"}
        self._by_header, self._by_siren = "header" in ways, "siren" in ways
        self._explicit = self._given("accept", "recipients")
        self._return_path = fold(relay.return_path) if relay else None

    def _given(self, *path: str) -> bool:
        """Does a sound relay.yaml give the key at `path`?"""
        return self._relay is not None and self._file is not None and self._file.says(*path)

    def check_defaults(self, file: File) -> None:
        """The names under `defaults` of relay.yaml."""
        node = find(file.root, "defaults")
        for key in ("destination", "smarthost"):
            if node is not None and self._relay is not None and self._given("defaults", key):
                self._name(file, node, node.at, key, getattr(self._relay.defaults, key))

    def check(self, file: File, firm: "FirmParts") -> list[UniqueKey]:
        """Report what is wrong in `firm` whatever the other firms say; its unique keys, in the order of its file."""
        for name, (connection, node) in firm.connections.items():
            at = _key(file.root, "connections", name)
            for key in ("destination", "smarthost"):
                if find(node, key) is not None or not self._given("defaults", key):
                    self._name(file, node, at, key, getattr(connection, key))
        given = find(file.root, "connections")
        connections = given.entries if isinstance(given, yaml_tree.Mapping) else None
        claimed: list[UniqueKey] = []
        for client, node in firm.clients:
            if connections is not None and client.connection not in connections:
                what = f'connection "{client.connection}" of client "{client.dossier}" is not defined'
                file.error(nearest(node, "connection"), what, did_you_mean(client.connection, connections))
            if "destination" in node.entries:
                self._name(file, node, node.at, "destination", client.destination)
            if "smarthost" in node.entries:
                self._name(file, node, node.at, "smarthost", client.smarthost)
            self._recipients(file, client, node)
            self._siren(file, client, node)
            self._reachable(file, client, node)
            if client.siren is None and client.siret is None:
                what = f'client "{client.dossier}" has no "siren": an invoice of another client is not recognised'
                file.warning(node.at, what, 'add siren: "<9 digits>"')
            claimed += unique_keys(client, node, by_siren=self._by_siren)
        if firm.name and firm.operator is None and self._relay is not None and self._relay.defaults.operator is None:
            what = f'firm "{firm.name}" has no "operator": nobody is notified of what is held or failed'
            file.warning(nearest(file.root, "firm"), what, "add operator: <address of a person>")
        return claimed

    def _name(self, file: File, node: Node, at: Position, key: str, name: str) -> None:
        known = self._known[key]
        if known is not None and name not in known:
            value = find(node, key)
            file.error(value.at if value else at, f'{key} "{name}" is not defined', did_you_mean(name, known))

    def _recipients(self, file: File, client: Client, node: Node) -> None:
        for index, address in enumerate(client.recipients):
            at = nearest(node, "recipients", index)
            folded = fold(address)
            if self._return_path in (folded, untagged(folded)[0]):
                what = f"recipient {address} is the return_path of relay.yaml: its mail would be taken for a bounce"
                file.error(at, what, "give the client another address")
            if self._explicit and self.ours is not None and not self.ours.fullmatch(address.lower()):
                what = f"recipient {address} is not among accept.recipients"
                file.warning(at, what, "add its domain to accept.recipients in relay.yaml, or correct the address")
        for address in client.kinds:
            if fold(address) not in map(fold, client.recipients):
                what = f'"kinds" of client "{client.dossier}" names {address}, which is not among its recipients'
                file.error(_key(node, "kinds", address), what, "add it to recipients, or correct it")

    @staticmethod
    def _siren(file: File, client: Client, node: Node) -> None:
        for key, value in (("siren", client.siren), ("siret", client.siret)):
            if value and not luhn(value) and not value.startswith("356000000"):
                what = f'the check digit of {key.upper()} "{value}" is wrong'
                file.warning(nearest(node, key), what, "compare it with the official register")
        if client.siren and client.siret and not client.siret.startswith(client.siren):
            what = f"SIRET {client.siret} does not begin with SIREN {client.siren}"
            file.error(nearest(node, "siret"), what, "correct one of them")

    def _reachable(self, file: File, client: Client, node: Node) -> None:
        known_by = client.recipients or ((client.siren or client.siret) and self._by_siren) or self._by_header
        if not known_by:
            what = f'nothing identifies a message of client "{client.dossier}": no recipients, no SIREN'
            file.warning(node.at, what, "add recipients: [ … ]")


def _ours(relay: RelayFile) -> re.Pattern[str]:
    """What this relay takes: the patterns of accept.recipients, and its return path with any tag."""
    local, _, domain = fold(relay.return_path).rpartition("@")
    return matcher([*relay.accept.recipients, f"{local}@{domain}", f"{local}+*@{domain}"])


def _served(relay: RelayFile) -> frozenset[str]:
    addresses = [*relay.accept.recipients, relay.return_path]
    return frozenset([relay.hostname.lower(), *(address.rpartition("@")[2].lower() for address in addresses)])


def names(root: yaml_tree.Mapping | None, key: str, *built_in: str) -> frozenset[str] | None:
    """The names defined under `key` of relay.yaml, sound or not; None when the file cannot be read."""
    if root is None:
        return None
    node = find(root, key)
    if isinstance(node, yaml_tree.Mapping):
        return frozenset([*built_in, *node.entries])
    return frozenset(built_in) if built_in else None


def _key(root: Node, *path: str) -> Position:
    holder = find(root, *path[:-1])
    return holder.entries[path[-1]].at if isinstance(holder, yaml_tree.Mapping) else root.at
