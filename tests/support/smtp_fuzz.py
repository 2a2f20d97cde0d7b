"""Mutated SMTP dialogues against a server, from a seed.

    python -m tests.support.smtp_fuzz --seconds 600 [--seed 1]

starts the relay on a temporary folder, torments it, tells sessions, replies and memory; exit 1: it found something.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from relay.demo.receiver import Receiver
from relay.demo.stage import Stage

LINES = [
    b"HELO x\r\n", b"EHLO client.example\r\n", b"MAIL FROM:<a@sender.example> SIZE=100 BODY=8BITMIME\r\n",
    b"MAIL FROM:<> SMTPUTF8 RET=HDRS ENVID=x\r\n", b"RCPT TO:<@TO> NOTIFY=NEVER\r\n",
    b"RCPT TO:<@TO> ORCPT=rfc822;c@x\r\n", b"DATA\r\n", b"Subject: x\r\n\r\nbody\r\n.\r\n", b".\r\n",
    b"RSET\r\n", b"NOOP\r\n", b"VRFY x\r\n", b"HELP\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"STARTTLS\r\n", b"QUIT\r\n",
]  # fmt: skip
BDAT = [
    b"EHLO client.example\r\n", b"MAIL FROM:<a@sender.example>\r\n", b"RCPT TO:<@TO>\r\n",
    b"BDAT 14\r\nSubject: x\r\n\r\n", b"BDAT 8\r\nb\r\n.\r\nc\r\n", b"BDAT 6 LAST\r\nbody\r\n", b"BDAT 0 LAST\r\n",
    b"QUIT\r\n",
]  # fmt: skip
MIME = [
    b"EHLO client.example\r\n", b"MAIL FROM:<a@sender.example>\r\n", b"RCPT TO:<@TO>\r\n", b"DATA\r\n",
    b"From: a@sender.example\r\nTo: <@TO>\r\nMIME-Version: 1.0\r\n",
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n', b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n",
    b'--b\r\nContent-Type: application/pdf; name="x.pdf"\r\nContent-Disposition: attachment; filename="x.pdf"\r\n',
    b"Content-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjcKJSVFT0YK\r\n", b"--b--\r\n", b".\r\n", b"QUIT\r\n",
]  # fmt: skip
ODD = [
    b"\0",
    b"\r",
    b"\n",
    b"\xff",
    b"<",
    b">",
    b"@",
    b" ",
    b"\r\n.\r\n",
    b"\x16\x03",
    b"=",
    b"A" * 3000,
    b"99999999",
    b"--b",
]


def mutated(chance: random.Random, recipient: bytes) -> bytes:
    """A dialogue in about the right order, with octets cut, doubled, swapped and put in."""
    lines = list(chance.choice((LINES, LINES, BDAT, MIME)))
    if chance.random() < 0.5:
        lines = lines[: chance.randint(1, len(lines))]
    if chance.random() < 0.3:
        chance.shuffle(lines)
    stream = bytearray(b"".join(lines).replace(b"@TO", recipient))
    for _ in range(chance.randint(0, 6)):
        at = chance.randrange(len(stream) + 1)
        match chance.randrange(3):
            case 0:
                del stream[at : at + chance.randint(1, 4)]
            case 1:
                stream[at:at] = chance.choice(ODD)
            case _:
                stream[at:at] = stream[at : at + chance.randint(1, 40)]
    return bytes(stream)


async def replies(address: tuple[str, int], stream: bytes, chance: random.Random) -> bytes:
    """What the server says to the stream, sent in pieces; all that came when it resets the connection."""
    reader, writer = await asyncio.open_connection(*address)
    said = bytearray()
    try:
        while stream:
            size = chance.randint(1, len(stream))
            writer.write(stream[:size])
            stream = stream[size:]
            await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(60):
            while octets := await reader.read(65536):
                said += octets
    except (ConnectionError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise
    finally:
        writer.close()
    return bytes(said)


def faults(said: bytes) -> list[str]:
    """Replies that no server should give: not of the form of a reply, or its own fault."""
    found = []
    for line in said.split(b"\r\n")[:-1]:
        if not (line[:3].isdigit() and line[3:4] in b" -" and line.isascii()):
            found.append(f"no reply: {line!r}")
        elif line.startswith(b"451 4.3.0") or b"Traceback" in line or b"Error" in line:
            found.append(f"its own fault: {line!r}")
    return found


def resident(pid: int) -> int:
    """Memory of a process, octets."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


async def main(seconds: float, seed: int) -> int:
    folder = Path(tempfile.mkdtemp(prefix="relay-fuzz-"))
    receiver = Receiver()
    await receiver.start()
    stage = Stage(folder, receiver.port)
    stage.prepare()
    assert await stage.start(), stage.log.read_text(encoding="utf-8")
    chance, codes, wrong, sessions = random.Random(seed), Counter[bytes](), list[str](), 0
    begun = reported = time.monotonic()
    try:
        while time.monotonic() - begun < seconds:
            streams = [mutated(chance, b"martin@export.relay.example") for _ in range(8)]
            every = await asyncio.gather(*(replies(("127.0.0.1", stage.smtp), each, chance) for each in streams))
            sessions += len(every)
            for stream, said in zip(streams, every, strict=True):
                codes.update(line[:3] for line in said.split(b"\r\n")[:-1])
                wrong += [f"{each} after {stream!r}" for each in faults(said)]
            if time.monotonic() - reported > 30:
                reported = time.monotonic()
                print(f"{reported - begun:.0f} s, {sessions} sessions, {resident(stage.pid) >> 20} MiB", flush=True)
    finally:
        code = await stage.stop()
        await receiver.close()
    log = stage.log.read_text(encoding="utf-8")
    wrong += [line[:2000] for line in log.splitlines() if '"event": "internal_error"' in line or "Traceback" in line]
    print(f"{sessions} sessions, replies {dict(codes.most_common())}, exit {code}, log {stage.log}")
    print("\n".join(wrong) or "nothing found")
    return 1 if wrong or code else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(arguments.seconds, arguments.seed)))
