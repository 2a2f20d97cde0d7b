"""The digest: figures that are true, both languages, one message a period."""

import email
import time
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import pytest

from relay.daemon.notices import Digests, period
from relay.model import Disposition, State
from relay.notifications.digest import MAX_RULES, Figures, digest
from relay.reasons import SENTENCES, Reason, fix
from relay.routing.policy import Firm, Terms
from relay.settings.settings import Settings
from relay.spool.port import Query
from tests.support.memory_spool import MemorySpool
from tests.support.spool_messages import CLIENT, facturx, mail, plan

FIGURES = Figures(
    messages=12,
    states={State.DELIVERED: 9, State.DEFERRED: 2, State.FAILED: 1},
    late=2,
    held={"wrong_client": 3, "restored": 1},
    invalid={"BR-CO-15": 4, "BR-FR-1<b>": 1},
)


@pytest.fixture(autouse=True)
def paris(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()


def at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


def parts(figures: Figures, language: str, firm: str = "Cabinet Durand") -> tuple[EmailMessage, str, str]:
    made = digest(
        figures, firm=firm, to="op@a.example", language=language, hostname="relay.example", smarthost="default",
        period="daily 1 a", since=at("2026-11-16 07:00"), until=at("2026-11-23 07:00"), now=at("2026-11-23 07:01"),
    )  # fmt: skip
    message = email.message_from_bytes(made.raw, policy=default)
    assert isinstance(message, EmailMessage)
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None and html is not None
    return message, text.get_content(), html.get_content()


@pytest.mark.parametrize("language", ["fr", "en"])
def test_text_and_html_tell_the_same(language: str) -> None:
    message, text, html = parts(FIGURES, language)
    for reported in ("12", "BR-CO-15", "2026-11-16", "2026-11-23", fix(Reason.WRONG_CLIENT, language).split(";")[0]):
        assert reported in text
        assert reported in _plain(html)
    assert "BR-FR-1<b>" in text
    assert "<b>" not in html
    assert message["Auto-Submitted"] == "auto-generated"
    assert "12  " + {"fr": "messages acceptés", "en": "messages accepted"}[language] in text


def test_with_nothing_held_there_is_nothing_to_do() -> None:
    _, text, html = parts(Figures(), "fr")
    assert "rien à faire" in text and "rien à faire" in _plain(html)
    assert "règle" not in text


def test_every_reason_is_described_with_its_fix() -> None:
    for language in ("fr", "en"):
        _, text, _ = parts(Figures(held=dict.fromkeys(SENTENCES, 1)), language)
        for reason in Reason:
            assert fix(reason, language) in text


def test_a_long_list_of_rules_ends() -> None:
    _, text, _ = parts(Figures(invalid={f"BR-{number:02}": 1 for number in range(100)}), "en")
    assert text.count("BR-") == MAX_RULES
    assert "85 more rules" in text


def test_the_name_of_a_firm_breaks_out_of_nothing() -> None:
    message, _, html = parts(FIGURES, "fr", "Cabinet\r\nBcc: x@y <script>")
    assert message["Bcc"] is None
    assert "<script>" not in html


def test_periods_follow_the_local_clock() -> None:
    assert period("daily", at("2026-11-24 07:00")) == (at("2026-11-23 07:00"), at("2026-11-24 07:00"))
    assert period("daily", at("2026-11-24 06:59")) == (at("2026-11-22 07:00"), at("2026-11-23 07:00"))
    assert period("weekly", at("2026-11-24 12:00")) == (at("2026-11-16 07:00"), at("2026-11-23 07:00"))
    assert period("weekly", at("2026-11-23 06:00")) == (at("2026-11-09 07:00"), at("2026-11-16 07:00"))
    since, until = period("daily", at("2026-10-25 08:00"))
    assert until - since == 25 * 3600


class Desk:
    def __init__(self, every: str, now: float) -> None:
        self.now = now
        firms = {"a": Firm("a", "Cabinet A", "op@a.example"), "b": Firm("b", "Cabinet B", "op@b.example")}
        firms["c"] = Firm("c", "Cabinet C", None)
        self.settings = Settings(Terms("relay.example", ("*@x.example",), firms=firms), digest=every)
        self.spool = MemorySpool(clock=lambda: self.now)
        self.queued: list[Any] = []
        self.again()

    def again(self) -> None:
        """As after a restart."""
        self.digests = Digests(self.spool, lambda: self.settings, self.queued.append, lambda: None, lambda: self.now)

    async def texts(self) -> dict[str, str]:
        found = {}
        for each in await self.spool.find(Query(frozenset({State.QUEUED}))):
            loaded = await self.spool.load(each.queue_id)
            if each.generated and loaded is not None:
                message = email.message_from_bytes(loaded.raw, policy=default)
                body = message.get_body(("plain",))  # type: ignore[attr-defined]
                found[str(each.recipient)] = body.get_content()
        return found


async def test_each_firm_learns_its_own_figures_once_whatever_restarts() -> None:
    desk = Desk("daily", at("2026-11-24 07:01"))
    yesterday = at("2026-11-23 15:00")
    await desk.spool.store(mail(plan(CLIENT, firm="a", documents=(facturx(),)), at=yesterday))
    await desk.spool.store(mail(plan(CLIENT, firm="a"), at=at("2026-11-24 07:00")))
    held = plan(CLIENT, firm="b", disposition=Disposition.HOLD, reason=Reason.WRONG_CLIENT)
    await desk.spool.store(mail(held, at=yesterday))
    assert await desk.digests.send() == 2
    assert await desk.digests.send() == 0
    desk.again()
    assert await desk.digests.send() == 0
    assert [event.about for event in desk.queued] == ["digest", "digest"]
    texts = await desk.texts()
    assert set(texts) == {"op@a.example", "op@b.example"}
    assert "      1  message accepté\r\n" in texts["op@a.example"]
    assert "BR-CO-15\u00a0: 1 pièce\r\n" in texts["op@a.example"]
    assert fix(Reason.WRONG_CLIENT, "fr") in texts["op@b.example"]
    assert fix(Reason.WRONG_CLIENT, "fr") not in texts["op@a.example"]
    desk.now = at("2026-11-25 07:01")
    assert await desk.digests.send() == 2


async def test_off_sends_nothing_and_a_digest_missed_for_a_day_is_not_sent() -> None:
    assert await Desk("off", at("2026-11-24 07:01")).digests.send() == 0
    for now, sent in (("2026-11-23 20:00", 1), ("2026-11-24 08:00", 0)):
        desk = Desk("weekly", at(now))
        await desk.spool.store(mail(plan(CLIENT, firm="a"), at=at("2026-11-17 15:00")))
        assert await desk.digests.send() == sent


async def test_a_firm_of_which_nothing_has_come_yet_gets_no_digest() -> None:
    """At the first start all figures are 0 and mean nothing; later a day without messages is told as such."""
    desk = Desk("daily", at("2026-11-24 07:01"))
    assert await desk.digests.send() == 0
    await desk.spool.store(mail(plan(CLIENT, firm="a"), at=at("2026-11-24 07:02")))
    desk.again()
    assert await desk.digests.send() == 0
    desk.now = at("2026-11-25 07:01")
    assert await desk.digests.send() == 1
    desk.now = at("2026-11-26 07:01")
    assert await desk.digests.send() == 1
    texts = await desk.texts()
    assert set(texts) == {"op@a.example"}


@pytest.mark.parametrize(
    ("count", "french", "english"),
    [
        (0, "0  message accepté\n", "0  messages accepted\n"),
        (1, "1  message accepté\n", "1  message accepted\n"),
        (2, "2  messages acceptés\n", "2  messages accepted\n"),
    ],
)
def test_figures_have_their_plurals(count: int, french: str, english: str) -> None:
    rules = {f"BR-{number:02}": 9 for number in range(MAX_RULES + count)}
    figures = Figures(messages=count, invalid=rules | {"BR-00": 1000 * count})
    for language, reported in (("fr", french), ("en", english)):
        text = parts(figures, language)[1].replace("\r\n", "\n")
        assert reported in text
        assert ("1 more rule\n" in text or "1 règle de plus\n" in text) == (count == 1)
        assert ("2 more rules\n" in text or "2 règles de plus\n" in text) == (count == 2)


@pytest.mark.parametrize(("count", "reported"), [(1, "BR-1\u00a0: 1 pièce"), (2, "BR-1\u00a0: 2 pièces")])
def test_documents_have_their_plurals(count: int, reported: str) -> None:
    assert reported in parts(Figures(invalid={"BR-1": count}), "fr")[1].splitlines()[-3]


def test_no_french_figure_of_one_is_in_the_plural() -> None:
    states = dict.fromkeys(State, 1)
    text = parts(Figures(1, {**states, State.QUEUED: 1, State.DEFERRED: 0, State.ACTIVE: 0}, 1), "fr")[1]
    for line in text.splitlines()[2:9]:
        assert line.startswith("      1  ") and not line.split("  ")[-1].split(" ")[0].endswith("s"), line


def _plain(html: str) -> str:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(html)
    return "".join(found)
