"""What one client claims for itself, with its place: all that is compared between the files of two firms."""

from typing import NamedTuple

from relay.settings.faults import Position
from relay.settings.firm_schema import ClientYaml
from relay.settings.nodes import Node, nearest

DOSSIER, RECIPIENT, AGIRIS, SIREN, SIRET = "dossier", "recipient", "agiris", "siren", "siret"


class Claim(NamedTuple):
    """kind: dossier | recipient | agiris | siren | siret (a SIREN told apart by its SIRET). line, column: of value."""

    kind: str
    dossier: str
    value: str
    line: int
    column: int

    @property
    def at(self) -> Position:
        return Position(self.line, self.column)


def claims(client: ClientYaml, node: Node, *, by_siren: bool) -> list[Claim]:
    """What `client`, which stands at `node`, claims. by_siren: clients are known by their SIREN at all."""
    found = [Claim(DOSSIER, client.dossier, client.dossier, *nearest(node, "dossier"))]
    for index, address in enumerate(client.recipients):
        found.append(Claim(RECIPIENT, client.dossier, address, *nearest(node, "recipients", index)))
    for key, address in _agiris(client).items():
        found.append(Claim(AGIRIS, client.dossier, address, *nearest(node, "agiris_address", key)))
    siren = client.siren or (client.siret or "")[:9]
    if siren and by_siren:
        kind = SIREN if client.siret is None else SIRET
        found.append(Claim(kind, client.dossier, siren, *nearest(node, "siren" if client.siren else "siret")))
    return found


def _agiris(client: ClientYaml) -> dict[str, str]:
    """Key -> address, each address under the first key that names it."""
    to = client.agiris_address
    given = {"purchases": to.purchases, "sales": to.sales, "credit_notes": to.credit_notes, "statements": to.statements}
    first: dict[str, str] = {}
    for key, address in given.items():
        if address is not None:
            first.setdefault(address, key)
    return {key: address for address, key in first.items()}
