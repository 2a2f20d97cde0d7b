"""The clients of all firms against each other: nothing may reach the wrong client, nothing may loop."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from relay.routing.policy import Addresses, Client
from relay.setting_parsers import fold
from relay.settings.issues import ConfigIssues, Position
from relay.settings.yaml_tree import Entry, Mapping, Node, Sequence, nearest

DOSSIER, RECIPIENT, AGIRIS, SIREN, SIRET = "dossier", "recipient", "agiris", "siren", "siret"


class UniqueKey(NamedTuple):
    """kind: dossier | recipient | agiris | siren | siret (SIREN and SIRET). line, column: of value."""

    kind: str
    dossier: str
    value: str
    line: int
    column: int

    @property
    def at(self) -> Position:
        return Position(self.line, self.column)


def unique_keys(client: Client, node: Mapping, *, by_siren: bool) -> list[UniqueKey]:
    """What `client`, which stands at `node`, claims. by_siren: clients are known by their SIREN at all."""
    dossier, entries = client.dossier, node.entries
    keys = [UniqueKey(DOSSIER, dossier, dossier, *entries["dossier"].node.at)]
    for address, item in zip(client.recipients, _items(entries.get("recipients")), strict=True):
        keys.append(UniqueKey(RECIPIENT, dossier, address, *item.at))
    for kind, address in _agiris(client.addresses).items():
        keys.append(UniqueKey(AGIRIS, dossier, address, *nearest(entries["agiris_address"].node, kind)))
    siren = client.siren or (client.siret or "")[:9]
    if siren and by_siren:
        kind = SIREN if client.siret is None else SIRET
        keys.append(UniqueKey(kind, dossier, siren, *entries["siren" if client.siren else "siret"].node.at))
    return keys


def _items(entry: Entry | None) -> list[Node]:
    return entry.node.items if entry is not None and isinstance(entry.node, Sequence) else []


def _agiris(to: Addresses) -> dict[str, str]:
    """Key -> address, each address under the first key that names it."""
    if to.purchases is not None and to.purchases == to.sales == to.credit_notes == to.statements:
        return {"purchases": to.purchases}
    given = {"purchases": to.purchases, "sales": to.sales, "credit_notes": to.credit_notes, "statements": to.statements}
    first: dict[str, str] = {}
    for key, address in given.items():
        if address is not None:
            first.setdefault(address, key)
    return {key: address for address, key in first.items()}


class _Seen(NamedTuple):
    """A claim and the file it stands in."""

    file: str
    claim: UniqueKey

    def seen_from(self, file: str) -> str:
        where = f"line {self.claim.line}" if file == self.file else f"{self.file}:{self.claim.line}"
        return f'"{self.claim.dossier}" ({where})'


class UniquenessCheck:
    """ours: the addresses that this relay takes, lower case; None when relay.yaml does not say.

    served: domains whose postmaster is ours too (rfc5321#4.5.1), beside those of the clients' recipients.
    """

    def __init__(
        self, ours: re.Pattern[str] | None, faults: ConfigIssues, served: frozenset[str] = frozenset()
    ) -> None:
        self._ours, self._faults, self._served = ours, faults, served
        self._dossiers: dict[tuple[str, str], _Seen] = {}
        self._addresses: dict[str, _Seen] = {}
        self._agiris: list[_Seen] = []
        self._sirens: dict[str, _Seen] = {}

    def take(self, file: str, claims: Iterable[UniqueKey]) -> None:
        """The claims of one firm's `file`; in the order of the files: the later of two is at fault."""
        for claim in claims:
            seen, kind = _Seen(file, claim), claim.kind
            if kind == DOSSIER:
                self._dossier(seen)
            elif kind == RECIPIENT:
                self._recipient(seen)
            elif kind == AGIRIS:
                self._agiris.append(seen)
            elif kind in (SIREN, SIRET):
                self._siren(seen)

    def finish(self) -> None:
        """What is known only when every firm was seen: loops, shared addresses, those with another's number."""
        self._shared()
        served = self._served | {address.rpartition("@")[2] for address in self._addresses}
        for file, claim in self._agiris:
            folded = fold(claim.value)
            local, _, domain = folded.rpartition("@")
            ours = self._ours is not None and self._ours.fullmatch(folded) is not None
            ours = ours or (local == "postmaster" and domain in served)
            if ours or folded in self._addresses or untagged(folded)[0] in self._addresses:
                what = f"agiris_address {claim.value} is an address of this relay: mail would loop"
                self._faults.error(file, claim.at, what, "write the address given by Agiris")
        for file, claim in self._addresses.values():
            other = self._dossiers.get((file, fold(untagged(claim.value)[1])))
            if other is not None and other.claim.dossier != claim.dossier:
                what = f'address {claim.value} of client "{claim.dossier}" bears the number of client '
                what += f"{other.seen_from(file)}: mail could go to the wrong one"
                self._faults.error(file, claim.at, what, "list it in the client whose number it bears")

    def _shared(self) -> None:
        """An agiris_address of several clients: one warning, at the second of them."""
        by_address: dict[str, dict[tuple[str, str], _Seen]] = {}
        for seen in self._agiris:
            by_address.setdefault(fold(seen.claim.value), {}).setdefault((seen.file, seen.claim.dossier), seen)
        for owners in by_address.values():
            if len(owners) < 2:
                continue
            first, second, *_ = owners.values()
            file, claim = second
            who = f"{first.seen_from(file)} and {second.seen_from(file)}"
            more = f" and {len(owners) - 2} more" if len(owners) > 2 else ""
            what = f"agiris_address {claim.value} is the one of clients {who}{more}: their documents arrive together"
            self._faults.warning(file, claim.at, what, "give each client the address that Agiris shows for it")

    def _dossier(self, seen: _Seen) -> None:
        first = self._dossiers.setdefault((seen.file, fold(seen.claim.value)), seen)
        if first is not seen:
            what = f'client "{seen.claim.value}" is defined twice (first at line {first.claim.line})'
            self._faults.error(seen.file, seen.claim.at, what, "remove one, or give it its own dossier")

    def _recipient(self, seen: _Seen) -> None:
        file, claim = seen
        first = self._addresses.setdefault(fold(claim.value), seen)
        if first is seen:
            return
        address = claim.value
        if first.file == file and first.claim.dossier == claim.dossier:
            if first.claim.value == address:
                what = f'address {address} given twice in client "{claim.dossier}"'
                self._faults.warning(file, claim.at, what, "remove one")
            return
        twin = "" if first.claim.value == address else f" (as {first.claim.value}: the two differ in case only)"
        who = f"{first.seen_from(file)} and {seen.seen_from(file)}{twin}"
        what = f"address {address} is claimed by clients {who}: mail could go to the wrong one"
        self._faults.error(file, claim.at, what, "give each client its own address")

    def _siren(self, seen: _Seen) -> None:
        first = self._sirens.setdefault(seen.claim.value, seen)
        if first is not seen and not (first.claim.kind == seen.claim.kind == SIRET):
            who = f"{first.seen_from(seen.file)} and {seen.seen_from(seen.file)}"
            what = f"SIREN {seen.claim.value} is the one of clients {who}: an invoice known by SIREN only will be held"
            fix = "give each client its siret, or leave it if each has its own recipients"
            self._faults.warning(seen.file, seen.claim.at, what, fix)


def untagged(address: str) -> tuple[str, str]:
    """("local@domain", "tag") of "local+tag@domain"; the tag is "" when there is none."""
    local, _, domain = address.rpartition("@")
    base, _, tag = local.partition("+")
    return f"{base}@{domain}", tag
