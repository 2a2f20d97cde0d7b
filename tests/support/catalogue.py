"""The French catalogue as its .po file has it."""

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from relay.locale.catalogue import DOMAIN, FOLDER

MESSAGES = FOLDER / "fr" / "LC_MESSAGES"


def written() -> Catalog:
    with (MESSAGES / f"{DOMAIN}.po").open("rb") as file:
        return read_po(file, locale="fr")


def entries() -> list[Message]:
    return [message for message in written() if message.id]


def forms(message: Message) -> list[str]:
    """The French of an entry: one sentence, or its plural forms."""
    return list(message.string) if isinstance(message.string, (tuple, list)) else [message.string]


def sources(message: Message) -> list[str]:
    return list(message.id) if isinstance(message.id, (tuple, list)) else [message.id]
