"""The next hop: fails at each stage, hangs, is down for days, cannot be resolved, or moves."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from relay.lifecycle import JITTER, backoff, minimum_attempts
from relay.model import Retry
from tests.support.daemon_process import CONNECTIONS, DaemonProcess, NextHopProcess, firm_yaml, wait_until
from tests.support.dns_server import SILENT, Zone
from tests.support.faketime import faketime
from tests.support.message_ledger import Balance, Ledger
from tests.support.next_hops import Stage
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


def outcomes(daemon: DaemonProcess, queue_id: str) -> list[str]:
    """What became of each attempt, oldest first."""
    return [
        str(each["event"]) for each in daemon.events() if each.get("queue_id") == queue_id and each["event"] in OVER
    ]


def own_smarthosts(daemon: DaemonProcess, ports: dict[str, int]) -> None:
    """Rewrite the configuration: smarthosts by name, and for client N the one called hopN, if there is."""
    relay = daemon.config / "relay.yaml"
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
    daemon.write_firm(firm)


def test_fault_at_each_stage_of_a_next_hop_has_the_outcome_of_the_table(
    daemons: Callable[..., DaemonProcess],
    next_hop: NextHopProcess,
    stage: Stage,
    ledger: Ledger,
    settle: Settle,
    check: Check,
    say: Say,
) -> None:
    """What is temporary is tried again and arrives, what is final is reported, and the others are not delayed."""
    hops = {number: stage.hop(next_hop.journal) for number in FAULTS}
    ports = {"default": next_hop.port} | {f"hop{number}": hop.address[1] for number, hop in hops.items()}
    daemon = daemons(next_hop.port)
    own_smarthosts(daemon, ports)
    daemon.start()
    wrong: list[str] = []

    def play(number: int) -> None:
        for index, (where, what, expected) in enumerate(FAULTS[number]):
            token = f"N1C{number}X{index:02d}"
            hops[number].does(**{where: what})
            assert submit(daemon.smtp, invoice_mail(token, number), ledger)
            queue_id = ledger.acknowledged[token][0]
            wait_until(lambda queue_id=queue_id: bool(outcomes(daemon, queue_id)), 30, f"{where} {what}: no outcome")
            first = outcomes(daemon, queue_id)[0]
            hops[number].behaves()
            if first not in expected.split(" or "):
                wrong.append(f"{where} {what}: {first}, not {expected}")
            if first == "failed":
                del ledger.acknowledged[token]
                continue
            wait_until(
                lambda queue_id=queue_id: "delivered" in outcomes(daemon, queue_id), 30, f"{where} {what}: stuck"
            )

    threads = [Collected(play, number) for number in FAULTS]
    others = Senders(daemon.smtp, ledger, threads=1, prefix="N1OTHER", make=lambda token, _: invoice_mail(token, 0))
    for thread in threads:
        thread.end()
    others.stop()
    assert wrong == []
    found = settle(daemon, next_hop, ledger)
    say(
        found.line(
            "next hop fails at each stage",
            f"{sum(map(len, FAULTS.values()))} faults, each with the outcome of the table",
        )
    )
    check(found)
    assert daemon.terminate() == 0


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


def test_next_hop_that_hangs_delays_no_other(
    daemons: Callable[..., DaemonProcess],
    next_hop: NextHopProcess,
    stage: Stage,
    ledger: Ledger,
    settle: Settle,
    check: Check,
    say: Say,
) -> None:
    hop = stage.hop(next_hop.journal)
    daemon = daemons(next_hop.port)
    own_smarthosts(daemon, {"default": next_hop.port, "hop1": hop.address[1]})
    daemon.start()
    hop.does(body="hang")
    for number in range(CONNECTIONS + 2):
        assert submit(daemon.smtp, invoice_mail(f"N1HANG{number}", 1), ledger)
    wait_until(lambda: hop.next_hop.noted == CONNECTIONS, 30, daemon.tail)
    for number in range(10):
        assert submit(daemon.smtp, invoice_mail(f"N1QUICK{number}", 0), ledger)
    wait_until(lambda: len(daemon.events("delivered")) == 10, 30, lambda: f"held up by another:\n{daemon.tail()}")
    assert not daemon.events("outcome_unknown"), "the first are still under way"
    hop.behaves()
    found = settle(daemon, next_hop, ledger)
    say(found.line("next hop hangs", f"{CONNECTIONS} hang after the dot, 10 to another next hop delivered meanwhile"))
    check(found)
    assert found.dup_unheard == CONNECTIONS
    assert daemon.terminate() == 0


RETRY = Retry(first=4 * 3600, factor=3.0, ceiling=24 * 3600, warn_after=4 * 3600, give_up=5 * 86400)


def test_next_hop_down_for_days_is_given_up_after_the_scheduled_attempts(
    daemons: Callable[..., DaemonProcess], next_hop: NextHopProcess, say: Say, ledger: Ledger, tmp_path: Path
) -> None:
    """The attempts keep the schedule; one warning, one report, and that not before both time and attempts are over."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    daemon = daemons(
        next_hop.port,
        environment=faketime(clock),
        replace={"first: 1s, ceiling: 2s": "first: 4h, factor: 3, ceiling: 24h, warn_after: 4h, give_up: 5d"},
    )
    next_hop.refuse()
    daemon.start()
    assert submit(daemon.smtp, invoice_mail("N2"), ledger)
    queue_id = ledger.acknowledged["N2"][0]

    def ended() -> list[dict[str, Any]]:
        return [each for each in daemon.events() if each.get("queue_id") == queue_id and each["event"] in OVER]

    arrived = time.time()
    while True:
        made = len(ended())
        wait_until(lambda made=made: len(ended()) > made, 30, daemon.tail)
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
    reported = [
        each for each in daemon.command("queue", "list", "--all") if each["recipient"] == "noreply@jefacture.example"
    ]
    say(
        f"next hop down for days: {attempts} attempts in {age / 3600:.0f} h, as scheduled, then given up;"
        f" {len(reported)} reports to the sender"
    )
    assert len(reported) == 2, "one of the delay, one of the end"
    assert daemon.terminate() == 0


NAME = "hop.n3.example"


def test_unresolvable_name_of_the_next_hop_defers_and_a_moved_one_is_found(
    daemons: Callable[..., DaemonProcess],
    next_hop: NextHopProcess,
    stage: Stage,
    ledger: Ledger,
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
    first = stage.hop(next_hop.journal)
    daemon = daemons(first.address[1], replace={"host: 127.0.0.1": f"host: {NAME}"})
    daemon.start(("unshare", "-m", "sh", "-c", f'mount --bind {resolver} /etc/resolv.conf && exec "$@"', "sh"))
    zones: dict[str, Zone] = {
        "SERVFAIL": dict.fromkeys((f"{NAME} A", f"{NAME} AAAA"), "SERVFAIL"),
        "NXDOMAIN": {},
        "no address": {f"{NAME} MX": ["10 a.example."]},
        "silent": dict.fromkeys((f"{NAME} A", f"{NAME} AAAA"), SILENT),
    }
    for name, zone in zones.items():
        names.zone = zone
        token = f"N3{len(ledger.sent)}"
        assert submit(daemon.smtp, invoice_mail(token), ledger)
        queue_id = ledger.acknowledged[token][0]
        wait_until(lambda queue_id=queue_id: bool(outcomes(daemon, queue_id)), 30, f"{name}: no outcome")
        assert outcomes(daemon, queue_id)[0] == "deferred", name
        assert {each["stage"] for each in daemon.events("deferred") if each["queue_id"] == queue_id} == {"dns"}
    names.zone = {f"{NAME} A": ["127.0.0.1"]}
    wait_until(lambda: first.next_hop.noted == len(zones), 30, daemon.tail)
    second = stage.hop(next_hop.journal, ("127.0.0.2", first.address[1]))
    first.down()
    names.zone = {f"{NAME} A": ["127.0.0.2"]}
    for number in range(5):
        assert submit(daemon.smtp, invoice_mail(f"N3MOVED{number}"), ledger)
    found = settle(daemon, next_hop, ledger)
    say(
        found.line(
            "next hop cannot be resolved",
            f"{', '.join(zones)}: deferred; {second.next_hop.noted} mails after the name had moved",
        )
    )
    check(found)
    assert second.next_hop.noted == 5
    assert not daemon.events("failed")
    assert daemon.terminate() == 0


def stamp(event: dict[str, Any]) -> float:
    """When the daemon wrote it, by its own clock: seconds since the epoch."""
    return datetime.fromisoformat(event["time"]).timestamp()
