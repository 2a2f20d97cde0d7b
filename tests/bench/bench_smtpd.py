"""What hostile and heavy peers cost an honest one, and the daemon: `python -m tests.bench.bench_smtpd [SHOW …]`.

    crowd    300 idle, 60 slow and 500 reset connections of one host, and good messages of another: how long each takes
    endless  400 MB of one message that has no line end, no end, no chunk end: memory of the main process
    large    20 messages of 25 MB at once, the main process held to 300 MB: what each is answered

Prints one JSON line a show. The whole daemon runs, in its own process, on a temporary folder.

`large` lays RLIMIT_DATA on the daemon while it runs: private memory that may be written, used or not. That is stricter
than the resident set: what is only reserved when it starts (stacks of threads) is measured first and added to the
limit. A control group would end the process; here each allocation beyond fails: one message must not be accepted.
"""

import argparse
import asyncio
import json
import resource
import smtplib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

from relay.demo.receiver import Receiver
from relay.demo.stage import Stage
from tests.support.parallel_sessions import GREETING, MIB, Peak, crowd, good_mail, poured
from tests.support.smtp_fuzz import resident
from tests.support.smtp_server import six_listeners

LINE = b"x" * 76 + b"\r\n"
ENDLESS = {
    "line": (b"DATA\r\n", b"x" * 65536),
    "lines": (b"DATA\r\n", b"\r\n" * 32768),
    "chunk": (b"BDAT 10000000\r\n", b"x" * 65536),
    "command": (b"", b"x" * 65536),
}


@asynccontextmanager
async def running(accept: str) -> AsyncIterator[Stage]:
    """The whole relay; accept: what stands under `accept:`."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-", ignore_cleanup_errors=True) as folder:
        receiver = Receiver()
        await receiver.start()
        stage = Stage(Path(folder), receiver.port)
        stage.prepare()
        six_listeners(stage, Path(folder), {"bench": "a password"}, accept)
        try:
            assert await stage.start(), stage.log.read_text(encoding="utf-8")
            yield stage
        finally:
            code = await stage.stop()
            await receiver.close()
        log = stage.log.read_text(encoding="utf-8")
        assert code == 0 and "Traceback" not in log, log


def timed(stage: Stage) -> float:
    """Seconds that a good message takes, from the connection to 250."""
    begun = time.perf_counter()
    assert good_mail(stage) == 250
    return time.perf_counter() - begun


async def several(stage: Stage, number: int) -> dict[str, float]:
    times = sorted([await asyncio.to_thread(timed, stage) for _ in range(number)])
    return {"p50_ms": round(1000 * times[number // 2], 1), "max_ms": round(1000 * times[-1], 1)}


async def show_crowd() -> dict[str, object]:
    async with running("  max_connections: 1000\n  max_connections_per_host: 600\n") as stage:
        await several(stage, 3)
        alone = await several(stage, 20)
        async with crowd(stage.smtp, idle=300, slow=60) as resetting:
            idle = await several(stage, 20)
            resets = asyncio.ensure_future(resetting(500))
            beside = await several(stage, 20)
            await resets
        return {"alone": alone, "beside_300_idle_60_slow": idle, "and_500_resets": beside}


async def show_endless() -> dict[str, object]:
    grown = {}
    for name, (verb, piece) in ENDLESS.items():
        async with running("  max_mail_size: 20 MiB\n") as stage:
            await several(stage, 1)
            peak = Peak(stage.pid)
            pieces = repeat(piece, 400 * MIB // len(piece))
            await asyncio.to_thread(poured, stage, GREETING + verb, pieces)
            grown[name] = {"before_mib": peak.start // MIB, "grown_mib": peak.grown() // MIB}
            await several(stage, 1)
    return grown


def _written(pid: int) -> int:
    """Private writable memory, octets: what RLIMIT_DATA counts."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.partition("VmData:")[2].split()[0]) * 1024


def _offered(stage: Stage, number: int, size: int) -> str:
    head = b"From: a@sender.example\r\nSubject: %d\r\n\r\n" % number
    try:
        return str(good_mail(stage, "127.0.0.3", head + LINE * (size // len(LINE))))
    except smtplib.SMTPResponseException as error:
        return str(error.smtp_code)
    except (OSError, smtplib.SMTPServerDisconnected) as error:
        return type(error).__name__


async def show_large(limit: int = 300 * MIB, sessions: int = 20, size: int = 25_000_000) -> dict[str, object]:
    async with running("") as stage:
        await several(stage, 3)
        reserved = _written(stage.pid) - resident(stage.pid)
        most = limit + max(0, reserved)
        resource.prlimit(stage.pid, resource.RLIMIT_DATA, (most, most))
        peak = Peak(stage.pid)
        offered = [asyncio.to_thread(_offered, stage, number, size) for number in range(sessions)]
        good = asyncio.create_task(several(stage, 20))
        codes = Counter(await asyncio.gather(*offered))
        return {
            "reserved_at_start_mib": reserved // MIB,
            "limit_mib": most // MIB,
            "most_resident_mib": peak.octets() // MIB,
            "answers": dict(codes),
            "small_mails_meanwhile": await good,
            "afterwards": await several(stage, 3),
            "faults": stage.log.read_text(encoding="utf-8").count('"event": "internal_error"'),
        }


SHOWS: dict[str, Callable[[], object]] = {"crowd": show_crowd, "endless": show_endless, "large": show_large}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shows", nargs="*", metavar="SHOW", choices=[*SHOWS, []], default=list(SHOWS))
    for name in parser.parse_args().shows:
        sys.stdout.write(json.dumps({name: asyncio.run(SHOWS[name]())}) + "\n")  # type: ignore[arg-type]
        sys.stdout.flush()


if __name__ == "__main__":
    main()
