"""Our DKIM signature on whatever leaves, made off the event loop with the key in force."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from relay.delivery.ports import Octets
from relay.mail.dkim import BadKey, Signer, signer
from relay.model import Mail
from relay.settings.settings import Dkim
from relay.settings.text import read_whole, unreadable


class KeyFault(Exception):
    """The DKIM key cannot be used. The text names the file, never a word of the key."""


class Signing:
    """Signs nothing until `use` has given it a key."""

    def __init__(self) -> None:
        self._signer: Signer | None = None

    def use(self, key: Signer | None) -> None:
        """Sign with `key` from now on; None: sign nothing."""
        self._signer = key

    async def sign(self, mail: Mail, chunks: Sequence[Octets]) -> Sequence[Octets]:
        """`chunks` with our signature on top. Its time is the mail's arrival: each attempt sends the same octets."""
        if self._signer is None:
            return chunks
        field = await asyncio.to_thread(self._signer.sign, chunks, mail.arrived)
        return [field, *chunks] if field else chunks


async def read_key(dkim: Dkim | None) -> Signer | None:
    """The key that `dkim` names, read off the event loop; None without `dkim`. Raises KeyFault."""
    if dkim is None:
        return None
    try:
        return await asyncio.to_thread(_read, dkim)
    except OSError as error:
        raise KeyFault(f"dkim: {dkim.private_key}: {unreadable(error)[0]}") from error
    except BadKey as error:
        raise KeyFault(f"dkim: {dkim.private_key}: {error}") from error


def _read(dkim: Dkim) -> Signer:
    return signer(dkim.domain, dkim.selector, read_whole(Path(dkim.private_key)))
