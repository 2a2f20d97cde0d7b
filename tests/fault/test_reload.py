"""Reload under load, with a faulty file or a moved client; SIGTERM under load."""

import os
import signal
from collections.abc import Callable

from tests.support.daemon_process import DaemonProcess, NextHopProcess, firm_yaml, wait_until
from tests.support.message_ledger import Balance, Ledger
from tests.support.senders import Senders, address, invoice_mail

Settle = Callable[..., Balance]
Check = Callable[[Balance], None]
Say = Callable[[str], None]

BROKEN = {
    "tab": "firm: Cabinet\n\tclients: []\n",
    "unknown key": firm_yaml().replace("operator:", "operateur:"),
    "duplicate key": firm_yaml() + "firm: Autre\n",
    "cut off": firm_yaml()[:300],
    "not UTF-8": "firm: Cabin\udcff\n",
    "two clients, one address": firm_yaml().replace("client1@export", "client0@export"),
    "no such connection": firm_yaml().replace("connection: agiris,", "connection: agris,"),
    "bad address": firm_yaml().replace("00000002@agiris.example", "00000002.agiris.example"),
    "empty": "",
}


def reload(daemon: DaemonProcess) -> dict[str, object]:
    """SIGHUP; the line that ends the reload."""
    since = daemon.log.stat().st_size
    os.kill(daemon.pid, signal.SIGHUP)
    ended: list[dict[str, object]] = []

    def over() -> bool:
        events = daemon.events("reloaded", since) + daemon.events("reload_failed", since)
        ended[:] = [each for each in events if "clients" in each]
        return bool(ended)

    wait_until(over, 30, daemon.tail)
    return ended[0]


def test_reload_with_a_faulty_file_changes_nothing(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say
) -> None:
    daemon.start()
    senders = Senders(daemon.smtp, ledger, threads=3)
    firm = daemon.config / "firms" / "cabinet.yaml"
    located = 0
    for name, text in BROKEN.items():
        before, since = next_hop.count(), daemon.log.stat().st_size
        firm.write_bytes(text.encode("utf-8", "surrogateescape"))
        assert reload(daemon)["event"] == "reload_failed", name
        reported = [str(each.get("fault", "")) for each in daemon.events("reload_failed", since)]
        assert any("cabinet.yaml:" in each for each in reported), (name, reported)
        located += 1
        assert daemon.metric("agiris_relay_config_last_reload_success") == 0
        wait_until(lambda before=before: next_hop.count() > before + 5, 30, daemon.tail)
    daemon.write_firm(firm_yaml())
    assert reload(daemon)["event"] == "reloaded"
    assert daemon.metric("agiris_relay_config_last_reload_success") == 1
    senders.stop()
    found = settle(daemon, next_hop, ledger)
    say(
        found.line(
            "reload with a faulty file",
            f"{located} faulty files reported with file and line, the old configuration stayed",
        )
    )
    check(found)
    assert found.submissions == found.mails, "a session was cut"
    assert daemon.terminate() == 0


def test_reload_that_moves_a_client_cuts_no_session(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say
) -> None:
    """Each message goes to the address in force when it was accepted: before the reload or after it, none other."""
    daemon.start()
    turn = 0

    def moved(number: int, turn: int) -> str:
        return f"{number:08d}@agiris.example" if number else f"turn{turn}@agiris.example"

    def make(token: str, number: int) -> object:
        # While a reload runs either address is right; `turn` is written after it, so one turn earlier or later.
        client = number % 4
        also = () if client else tuple(moved(0, each) for each in (turn - 1, turn + 1))
        return invoice_mail(token, client, to=moved(0, turn) if not client else address(client), also=also)

    daemon.write_firm(firm_yaml(lambda number: moved(number, 0)))
    assert reload(daemon)["event"] == "reloaded"
    senders = Senders(daemon.smtp, ledger, threads=4, make=make)  # type: ignore[arg-type]
    for _ in range(50):
        daemon.write_firm(firm_yaml(lambda number, turn=turn: moved(number, turn + 1)))
        before = len(ledger.acknowledged)
        assert reload(daemon)["event"] == "reloaded"
        turn += 1
        wait_until(lambda before=before: len(ledger.acknowledged) > before, 30, daemon.tail)
    senders.stop()
    found = settle(daemon, next_hop, ledger)
    say(found.line("reload that moves a client", "50 reloads that move a client"))
    check(found)
    assert found.submissions == found.mails, "a session was cut"
    assert daemon.terminate() == 0


def test_sigterm_under_load_loses_nothing(
    daemon: DaemonProcess, next_hop: NextHopProcess, ledger: Ledger, settle: Settle, check: Check, say: Say
) -> None:
    daemon.start()
    senders = Senders(daemon.smtp, ledger)
    for _ in range(5):
        before = next_hop.count()
        wait_until(lambda before=before: next_hop.count() > before + 20, 60, daemon.tail)
        workers = daemon.children()
        assert daemon.terminate() == 0, daemon.tail()
        assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")], "a worker was left behind"
        daemon.start()
    senders.stop()
    found = settle(daemon, next_hop, ledger)
    say(found.line("SIGTERM", "5 SIGTERM, exit 0 each"))
    check(found)
    assert found.dup_window == found.dup_unheard == 0
    assert daemon.terminate() == 0
