"""The server's half of AUTH: the credentials that a client gives by PLAIN, LOGIN or XOAUTH2."""

import base64
import json
import re
from collections.abc import Awaitable, Callable

METHODS = ("PLAIN", "LOGIN", "XOAUTH2")

_BEARER = re.compile(r"user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01")
"""https://developers.google.com/workspace/gmail/imap/xoauth2-protocol"""

REFUSED_TOKEN = base64.b64encode(json.dumps({"status": "401", "schemes": "bearer", "scope": "mail"}).encode()).decode()


async def credentials(
    argument: str, say: Callable[[str], Awaitable[None]], line: Callable[[], Awaitable[bytes]]
) -> tuple[str, str]:
    """Name and password (or token) of an AUTH command. Raises ValueError for what is malformed."""
    method, _, initial = argument.partition(" ")
    if method.upper() == "LOGIN":
        if not initial:
            await say("334 VXNlcm5hbWU6")
            initial = (await line()).decode()
        await say("334 UGFzc3dvcmQ6")
        return _decoded(initial), _decoded((await line()).decode())
    if not initial:
        await say("334 ")
        initial = (await line()).decode()
    if method.upper() == "XOAUTH2":
        found = _BEARER.fullmatch(_decoded(initial))
        if found is None:
            raise ValueError(f"not of XOAUTH2: {_decoded(initial)!r}")
        return found[1], found[2]
    _, name, password = _decoded(initial).split("\0")
    return name, password


def _decoded(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()
