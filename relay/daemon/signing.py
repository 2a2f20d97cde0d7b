"""Our DKIM signature on whatever leaves, made off the event loop with the key in force."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from relay.delivery.ports import Octets
from relay.mail.dkim import BadKey, Signer, signer
from relay.model import Mail
from relay.settings.settings import Dkim


class Signing:
    """Signs nothing until `take` has given it a key."""

    def __init__(self) -> None:
        self._signer: Signer | None = None

    async def take(self, dkim: Dkim | None) -> str | None:
        """Read the key anew; None, or why it cannot be used: then the one before stays."""
        try:
            self._signer = None if dkim is None else await asyncio.to_thread(_read, dkim)
        except OSError as error:
            return f"dkim: {error.filename}: {error.strerror or error}"
        except BadKey as error:
            return f"dkim: {error}"
        return None

    async def sign(self, mail: Mail, chunks: Sequence[Octets]) -> Sequence[Octets]:
        """`chunks` with our signature on top. Its time is the mail's arrival: each attempt sends the same octets."""
        if self._signer is None:
            return chunks
        field = await asyncio.to_thread(self._signer.sign, chunks, mail.arrived)
        return [field, *chunks] if field else chunks


def _read(dkim: Dkim) -> Signer:
    return signer(dkim.domain, dkim.selector, Path(dkim.private_key).read_bytes())
