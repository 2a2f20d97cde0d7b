"""The world of the decision table as the YAML that an operator would write."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from relay.routing.policy import Addresses, Check, Client, Terms

MANY = 1_000_000  # messages a minute: a test is no campaign


def write_terms(config: Path, terms: Terms, relay: dict[str, Any]) -> None:
    """relay.yaml (what `relay` says, and the rules of `terms`) and firms/*.yaml into `config`."""
    own = {
        **relay,
        "hostname": terms.hostname,
        "return_path": terms.return_path,
        "accept": {"recipients": list(terms.recipients)},
        "identify": [step.by if step.by != "header" else {"header": step.header} for step in terms.identify],
        "check": _check(terms.check),
        "kinds": {
            **({"header": terms.kinds.header} if terms.kinds.header else {}),
            "statement_names": list(terms.kinds.statement_names),
        },
        "destinations": {name: _destination(each) for name, each in terms.destinations.items()},
    }
    _write(config / "relay.yaml", own)
    (config / "firms").mkdir(exist_ok=True)
    for firm in {client.firm for client in terms.clients.values()}:
        clients = [_client(client) for client in terms.clients.values() if client.firm == firm]
        connections = {"agiris": {"link_name": "Agiris"}}
        _write(config / "firms" / f"{firm}.yaml", {"firm": firm, "connections": connections, "clients": clients})


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")


def _check(check: Check) -> dict[str, Any]:
    reported = {name: str(getattr(check, name)) for name in Check.__dataclass_fields__ if name.startswith("on_")}
    return {**reported, "level": str(check.level), "always_paired": check.always_paired, "workers": 1}


def _destination(each: Any) -> dict[str, Any]:
    return {
        "max_mail_size": f"{each.max_mail_size} B",
        "max_attachments": each.max_attachments,
        "one_invoice_per_mail": each.one_invoice_per_mail,
        "to_header": each.to_header,
        "from_header": each.from_header,
        "attachment_types": list(each.attachment_types),
        "max_mails_per_minute": MANY,
    }


def _client(client: Client) -> dict[str, Any]:
    said: dict[str, Any] = {
        "dossier": client.dossier,
        "connection": "agiris",
        "share_with_firm": client.share_with_firm,
        "transmit_documents": client.transmit_documents,
        "original_pdf": client.original_pdf,
        "agiris_address": _addresses(client.addresses),
        "recipients": list(client.recipients),
        "kinds": {address: str(role) for address, role in client.kinds.items()},
    }
    for key in ("name", "siren", "siret"):
        if getattr(client, key):
            said[key] = getattr(client, key)
    return said


def _addresses(addresses: Addresses) -> str | dict[str, str]:
    kinds = {name: getattr(addresses, name) for name in Addresses.__dataclass_fields__}
    given = {name: address for name, address in kinds.items() if address}
    alike: Iterable[str] = set(given.values())
    return next(iter(alike)) if len(given) == 4 and len(set(alike)) == 1 else given
