"""What the check costs, warm, on one worker: `python -m tests.bench.bench_facturx [--rounds N] [--json]`; with `--long`
what invoices of many lines cost, and what is found in them.

Milliseconds per document: `inside` as the worker measures it, `asked` as the daemon waits for it. It asserts nothing:
the machine's noise would decide. For comparison: 3.0 ms median, 20 ms p95 on two cores.
"""

import argparse
import asyncio
import base64
import io
import itertools
import json
import statistics
import time
from collections.abc import Iterator

from facturx import get_xml_from_pdf

from relay.checker import CheckerPool
from relay.demo import samples
from relay.facturx.inspect import inspect
from relay.facturx.invoice import PROFILES
from relay.inspection import Candidate, Options, Report
from tests.support.long_invoices import WRONG, long_invoice


def documents() -> dict[str, list[Candidate]]:
    """Messages by name: each is what one request carries."""
    mails = {f"{each.name}": [_facturx(samples.invoice_xml(profile=each.name))] for each in PROFILES}
    mails["en16931, wrong total"] = [_facturx(samples.invoice_xml(wrong_total=True))]
    mails["(b) 130 KB mail"] = [_facturx(samples.invoice_xml(), padding=88_000)]
    original = base64.encodebytes(samples.original_pdf(samples.invoice_xml(), padding=340_000))
    mails["(c) 600 KB mail with its original"] = [*mails["(b) 130 KB mail"], Candidate(original, "base64")]
    return mails


def _facturx(xml: bytes, padding: int = 0) -> Candidate:
    return Candidate(base64.encodebytes(samples.facturx_pdf(xml, padding=padding)), "base64")


async def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of every message at both levels, and the throughput of two workers."""
    pool = CheckerPool(1, 30)
    await pool.start()
    found: dict[str, dict[str, float]] = {}
    for level in ("structure", "full"):
        for name, mail in documents().items():
            await pool.inspect(mail, Options(level=level))
            inside, asked = [], []
            for _ in range(rounds):
                started = time.perf_counter()
                reports = await pool.inspect(mail, Options(level=level))
                asked.append((time.perf_counter() - started) * 1000)
                inside.append(sum(report.ms for report in reports))
            found[f"{level}: {name}"] = {
                "inside": round(statistics.median(inside), 2),
                "asked": round(statistics.median(asked), 2),
                "p95": round(statistics.quantiles(asked, n=20)[-1], 2),
            }
    await pool.close()
    for name in ("en16931", "extended"):
        own = factur_x_itself(samples.facturx_pdf(samples.invoice_xml(profile=name)), rounds)
        ratio = {level: round(found[f"{level}: {name}"]["inside"] / own, 2) for level in ("structure", "full")}
        found[f"factur-x itself (extraction, XSD): {name}"] = {
            "inside": own,
            **{f"ours_{k}": v for k, v in ratio.items()},
        }
    found["two workers, full, (b)"] = {"documents_per_second": await throughput(rounds)}
    return found


def factur_x_itself(pdf: bytes, rounds: int) -> float:
    """Median ms of the package's own check. Without a Saxon server its Schematron check says True to anything, so it
    is left out: what remains is extraction and XSD, to be compared with our level `structure`."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        get_xml_from_pdf(io.BytesIO(pdf), check_xsd=True, check_schematron=False)
        took.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(took), 2)


async def throughput(rounds: int) -> float:
    """Documents a second of two warm workers."""
    pool, mail = CheckerPool(2, 30), documents()["(b) 130 KB mail"]
    await pool.start()
    await asyncio.gather(*(pool.inspect(mail, Options()) for _ in range(8)))
    started = time.perf_counter()
    for _ in range(rounds // 10):
        await asyncio.gather(*(pool.inspect(mail, Options()) for _ in range(20)))
    took = time.perf_counter() - started
    await pool.close()
    return round(rounds // 10 * 20 / took, 1)


LENGTHS = (1_000, 4_000, 10_000)


def long_invoices(rounds: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Seconds of CPU, the least of all rounds, of the whole check of one Factur-X, and what it says.

    Detailed lines are three times as long; of 10,000 the XML would exceed the limit of 20 MB.
    """
    for profile, (kind, lengths), wrong in itertools.product(
        ("en16931", "extended"),
        (("plain", LENGTHS), ("detailed", LENGTHS[:2])),
        (None, "total", "line", "VAT breakdown"),
    ):
        for lines in lengths:
            xml = long_invoice(lines, profile, detailed=kind == "detailed")
            candidate = Candidate(samples.facturx_pdf(WRONG[wrong](xml) if wrong else xml))
            inspect([_facturx(samples.invoice_xml(profile=profile))], Options())
            took, report = min(
                (_cpu_seconds(candidate) for _ in range(max(1, rounds))), key=lambda measured: measured[0]
            )
            rules = ", ".join(dict.fromkeys(finding.rule for finding in report.findings))
            name = f"{profile}, {kind} lines, {f'wrong {wrong}' if wrong else 'right'}: {lines}"
            yield (
                name,
                {
                    "cpu_s": round(took, 2),
                    "µs_a_line": round(took / lines * 1e6),
                    "verdict": report.verdict.value,
                    "rules": rules or "-",
                },
            )


def _cpu_seconds(candidate: Candidate) -> tuple[float, Report]:
    started = time.process_time()
    (report,) = inspect([candidate], Options())
    return time.process_time() - started, report


def main() -> None:
    """Print one line a message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="100; with --long 1")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--long", action="store_true", help="invoices of 1,000 to 10,000 lines; one round is enough")
    said = parser.parse_args()
    found = long_invoices(said.rounds or 1) if said.long else asyncio.run(measure(said.rounds or 100)).items()
    for name, figures in found:
        line = "  ".join(f"{key} {value}" for key, value in figures.items())
        print(json.dumps({"case": name, **figures}) if said.json else f"{name:52} {line}")


if __name__ == "__main__":
    main()
