"""The program under the system call rules of its unit: checker, workers, spool, names, sockets and TLS do their work.

Needs no systemd running: tests.support.systemd_sandbox lays the unit's own rules on by seccomp.
"""

import ctypes.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.checker import landlock

ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.skipif(
        shutil.which("systemd-analyze") is None, reason="systemd-analyze expands the sets of the filter"
    ),
    pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="libseccomp is not installed"),
]


def under_the_unit(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.systemd_sandbox", sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def test_the_sandbox_has_teeth():
    code = """
import mmap, os, socket
def errno(call):
    try: call()
    except OSError as error: return error.errno
    return 0
print(errno(lambda: mmap.mmap(-1, 4096, prot=7)))
print(errno(lambda: os.chown("/", 0, 0)))
print(errno(lambda: os.nice(1)))
print(errno(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)))
print(errno(lambda: os.open("/", 0)))
"""
    assert under_the_unit(code)[:5] == ["1", "1", "1", "97", "0"]


def test_the_checker_in_its_workers():
    code = """
import asyncio
from relay.demo import samples, sample_pdf
from relay.inspection import Candidate, Options
from relay.checker.pool import CheckerPool as Pool

async def main():
    pool = Pool(1, 60)
    await pool.start()
    try:
        xml = samples.invoice_xml(number="F-2026-77")
        documents = [Candidate(sample_pdf.facturx_pdf(xml)), Candidate(sample_pdf.plain_pdf("Facture F-2026-77"))]
        reports = await pool.inspect(documents, Options())
        print(pool.self_test, *(report.verdict for report in reports), reports[1].mentions, pool.restarts)
        print(*pool.protections)
    finally:
        await pool.close()

asyncio.run(main())
"""
    checked, protections, *_ = under_the_unit(code)
    assert checked == "None valid not-factur-x ('F-2026-77',) 0"
    wanted = ["landlock"] if landlock.version() else []  # RestrictNamespaces= refuses the network namespace
    assert protections.split() == [*wanted, "seccomp"]


def test_the_spool(tmp_path):
    code = """
import asyncio, sys
from relay.spool.open import open_spool
from tests.support import spool_messages

async def main():
    spool = open_spool("sqlite://" + sys.argv[1] + "/spool.db")
    mail = spool_messages.mail(spool_messages.plan("a@agiris.example"))
    stored = await spool.store(mail)
    print(stored.queue_id == mail.queue_id, (await spool.load(mail.queue_id)).raw == mail.raw, spool.unhealthy())
    await spool.close()

asyncio.run(main())
"""
    assert under_the_unit(code, tmp_path)[0] == "True True None"


def test_http_resolver_and_tls():
    code = """
import asyncio, ssl, socket, urllib.request
from relay.observability.http import Http
from relay.observability.metrics import Metrics
from relay.observability.systemd import Systemd

async def main():
    http = Http("127.0.0.1:0", Metrics(), list, dict, print)
    await http.start()
    loop = asyncio.get_running_loop()
    page = await loop.run_in_executor(None, lambda: urllib.request.urlopen(f"http://{http.address}/metrics").read())
    await http.close()
    names = await loop.getaddrinfo("localhost", 25, type=socket.SOCK_STREAM)
    print(b"process_resident_memory_bytes" in page, bool(names), bool(ssl.create_default_context()))

asyncio.run(main())
"""
    assert under_the_unit(code)[0] == "True True True"
