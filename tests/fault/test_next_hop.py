"""N1: the next hop fails at each stage. N2: it is down for days. N3: its name cannot be looked up, or moves."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from relay.lifecycle import JITTER, backoff, minimum_attempts
from relay.model import Retry
from tests.support.dns_server import SILENT, Zone
from tests.support.faketime import faketime
from tests.support.message_ledger import Balance, Books
from tests.support.next_hops import Stage
from tests.support.rig import CONNECTIONS, NextHop, Rig, firm_yaml, wait_until
from tests.support.senders import Senders, invoice_mail, submit

Settle = Callable[..., Balance]
Check = Callable[[Balance], None]
Say = Callable[[str], None]
Need = Callable[..., None]

FAULTS = {
    1: (
        ("connect", "421", "deferred"),
        ("connect", "drop", "deferred"),
        ("connect", "garbage", "deferred"),
        ("connect", "slow", "delivered"),
        ("ehlo", "502", "delivered"),  # then HELO
        ("ehlo", "bare", "delivered"),
        ("ehlo", "drop", "deferred"),
    ),
    2: (
        ("mail", "451", "deferred"),
        ("mail", "550", "failed"),
        ("mail", "drop", "deferred"),
        ("rcpt", "450", "deferred"),
        ("rcpt", "552", "deferred"),
        ("rcpt", "550", "failed"),
        ("rcpt", "garbage", "deferred"),
    ),
    3: (
        ("data", "451", "deferred"),
        ("data", "554", "failed"),
        (
            "content",
            "reset",
            "outcome_unknown or deferred",
        ),  # did the final dot leave before it?
        ("body", "451", "deferred"),
        ("body", "554", "failed"),
        ("body", "reset", "outcome_unknown"),
        ("body", "garbage", "outcome_unknown"),
        ("body", "slow", "delivered"),
    ),
}
"""By client, each with a next hop of its own: stage, what it does there, what becomes of the message."""

OVER = ("delivered", "deferred", "outcome_unknown", "failed")


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def outcomes(rig: Rig, queue_id: str) -> list[str]:
    """What became of each attempt, oldest first."""
    return [str(each["event"]) for each in rig.events() if each.get("queue_id") == queue_id and each["event"] in OVER]


def own_smarthosts(rig: Rig, ports: dict[str, int]) -> None:
    """Rewrite the configuration: smarthosts by name, and for client N the one called hopN, if there is."""
    relay = rig.config / "relay.yaml"
    lines = relay.read_text().splitlines(keepends=True)
    at = lines.index("smarthosts:\n") + 1
    own = [
        f"  {name}: {{host: 127.0.0.1, port: {port}, tls: none, connections: {CONNECTIONS}}}\n"
        for name, port in ports.items()
    ]
    relay.write_text("".join((*lines[:at], *own, *lines[at + 1 :])))
    firm = firm_yaml()
    for name in ports:
        address = f"recipients: [client{name.removeprefix('hop')}@"
        firm = firm.replace(address, f"smarthost: {name}, {address}")
    rig.write_firm(firm)


def test_each_fault_of_a_next_hop(
    rigs: Callable[..., Rig],
    sink: NextHop,
    stage: Stage,
    books: Books,
    settle: Settle,
    check: Check,
    say: Say,
) -> None:
    """What is temporary is tried again and arrives, what is final is reported, and the others are not delayed."""
    hops = {number: stage.hop(sink.journal) for number in FAULTS}
    ports = {"default": sink.port} | {f"hop{number}": hop.address[1] for number, hop in hops.items()}
    rig = rigs(sink.port)
    own_smarthosts(rig, ports)
    rig.start()
    wrong: list[str] = []

    def play(number: int) -> None:
        for index, (where, what, expected) in enumerate(FAULTS[number]):
            token = f"N1C{number}X{index:02d}"
            hops[number].does(**{where: what})
            assert submit(rig.smtp, invoice_mail(token, number), books)
            queue_id = books.acknowledged[token][0]
            wait_until(lambda queue_id=queue_id: bool(outcomes(rig, queue_id)), 30, f"{where} {what}: no outcome")
            first = outcomes(rig, queue_id)[0]
            hops[number].behaves()
            if first not in expected.split(" or "):
                wrong.append(f"{where} {what}: {first}, not {expected}")
            if first == "failed":
                del books.acknowledged[token]
                continue
            wait_until(lambda queue_id=queue_id: "delivered" in outcomes(rig, queue_id), 30, f"{where} {what}: stuck")

    threads = [Collected(play, number) for number in FAULTS]
    others = Senders(rig.smtp, books, threads=1, prefix="N1OTHER", make=lambda token, _: invoice_mail(token, 0))
    for thread in threads:
        thread.end()
    others.stop()
    assert wrong == []
    found = settle(rig, sink, books)
    say(found.line("N1", f"{sum(map(len, FAULTS.values()))} faults, each with the outcome of the table"))
    check(found)
    assert rig.terminate() == 0


class Collected(threading.Thread):
    """A thread whose failure is that of the test."""

    def __init__(self, work: Callable[[int], None], number: int) -> None:
        super().__init__(daemon=True)
        self._work, self._number = work, number
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work(self._number)
        except BaseException as error:
            self._error = error

    def end(self) -> None:
        self.join(120)
        if self._error is not None:
            raise self._error


def test_one_that_hangs_delays_nobody_else(
    rigs: Callable[..., Rig], sink: NextHop, stage: Stage, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    hop = stage.hop(sink.journal)
    rig = rigs(sink.port)
    own_smarthosts(rig, {"default": sink.port, "hop1": hop.address[1]})
    rig.start()
    hop.does(body="hang")
    for number in range(CONNECTIONS + 2):
        assert submit(rig.smtp, invoice_mail(f"N1HANG{number}", 1), books)
    wait_until(lambda: hop.sink.noted == CONNECTIONS, 30, rig.tail)
    for number in range(10):
        assert submit(rig.smtp, invoice_mail(f"N1QUICK{number}", 0), books)
    wait_until(lambda: len(rig.events("delivered")) == 10, 30, lambda: f"held up by another:\n{rig.tail()}")
    assert not rig.events("outcome_unknown"), "the first are still under way"
    hop.behaves()
    found = settle(rig, sink, books)
    say(found.line("N1 hang", f"{CONNECTIONS} hang after the dot, 10 to another next hop delivered meanwhile"))
    check(found)
    assert found.dup_unheard == CONNECTIONS
    assert rig.terminate() == 0


RETRY = Retry(first=4 * 3600, factor=3.0, ceiling=24 * 3600, warn_after=4 * 3600, give_up=5 * 86400)


def test_down_for_days(rigs: Callable[..., Rig], sink: NextHop, say: Say, books: Books, tmp_path: Path) -> None:
    """The attempts keep the schedule; one warning, one report, and that not before both time and attempts are over."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    rig = rigs(
        sink.port,
        environment=faketime(clock),
        replace={"first: 1s, ceiling: 2s": "first: 4h, factor: 3, ceiling: 24h, warn_after: 4h, give_up: 5d"},
    )
    sink.refuse()
    rig.start()
    assert submit(rig.smtp, invoice_mail("N2"), books)
    queue_id = books.acknowledged["N2"][0]

    def ended() -> list[dict[str, Any]]:
        return [each for each in rig.events() if each.get("queue_id") == queue_id and each["event"] in OVER]

    arrived = time.time()
    while True:
        made = len(ended())
        wait_until(lambda made=made: len(ended()) > made, 30, rig.tail)
        last = ended()[-1]
        if last["event"] == "failed":
            break
        gap = last["next_attempt"] - stamp(last)
        expected = backoff(RETRY, len(ended()))
        assert abs(gap - expected) <= JITTER * expected + 2, (len(ended()), gap, expected)
        clock.write_text(f"+{last['next_attempt'] - time.time() + 1:.0f}")
    attempts, age = len(ended()), stamp(ended()[-1]) - arrived
    assert age > RETRY.give_up
    assert attempts >= minimum_attempts(RETRY)
    assert stamp(ended()[-2]) - arrived <= RETRY.give_up, "given up at the first attempt after it"
    told = [each for each in rig.command("queue", "list", "--all") if each["recipient"] == "noreply@jefacture.example"]
    say(
        f"N2: {attempts} attempts in {age / 3600:.0f} h, as scheduled, then given up; {len(told)} reports to the sender"
    )
    assert len(told) == 2, "one of the delay, one of the end"
    assert rig.terminate() == 0


NAME = "hop.n3.example"


def test_the_name_of_the_next_hop(
    rigs: Callable[..., Rig],
    sink: NextHop,
    stage: Stage,
    books: Books,
    settle: Settle,
    check: Check,
    say: Say,
    need: Need,
    tmp_path: Path,
) -> None:
    """Not found, not told, no answer: deferred, for the operator typed the name; and a new address is found."""
    need("unshare", "mount", root=True)
    server = "127.0.35.1"
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {server}\noptions timeout:1 attempts:1\n")
    names = stage.names({}, (server, 53))
    first = stage.hop(sink.journal)
    rig = rigs(first.address[1], replace={"host: 127.0.0.1": f"host: {NAME}"})
    rig.start(("unshare", "-m", "sh", "-c", f'mount --bind {resolver} /etc/resolv.conf && exec "$@"', "sh"))
    zones: dict[str, Zone] = {
        "SERVFAIL": dict.fromkeys((f"{NAME} A", f"{NAME} AAAA"), "SERVFAIL"),
        "NXDOMAIN": {},
        "no address": {f"{NAME} MX": ["10 a.example."]},
        "silent": dict.fromkeys((f"{NAME} A", f"{NAME} AAAA"), SILENT),
    }
    for name, zone in zones.items():
        names.zone = zone
        token = f"N3{len(books.sent)}"
        assert submit(rig.smtp, invoice_mail(token), books)
        queue_id = books.acknowledged[token][0]
        wait_until(lambda queue_id=queue_id: bool(outcomes(rig, queue_id)), 30, f"{name}: no outcome")
        assert outcomes(rig, queue_id)[0] == "deferred", name
        assert {each["stage"] for each in rig.events("deferred") if each["queue_id"] == queue_id} == {"dns"}
    names.zone = {f"{NAME} A": ["127.0.0.1"]}
    wait_until(lambda: first.sink.noted == len(zones), 30, rig.tail)
    second = stage.hop(sink.journal, ("127.0.0.2", first.address[1]))
    first.down()
    names.zone = {f"{NAME} A": ["127.0.0.2"]}
    for number in range(5):
        assert submit(rig.smtp, invoice_mail(f"N3MOVED{number}"), books)
    found = settle(rig, sink, books)
    say(found.line("N3", f"{', '.join(zones)}: deferred; {second.sink.noted} mails after the name had moved"))
    check(found)
    assert second.sink.noted == 5
    assert not rig.events("failed")
    assert rig.terminate() == 0


def stamp(event: dict[str, Any]) -> float:
    """When the daemon wrote it, by its own clock: seconds since the epoch."""
    return datetime.fromisoformat(event["time"]).timestamp()
