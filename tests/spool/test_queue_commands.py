"""The queue commands on a real spool, as an operator types them."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay.cli.queue import queue
from relay.cli.queue_view import table
from relay.lifecycle import step
from relay.model import Delivery, Disposition, Message, OperatorAction, Retry, State
from relay.reasons import Reason
from relay.replies import Deferred, Delivered, Reply, Stage
from relay.spool.open import open_spool
from tests.support.spool_messages import facturx, mail, plan

BUSY = Deferred(Reply(451, "4.3.0", "busy\x1b[31m"), Stage.DATA)


class Bench:
    """A spool with messages in it, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite://{folder}/queue.db"

    def fill(self, *mails: Message, attempted: int = 0) -> None:
        asyncio.run(self._fill(mails, attempted))

    async def _fill(self, mails: tuple[Message, ...], attempted: int) -> None:
        spool = open_spool(self.url)
        for each in mails:
            await spool.store(each)
        for claim in await spool.claim(1_000_000, 60, attempted) if attempted else ():
            await spool.settle(claim, step(claim.delivery, BUSY, 1_000_000, Retry()))
        await spool.close()

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(queue, [words[0], "--spool", self.url, *words[1:]], env={"SUDO_USER": "anne"})

    def rows(self, *words: str) -> list[dict[str, object]]:
        return [json.loads(each) for each in self.run(*words, "--json").stdout.splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_list_has_the_keys_of_the_contract(bench: Bench) -> None:
    given = mail(plan("a@x", dossier="ACME"))
    bench.fill(given, attempted=1)
    (row,) = bench.rows("list")
    contract = {
        "queue_id": given.queue_id,
        "client": "ACME",
        "recipient": "a@x",
        "state": "deferred",
        "attempts": 1,
        "arrived": "1970-01-12T13:46:40Z",
        "next_attempt": "1970-01-12T13:47:40Z",
        "last_reply": "451 4.3.0 busy\x1b[31m",
        "reason": None,
        "size": len(given.raw),
    }
    assert row | contract == row


def finished_and_other(bench: Bench) -> dict[str, str]:
    """One delivery of each kind, oldest first: name -> queue id."""
    kinds = {
        "delivered": mail(plan("a@x", dossier="A"), at=1.0),
        "held": mail(plan("b@x", dossier="A", disposition=Disposition.HOLD), at=2.0),
        "withheld": mail(plan("c@x", dossier="B", disposition=Disposition.WITHHOLD), at=3.0),
        "notice": mail(plan("operator@x", firm=None, dossier=None), at=4.0, generated=True),
        "queued": mail(plan("d@x", dossier="A"), at=5.0),
        "dropped": mail(plan("e@x", dossier="A"), at=6.0),
        "last": mail(plan("f@x", dossier="B"), at=7.0),
    }
    bench.fill(*kinds.values())

    async def settle() -> None:
        spool = open_spool(bench.url)
        (claim,) = await spool.claim(1.0, 60, 1)
        await spool.settle(claim, step(claim.delivery, Delivered(Reply(250, "2.0.0", "ok")), 1.0, Retry()))
        await spool.apply_action(kinds["dropped"].queue_id, None, OperatorAction("drop"), 8.0)
        await spool.close()

    asyncio.run(settle())
    return {name: each.queue_id for name, each in kinds.items()}


@pytest.mark.parametrize(
    ("words", "shown", "english", "french"),
    [
        (
            (),
            ("held", "withheld", "queued", "last"),
            "not shown: 2 finished (--all), 1 notice of the relay (--all)",
            "non affichés\u00a0: 2 envois terminés (--all), 1 avis du relais (--all)",
        ),
        (("--client", "A"), ("held", "queued"), "not shown: 2 finished (--all)", "2 envois terminés (--all)"),
        (("--client", "B"), ("withheld", "last"), "", ""),
        (
            ("--limit", "1"),
            ("last",),
            "not shown: 2 finished (--all), 1 notice of the relay (--all), 3 older (--limit)",
            "3 envois plus anciens (--limit)",
        ),
        (("--all",), ("delivered", "held", "withheld", "notice", "queued", "dropped", "last"), "", ""),
        (
            ("--all", "--limit", "6"),
            ("held", "withheld", "notice", "queued", "dropped", "last"),
            "not shown: 1 older (--limit)",
            "1 envoi plus",
        ),
        (("--state", "dropped"), ("dropped",), "", ""),
        (("--state", "queued"), ("notice", "queued", "last"), "", ""),
        (("--state", "queued", "--limit", "1"), ("notice",), "not shown: 2 newer (--limit)", "2 envois plus récents"),
    ],
)
def test_list_shows_what_is_not_finished_newest_last_and_says_how_many_it_leaves_out(
    bench: Bench, words: tuple[str, ...], shown: tuple[str, ...], english: str, french: str
) -> None:
    ids = finished_and_other(bench)
    wanted = [ids[each] for each in shown]
    text, described = bench.run("list", *words), bench.run("list", *words, "--language", "fr")
    lines = text.stdout.splitlines()
    assert [each.partition(".")[0] for each in lines[: len(wanted)]] == wanted
    assert [each[: len(english)] for each in lines[len(wanted) :]] == ([english] if english else [])
    assert french in described.stdout.splitlines()[-1]
    as_json = bench.run("list", *words, "--json")
    assert [json.loads(each)["queue_id"] for each in as_json.stdout.splitlines()] == wanted
    assert as_json.stderr.startswith(english) and bool(as_json.stderr) is bool(english)


def test_list_of_nothing_but_what_is_finished_is_empty_and_says_so(bench: Bench) -> None:
    given = mail(plan("a@x"))
    bench.fill(given)
    assert bench.run("drop", given.queue_id).exit_code == 0
    result = bench.run("list")
    assert (result.exit_code, result.stdout) == (1, "not shown: 1 finished (--all)\n")


def test_list_filters_and_says_no_when_nothing_is_found(bench: Bench) -> None:
    bench.fill(mail(plan("a@x", dossier="A")), mail(plan("b@x", dossier="B", disposition=Disposition.HOLD)))
    assert [each["client"] for each in bench.rows("list", "--state", "held")] == ["B"]
    assert [each["client"] for each in bench.rows("list", "--client", "A")] == ["A"]
    assert [each["client"] for each in bench.rows("list", "--client", "cabinet/A")] == ["A"]
    nothing = bench.run("list", "--client", "C")
    assert (nothing.exit_code, nothing.stdout) == (1, "")


def test_show_tells_a_person_all_of_it(bench: Bench) -> None:
    given = mail(
        plan("a@x", documents=(facturx("F-42"),), by="recipient"),
        plan(disposition=Disposition.HOLD, reason=Reason.NO_ADDRESS, detail="sale"),
    )
    bench.fill(given, attempted=1)
    shown = bench.run("show", f"{given.queue_id}.2", "--language", "fr")
    assert shown.exit_code == 0
    for words in (
        "<platform@jefacture.example>",
        "acme@export.relay.example",
        "pièce F-42.pdf  Factur-X  conservé  invalide  numéro F-42  [BR-CO-15]",
        "le dossier n'a pas d'adresse Agiris pour ce type de pièce\u00a0: vente",
        "complétez `agiris_address`",
        "451 4.3.0 busy?[31m",
        "deferred",
    ):
        assert words in shown.stdout, words
    assert "\x1b" not in shown.stdout
    assert "None" not in shown.stdout


def test_show_as_json(bench: Bench) -> None:
    given = mail(plan("a@x", documents=(facturx("F-42"),)))
    bench.fill(given)
    (shown,) = bench.rows("show", given.queue_id)
    assert shown["envelope"]["sender"] == "platform@jefacture.example"  # type: ignore[index]
    assert shown["plans"][0]["documents"][0]["findings"][0]["rule"] == "BR-CO-15"  # type: ignore[index]
    assert [each["what"] for each in shown["history"]] == ["accepted"]  # type: ignore[attr-defined]


def test_orders_are_carried_out_and_kept_with_the_name(bench: Bench) -> None:
    given = mail(plan("a@x", "b@x"))
    bench.fill(given)
    (held,) = bench.rows("hold", f"{given.queue_id}.2", "--reason", "ask first")
    assert (held["id"], held["state"], held["reason"]) == (f"{given.queue_id}.2", "held", "by_operator")
    assert [each["state"] for each in bench.rows("release", given.queue_id)] == ["queued"]
    assert [each["state"] for each in bench.rows("drop", given.queue_id)] == ["dropped", "dropped"]
    (shown,) = bench.rows("show", given.queue_id)
    history = [(each["number"], each["what"], each["by"], each["text"]) for each in shown["history"]]  # type: ignore[attr-defined]
    assert history[1:] == [
        (2, "held", "anne", "ask first"),
        (2, "released", "anne", ""),
        (1, "dropped", "anne", ""),
        (2, "dropped", "anne", ""),
    ]


def test_release_without_a_recipient_says_why_not_and_what_to_do(bench: Bench) -> None:
    given = mail(plan(disposition=Disposition.HOLD, reason=Reason.UNKNOWN_CLIENT, detail="who@x"))
    bench.fill(given)
    refused = bench.run("release", given.queue_id)
    assert refused.exit_code == 1
    assert "no client is known for who@x" in refused.stderr
    assert f"agiris-relay queue replan {given.queue_id}" in refused.stderr


def test_an_order_that_does_not_apply(bench: Bench) -> None:
    given = mail()
    bench.fill(given)
    refused = bench.run("retry", given.queue_id, "NOSUCH", f"{given.queue_id}.9")
    assert refused.exit_code == 1
    assert refused.stderr.splitlines() == [
        f"{given.queue_id}.1 is queued: retry does not apply",
        "no delivery NOSUCH in the queue",
        f"no delivery {given.queue_id}.9 in the queue",
    ]


def test_export_gives_the_octets_and_spares_what_is_there(bench: Bench, tmp_path: Path) -> None:
    given, target = mail(raw=bytes(range(256))), tmp_path / "mail.eml"
    bench.fill(given)
    assert bench.run("export", given.queue_id, "--to", str(target)).exit_code == 0
    assert target.read_bytes() == given.raw
    assert target.stat().st_mode & 0o777 == 0o600
    assert bench.run("export", given.queue_id, "--to", str(target)).exit_code == 2
    assert bench.run("export", given.queue_id, "--to", "-").stdout_bytes == given.raw


@pytest.mark.parametrize("words", [("show", "NOSUCH"), ("drop", "NOSUCH"), ("export", "NOSUCH", "--to", "-")])
def test_an_unknown_id_is_a_no(bench: Bench, words: tuple[str, ...]) -> None:
    bench.fill(mail())
    result = bench.run(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "NOSUCH" in result.stderr


@pytest.mark.parametrize("id", ["A.b", "../x", "A.1.2", "'; DROP"])
def test_what_is_no_id_is_wrong_usage(bench: Bench, id: str) -> None:
    bench.fill(mail())
    assert bench.run("show", id).exit_code == 2


def test_a_spool_that_is_not_there(bench: Bench) -> None:
    result = bench.run("list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no spool at" in result.stderr


def test_every_state_can_be_asked_for(bench: Bench) -> None:
    bench.fill(mail())
    assert [bench.run("list", "--state", state.value).exit_code for state in State] == [0, 1, 1, 1, 1, 1, 1, 1]


def test_a_spool_of_a_newer_release_is_78_here_as_for_the_daemon(bench: Bench, tmp_path: Path) -> None:
    bench.fill()
    with closing(sqlite3.connect(tmp_path / "queue.db")) as db:
        db.execute("PRAGMA user_version = 99")
    result = bench.run("list")
    assert result.exit_code == 78
    assert "newer agiris-relay (schema 99" in result.stderr


def test_on_a_terminal_nothing_is_wider_than_it() -> None:
    long = Delivery(
        *("A" * 15, 1, 0, "00012345@agiris.example", State.DEFERRED, 1_000_000, None),
        firm="cabinet-durand",
        dossier="00012345",
        last_reply="451 4.4.1 no connection to the next hop: 127.0.0.1:2526: Connection refused, and so on",
    )
    (line,) = table([long], "en")
    assert len(line) > 120 and table([long], "en", 300) == [line]
    block = table([long], "en", 80)
    assert all(len(each) <= 80 for each in block)
    assert block[0].startswith("A" * 15 + ".1") and "deferred" in block[0]
    assert block[1].strip() == "cabinet-durand/00012345 → 00012345@agiris.example"
    assert "".join(line.split()).endswith("".join("".join(block[2:]).split()))
