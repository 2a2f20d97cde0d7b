"""An authentication server that speaks Dovecot's protocol (1.1), by which Postfix checks PLAIN, LOGIN and XOAUTH2.

https://doc.dovecot.org/main/developers/design/auth_protocol.html
"""

import asyncio
from collections.abc import Mapping, Sequence

from tests.support.peer_auth import METHODS, REFUSED_TOKEN, credentials


class SaslServer:
    """`async with SaslServer({"name": "password or token"}) as sasl: …`, meanwhile on 127.0.0.1:`port`.

    tried: (method, name, whether it was right), in order.
    """

    def __init__(self, users: Mapping[str, str], methods: Sequence[str] = METHODS) -> None:
        self.users, self.methods = dict(users), methods
        self.tried: list[tuple[str, str, bool]] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def postfix(self) -> dict[str, str]:
        """Settings of a Postfix that authenticates here, and takes mail from nobody else."""
        return {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": f"inet:127.0.0.1:{self.port}",
            "smtpd_tls_auth_only": "yes",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
            "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
        }

    async def __aenter__(self) -> "SaslServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offers = "".join(f"MECH\t{each}\tplaintext\n" for each in self.methods)
        writer.write(f"VERSION\t1\t1\n{offers}SPID\t1\nCUID\t1\nCOOKIE\t{'0' * 32}\nDONE\n".encode())
        try:
            while line := (await reader.readline()).decode().rstrip("\n"):
                verb, *words = line.split("\t")
                if verb == "AUTH":
                    await self._authenticate(words[0], words[1], words[2:], reader, writer)
        finally:
            writer.close()

    async def _authenticate(
        self, number: str, method: str, more: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async def say(challenge: str) -> None:
            writer.write(f"CONT\t{number}\t{challenge.removeprefix('334 ')}\n".encode())

        async def line() -> bytes:
            return (await reader.readline()).rstrip(b"\n").split(b"\t")[2]

        initial = next((each.removeprefix("resp=") for each in more if each.startswith("resp=")), "")
        name, secret = await credentials(f"{method} {initial}", say, line)
        right = self.users.get(name) == secret
        if not right and method == "XOAUTH2":
            await say(REFUSED_TOKEN)
            assert await line() == b""
        self.tried.append((method, name, right))
        writer.write(f"{'OK' if right else 'FAIL'}\t{number}\tuser={name}\n".encode())
