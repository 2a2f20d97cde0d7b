"""The keys of a firm's file, their types and defaults."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from relay.settings.parsers import InvalidValue, address
from relay.settings.types import Bool, Email, Name, Read, Siren, Siret, Strict, Text, one_of, only_text, refusal


def _type(value: str) -> str:
    if value == "email":
        return value
    raise InvalidValue(f'type "{value}" is not served by this relay', 'write "email" (E-mail destinataire)')


class ExportYaml(Strict):
    """Settings of an export that are inherited: `defaults` of relay.yaml, connection, client; the last word wins."""

    transmit_documents: Bool = True
    original_pdf: Bool = False
    destination: Name = "agiris"
    smarthost: Name = "default"


class DefaultsYaml(ExportYaml):
    """`defaults:` of relay.yaml, for all firms of the host: in force where firm, connection and client say nothing."""

    operator: Email | None = None
    share_with_firm: Bool = True


class ConnectionYaml(ExportYaml):
    """`connections.<key>`: Paramètres d'export, one connection shared by many clients."""

    link_name: Text = ""
    type: Annotated[str, Read(_type, {"enum": ["email"]})] = "email"


class AddressesYaml(Strict):
    """One Agiris address for each kind of document."""

    purchases: Email | None = None
    sales: Email | None = None
    credit_notes: Email | None = None
    statements: Email | None = None


def _addresses(value: Any) -> Any:
    if isinstance(value, dict):
        if not {"purchases", "sales"} & value.keys() and not set(value) - set(AddressesYaml.model_fields):
            what = '"{key}" names neither an address for purchases nor one for sales'
            raise refusal(InvalidValue(what, "add purchases: and sales:, or write one address for all"))
        return value
    try:
        if isinstance(value, list):
            what = f'"{{key}}" takes one address, got a list of {len(value)}'
            raise InvalidValue(what, "write one address, or purchases:, sales:, credit_notes:, statements:")
        one = address(only_text(value))
    except InvalidValue as bad:
        raise refusal(bad) from None
    return AddressesYaml.model_construct(purchases=one, sales=one, credit_notes=one, statements=one)


class ClientYaml(Strict):
    """One client (*dossier*). What it does not say comes from its connection, then from `defaults` of relay.yaml."""

    dossier: Name
    name: Text = ""
    siren: Siren | None = None
    siret: Siret | None = None
    share_with_firm: Bool = True
    connection: Name
    agiris_address: Annotated[AddressesYaml, BeforeValidator(_addresses, json_schema_input_type=str | AddressesYaml)]
    recipients: list[Email] = Field(default=[])
    kinds: dict[Email, Annotated[str, one_of("purchase", "sale", "statement")]] = Field(default={})
    link_name: Text | None = None
    transmit_documents: Bool | None = None
    original_pdf: Bool | None = None
    destination: Name | None = None
    smarthost: Name | None = None


class FirmHead(Strict):
    """A firm's file with its connections and clients still unread: one fault must not hide the others."""

    firm: Text
    operator: Email | None = None
    connections: Annotated[dict[str, Any], Field(min_length=1)]
    clients: list[Any]


class FirmYaml(FirmHead):
    """A firm's file."""

    connections: Annotated[dict[Name, ConnectionYaml], Field(min_length=1)]
    clients: list[ClientYaml]
