"""C1: reload with a faulty file under load. C2: reload that moves a client, under load. K3: SIGTERM under load."""

import os
import signal
from collections.abc import Callable

from tests.support.message_ledger import Balance, Books
from tests.support.rig import NextHop, Rig, firm_yaml, wait_until
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


def reload(rig: Rig) -> dict[str, object]:
    """SIGHUP; the line that ends the reload."""
    since = rig.log.stat().st_size
    os.kill(rig.pid, signal.SIGHUP)
    ended: list[dict[str, object]] = []

    def over() -> bool:
        events = rig.events("reloaded", since) + rig.events("reload_failed", since)
        ended[:] = [each for each in events if "clients" in each]
        return bool(ended)

    wait_until(over, 30, rig.tail)
    return ended[0]


def test_faulty_files_change_nothing(
    rig: Rig, sink: NextHop, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    rig.start()
    senders = Senders(rig.smtp, books, threads=3)
    firm = rig.config / "firms" / "cabinet.yaml"
    located = 0
    for name, text in BROKEN.items():
        before, since = sink.count(), rig.log.stat().st_size
        firm.write_bytes(text.encode("utf-8", "surrogateescape"))
        assert reload(rig)["event"] == "reload_failed", name
        told = [str(each.get("fault", "")) for each in rig.events("reload_failed", since)]
        assert any("cabinet.yaml:" in each for each in told), (name, told)
        located += 1
        assert rig.metric("agiris_relay_config_last_reload_success") == 0
        wait_until(lambda before=before: sink.count() > before + 5, 30, rig.tail)
    rig.write_firm(firm_yaml())
    assert reload(rig)["event"] == "reloaded"
    assert rig.metric("agiris_relay_config_last_reload_success") == 1
    senders.stop()
    found = settle(rig, sink, books)
    say(found.line("C1", f"{located} faulty files told with file and line, the old configuration stayed"))
    check(found)
    assert found.submissions == found.mails, "a session was cut"
    assert rig.terminate() == 0


def test_moved_clients_under_load(
    rig: Rig, sink: NextHop, books: Books, settle: Settle, check: Check, say: Say
) -> None:
    """Each message goes to the address in force when it was accepted: before the reload or after it, none other."""
    rig.start()
    turn = 0

    def moved(number: int, turn: int) -> str:
        return f"{number:08d}@agiris.example" if number else f"turn{turn}@agiris.example"

    def make(token: str, number: int) -> object:
        # While a reload runs either address is right; `turn` is written after it, so one turn earlier or later.
        client = number % 4
        also = () if client else tuple(moved(0, each) for each in (turn - 1, turn + 1))
        return invoice_mail(token, client, to=moved(0, turn) if not client else address(client), also=also)

    rig.write_firm(firm_yaml(lambda number: moved(number, 0)))
    assert reload(rig)["event"] == "reloaded"
    senders = Senders(rig.smtp, books, threads=4, make=make)  # type: ignore[arg-type]
    for _ in range(50):
        rig.write_firm(firm_yaml(lambda number, turn=turn: moved(number, turn + 1)))
        before = len(books.acknowledged)
        assert reload(rig)["event"] == "reloaded"
        turn += 1
        wait_until(lambda before=before: len(books.acknowledged) > before, 30, rig.tail)
    senders.stop()
    found = settle(rig, sink, books)
    say(found.line("C2", "50 reloads that move a client"))
    check(found)
    assert found.submissions == found.mails, "a session was cut"
    assert rig.terminate() == 0


def test_terminated_under_load(rig: Rig, sink: NextHop, books: Books, settle: Settle, check: Check, say: Say) -> None:
    """K3."""
    rig.start()
    senders = Senders(rig.smtp, books)
    for _ in range(5):
        before = sink.count()
        wait_until(lambda before=before: sink.count() > before + 20, 60, rig.tail)
        workers = rig.children()
        assert rig.terminate() == 0, rig.tail()
        assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")], "a worker was left behind"
        rig.start()
    senders.stop()
    found = settle(rig, sink, books)
    say(found.line("K3", "5 SIGTERM, exit 0 each"))
    check(found)
    assert found.dup_window == found.dup_unheard == 0
    assert rig.terminate() == 0
