"""Mutated dialogues: no hang, no 5xx from our own fault, no traceback, and the door still serves (a fixed seed)."""

import asyncio
import random

from tests.support.door import Door, Events, Limits, Listener, Recorder

SESSIONS = 150
LINES = [
    b"HELO x\r\n", b"EHLO client.example\r\n", b"MAIL FROM:<a@sender.example> SIZE=100 BODY=8BITMIME\r\n",
    b"MAIL FROM:<> SMTPUTF8 RET=HDRS ENVID=x\r\n", b"RCPT TO:<c@export.example> NOTIFY=NEVER\r\n",
    b"RCPT TO:<c@export.example> ORCPT=rfc822;c@x\r\n", b"DATA\r\n", b"Subject: x\r\n\r\nbody\r\n.\r\n", b".\r\n",
    b"RSET\r\n", b"NOOP\r\n", b"VRFY x\r\n", b"HELP\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"STARTTLS\r\n", b"QUIT\r\n",
]  # fmt: skip
ODD = [b"\0", b"\r", b"\n", b"\xff", b"<", b">", b"@", b" ", b"\r\n.\r\n", b"\x16\x03", b"=", b"A" * 3000]


def mutated(random_: random.Random) -> bytes:
    """A dialogue in about the right order, with octets cut, doubled, swapped and put in."""
    lines = LINES[: random_.randint(1, len(LINES))]
    if random_.random() < 0.5:
        random_.shuffle(lines)
    stream = bytearray(b"".join(lines))
    for _ in range(random_.randint(0, 6)):
        at = random_.randrange(len(stream) + 1)
        match random_.randrange(3):
            case 0:
                del stream[at : at + random_.randint(1, 4)]
            case 1:
                stream[at:at] = random_.choice(ODD)
            case _:
                stream[at:at] = stream[at : at + random_.randint(1, 40)]
    return bytes(stream)


async def replies(address: tuple[str, int], stream: bytes, random_: random.Random) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    try:
        while stream:
            size = random_.randint(1, len(stream))
            writer.write(stream[:size])
            stream = stream[size:]
            await writer.drain()
        writer.write_eof()
        return await reader.read()
    except (ConnectionError, OSError):
        return b""
    finally:
        writer.close()


async def test_no_dialogue_surprises_the_door() -> None:
    random_, recorder, events = random.Random(7), Recorder(), Events()
    door = Door([Listener()], lambda: Limits(idle_timeout=5.0), recorder, "door.example", events, auth_delay=0.0)
    await door.start()
    try:
        async with asyncio.timeout(120):
            for _ in range(SESSIONS):
                said = await replies(door.addresses[0], mutated(random_), random_)
                for line in said.split(b"\r\n")[:-1]:
                    assert line[:3].isdigit() and line[3:4] in b" -", line
        assert events.named("fault") == []
        assert recorder.mails, "the mutation is too wild to test anything"
    finally:
        await door.drain(5.0)
    assert door.sessions == 0
