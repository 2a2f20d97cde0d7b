"""W2, the whole of it: what hostile documents cost the parent and the worker, and that they open nothing outside."""

import asyncio
import gc
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from relay.checker import CheckerPool
from relay.demo import samples
from relay.inspection import Candidate, Options, Verdict
from tests.support import hostile_documents

MIB = 1024 * 1024
GOOD = Candidate(samples.facturx_pdf(samples.invoice_xml()))


def status(pid: int | str, field: str) -> int:
    """Octets of a size in /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


async def test_forty_hostile_documents_leave_parent_and_worker_small() -> None:
    made = [samples.facturx_pdf(each()) for each in hostile_documents.XML.values()] + [
        each() for each in hostile_documents.PDF.values()
    ]
    assert len(made) >= 40
    pids: set[int] = set()
    pool = CheckerPool(1, 20, observe=lambda event: pids.add(event.pid))
    await pool.start()
    gc.collect()
    before, peak = status("self", "VmRSS"), 0
    for content in made:
        async with asyncio.timeout(120):
            await pool.inspect([Candidate(content)], Options())
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        peak = max([peak, *(status(pid, "VmHWM") for pid in alive)])
    (good,) = await pool.inspect([GOOD], Options())
    gc.collect()
    grown = status("self", "VmRSS") - before
    await pool.close()
    assert good.verdict is Verdict.VALID
    assert grown < 50 * MIB, f"the parent grew by {grown // MIB} MiB"
    assert 0 < peak < 1024 * MIB, f"a worker held {peak // MIB} MiB"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_no_document_opens_a_file_or_an_address(tmp_path: Path) -> None:
    canary = tmp_path / "canary.txt"
    canary.write_text("CANARY")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/canary"
        xml = samples.invoice_xml()
        start = xml.index(b"<rsm:CrossIndustryInvoice")
        root_end = xml.index(b">", start)
        calls = (
            f'<!DOCTYPE x [<!ENTITY a SYSTEM "{canary.as_uri()}"><!ENTITY b SYSTEM "{url}">]>',
            f'<!DOCTYPE x SYSTEM "{url}">',
            f'<!DOCTYPE x SYSTEM "{canary.as_uri()}">',
            f'<?xml-stylesheet href="{url}" type="text/xsl"?>',
        )
        hint = f' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:x {url}"'.encode()
        include = (
            f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" parse="text" href="{canary.as_uri()}"/>'.encode()
        )
        documents = [xml[:start] + each.encode() + xml[start:] for each in calls]
        documents.append(xml[:root_end] + hint + xml[root_end:])
        documents.append(xml[: root_end + 1] + include + xml[root_end + 1 :])
        pids: list[int] = []
        pool = CheckerPool(1, 60, observe=lambda event: pids.append(event.pid))
        await pool.start()
        await pool.inspect([GOOD], Options())  # the stylesheets are read once, before we look
        trace = tmp_path / "trace"
        words = ["strace", "-f", "-qq", "-e", "trace=open,openat,connect,execve", "-o", str(trace), "-p", str(pids[-1])]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as strace:
            try:
                while status(pids[-1], "TracerPid") == 0:
                    await asyncio.sleep(0.01)
                for document in documents:
                    for content in (document, samples.facturx_pdf(document)):
                        (report,) = await pool.inspect([Candidate(content)], Options())
                        assert report.verdict is not Verdict.VALID or document is documents[3] or hint in document
            finally:
                strace.terminate()
        await pool.close()
        seen = trace.read_text()
        assert "canary" not in seen
        assert "connect(" not in seen
        assert "execve(" not in seen
        with pytest.raises(BlockingIOError):
            listener.accept()
