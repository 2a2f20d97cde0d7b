"""What a firm, the host's operator or the platform is told names no other firm: over all reasons and both languages."""

import asyncio
import email
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from relay.checker import Evaluation
from relay.daemon.notices import Digests, Notices
from relay.inspection import Party
from relay.intake import Intake
from relay.lifecycle import Transition
from relay.model import Disposition, Envelope, Plan, Recipient, Rejection, Retry, State
from relay.notifications import status_report
from relay.reasons import Reason, sentence
from relay.replies import Reply
from relay.routing.decision import Decision
from relay.routing.directory import Directory
from relay.routing.policy import Addresses, Check, Client, Firm, Identify, Policy, Terms
from relay.settings.settings import Settings
from relay.spool.port import Query
from tests.support.decisions import Setting, setting
from tests.support.memory_spool import MemorySpool
from tests.support.spool_messages import facturx, mail

HOST_OPERATOR = "ops@host.example"
NOW = 1_795_000_000.0


@dataclass(frozen=True)
class World:
    """One firm with one client; every word of it is its own."""

    key: str
    siren: str

    @property
    def firm(self) -> Firm:
        return Firm(self.key, f"Cabinet {self.key.title()}", f"chef@{self.key}.example")

    @property
    def client(self) -> Client:
        to = f"boite-{self.key}@agiris.example"
        return Client(
            self.key,
            f"D-{self.key}",
            f"Client de {self.key}",
            self.siren,
            addresses=Addresses(to, to, to, to),
            recipients=(f"{self.key}@export.example",),
        )

    @property
    def secrets(self) -> frozenset[str]:
        """In lower case: what nobody outside the firm and the host may read. The key is in all names."""
        return frozenset({self.key, self.siren})


ALPHA, BETA, GAMMA = World("alphonse", "732829320"), World("bertille", "356000000"), World("gaspard", "552100554")
WORLDS = (ALPHA, BETA, GAMMA)


def terms(identify: Sequence[str], wrong_client: Policy = Policy.HOLD) -> Terms:
    return Terms(
        hostname="relay.example",
        recipients=("*@export.example",),
        identify=tuple(Identify("header", "x-dossier") if each == "header" else Identify(each) for each in identify),
        check=Check(on_wrong_client=wrong_client),
        firms={each.key: each.firm for each in WORLDS},
        clients={each.client.key: each.client for each in WORLDS},
        return_path="bounces@relay.example",
    )


def received(to: str, seller: World, buyer: World, header: str | None = None) -> Setting:
    headers = {"X-Dossier": header} if header else {}
    given = setting({"mail": {"to": [to], "headers": headers, "parts": [{"facturx": {}}]}})
    reports = tuple(
        replace(each, seller=Party("S", siren=seller.siren), buyer=Party("B", siren=buyer.siren))
        for each in given.reports
    )
    return replace(given, reports=reports)


def decided(given: Setting, *identify: str, wrong_client: Policy = Policy.HOLD) -> Decision:
    return replace(given, directory=Directory(terms(identify, wrong_client))).decide()


def crossed() -> Iterator[Plan]:
    """Plans for messages in which two firms' clients meet, each way to tell a client against each other."""
    for one, other in itertools.permutations(WORLDS, 2):
        recipient = one.client.recipients[0]
        tagged = f"{one.key}+{other.client.dossier}@export.example"
        for seller, buyer in ((other, other), (other, GAMMA), (GAMMA, other)):
            for identify in (("recipient", "siren"), ("recipient",), ("recipient", "header", "siren")):
                yield from decided(received(recipient, seller, buyer), *identify).plans
        yield from decided(received(recipient, one, one, other.client.key), "recipient", "header").plans
        yield from decided(received(recipient, one, one, other.client.dossier), "header", "recipient").plans
        yield from decided(received(tagged, one, other), "recipient", "siren").plans
        yield from decided(received("nobody@export.example", one, other), "recipient", "siren").plans
        yield from decided(received("nobody@export.example", one, other), "recipient").plans


OTHERS = f"{GAMMA.client.key}, {ALPHA.client.key}"
DETAILS: dict[Reason, tuple[str, ...]] = {
    # As earlier versions stored it, and as `crossed` makes it now.
    Reason.CONTRADICTION: (f"{BETA.client.key} (RCPT) ≠ {OTHERS} (SIREN)", f"{BETA.client.key} ≠ {OTHERS} (SIREN)"),
    Reason.WRONG_CLIENT: (f"{GAMMA.siren}, {ALPHA.siren} ≠ {BETA.siren}", f"?, {ALPHA.siren} ≠ {BETA.siren}"),
}
UNIDENTIFIED = (f"{ALPHA.siren} → ?, SIREN {BETA.siren}", f"{GAMMA.siren}, ?")


def details(reason: Reason) -> tuple[str, ...]:
    return UNIDENTIFIED if reason == "unidentified_party" else DETAILS.get(reason, ("7",))


class Observed:
    def __call__(self, event: object) -> None:
        pass


class Desk:
    """The host of three firms, its spool and all that writes messages to people."""

    def __init__(self, language: str) -> None:
        self.now = NOW
        self.spool = MemorySpool(clock=lambda: self.now)
        settings = Settings(terms(("recipient", "siren")), language=language, digest="daily", operator=HOST_OPERATOR)
        self.notices = Notices(self.spool, lambda: settings, Observed(), lambda: None, lambda: self.now)
        self.digests = Digests(self.spool, lambda: settings, Observed(), lambda: None, lambda: self.now)

    async def hold(self, world: World | None, reason: Reason, detail: str) -> None:
        whose = {"firm": world.key, "dossier": world.client.dossier} if world else {}
        await self.store(Plan(Disposition.HOLD, reason=reason, detail=detail, documents=(facturx(),), **whose))

    async def store(self, plan: Plan) -> None:
        await self.spool.store(mail(plan, at=self.now - 3600))

    async def fail(self, world: World, transition: Transition) -> None:
        client = world.client
        to = str(client.addresses.sales)
        await self.store(Plan(Disposition.RELAY, to=(to,), firm=client.firm, dossier=client.dossier))
        (claim,) = await self.spool.claim(self.now, 60, 1)
        await self.spool.settle(claim, transition)

    async def written(self) -> dict[str, str]:
        """What each address is sent, decoded, headers included."""
        found: dict[str, str] = {}
        for each in await self.spool.find(Query()):
            loaded = await self.spool.load(each.queue_id)
            if loaded is not None and loaded.generated:
                found[str(each.recipient)] = found.get(str(each.recipient), "") + readable(loaded.raw)
        return found


def readable(raw: bytes) -> str:
    message = email.message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    parts = [part.get_content() for part in message.walk() if part.get_content_maintype() == "text"]
    return "\n".join([str(message["Subject"]), str(message["To"]), *parts]) + raw.decode("utf-8", "replace")


def leaked(text: str, *worlds: World) -> set[str]:
    return {secret for world in worlds for secret in world.secrets if secret in text.lower()}


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("reason", Reason)
async def test_a_notice_and_a_digest_name_no_other_firm_whatever_the_reason(reason: Reason, language: str) -> None:
    desk = Desk(language)
    for detail in details(reason):
        await desk.hold(BETA, reason, detail)
    assert (await desk.notices.send(), await desk.digests.send()) == (1, 1)
    (written,) = (await desk.written()).values()
    assert BETA.client.dossier in written
    assert sentence(reason, "\0", language).partition("\0")[0][:20] in written
    assert leaked(written, ALPHA, GAMMA) == set()


@pytest.mark.parametrize("language", ["fr", "en"])
async def test_messages_in_which_firms_meet_are_notified_to_each_without_the_other(language: str) -> None:
    desk = Desk(language)
    plans = [plan for plan in crossed() if plan.disposition is Disposition.HOLD]
    assert {plan.reason for plan in plans} >= {
        Reason.CONTRADICTION,
        Reason.WRONG_CLIENT,
        Reason.UNKNOWN_CLIENT,
    }
    for plan in plans:
        await desk.store(plan)
    await desk.notices.send()
    await desk.digests.send()
    written = await desk.written()
    for world in WORLDS:
        others = [each for each in WORLDS if each is not world]
        assert leaked(written[str(world.firm.operator)], *others) == set()
    assert set(written) == {HOST_OPERATOR, *(str(each.firm.operator) for each in WORLDS)}


@pytest.mark.parametrize("language", ["fr", "en"])
async def test_failed_and_late_deliveries_are_notified_to_their_firm_alone(language: str) -> None:
    desk = Desk(language)
    for world in WORLDS:
        to = world.client.addresses.sales
        for code, state, report in (("550 5.1.1", State.FAILED, "failed"), ("451 4.2.1", State.DEFERRED, "late")):
            await desk.fail(world, Transition(state, None, f"{code} <{to}> refused", report, report=report))
    assert await desk.notices.send() == 3
    written = await desk.written()
    for world in WORLDS:
        assert world.client.dossier in written[str(world.firm.operator)]
        assert leaked(written[str(world.firm.operator)], *(each for each in WORLDS if each is not world)) == set()


REPLIES = [
    f"550 5.1.1 <{ALPHA.client.addresses.sales}>: no such mailbox",
    f"550 {str(ALPHA.client.addresses.sales).upper()} unknown",
    f"550 5.2.1 user boite-{ALPHA.key} of dossier {ALPHA.client.dossier} is disabled",
    f"451 4.3.0 queue of {ALPHA.client.name} is full",
    f"smarthost of {ALPHA.key} is not configured any more",
    f"failed 5.1.1 smtp; 550 5.1.1 {ALPHA.client.addresses.sales}",
]


@pytest.mark.parametrize("report", ["failed", "late", "delivered"])
@pytest.mark.parametrize("reply", REPLIES)
def test_a_status_notification_names_nothing_of_the_firm(reply: str, report: str) -> None:
    to, client = str(ALPHA.client.addresses.sales), ALPHA.client
    plan = Plan(Disposition.RELAY, to=(to,), firm=client.firm, dossier=client.dossier, answers=("c1@export.example",))
    asked = Recipient("c1@export.example", frozenset({"SUCCESS", "FAILURE", "DELAY"}), "rfc822;c1@export.example")
    given = replace(mail(plan), envelope=Envelope("platform@x.example", (asked,), ret="FULL", envid="E"))
    spool = MemorySpool()
    asyncio.run(spool.store(given))
    (delivery,) = asyncio.run(spool.find(Query()))
    made = status_report(
        given, delivery, Transition(State.FAILED, None, reply, "failed", detail=reply, report=report),
        hostname="relay.example", retry=Retry(), now=NOW,
    )  # fmt: skip
    assert len(made) == 1 and leaked(readable(made[0].raw), *WORLDS) == set()
    assert b"c1@export.example" in made[0].raw


class Silent:
    """Whatever it is asked, it does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


@pytest.mark.parametrize("reason", Reason)
async def test_a_reply_names_nothing_of_a_firm(reason: Reason, monkeypatch: pytest.MonkeyPatch) -> None:
    given = received("x@export.example", ALPHA, GAMMA)
    for detail in details(reason):

        async def refuse(*args: object, _detail: str = detail) -> Evaluation:
            return Evaluation(Decision((), Rejection(reason, _detail)))

        silent: Any = Silent()
        silent.evaluate = refuse
        assert leaked(str(await door(checker=silent).accept(given.envelope, given.message.raw)), *WORLDS) == set()


def door(*identify: str, checker: Any = None) -> Intake:
    silent: Any = Silent()
    directory = Directory(terms(identify or ("recipient", "siren")))
    return Intake(
        directory=lambda: directory, spool=silent, queue=silent, checker=checker or silent, observe=lambda event: None,
        stored=lambda mail: None, broken=lambda why: None,
    )  # fmt: skip


def test_a_refused_wrong_client_is_reported_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = decided(received("bertille@export.example", ALPHA, GAMMA), "recipient", wrong_client=Policy.REFUSE)
    assert decision.refusal is not None and decision.refusal.reason is Reason.WRONG_CLIENT
    assert BETA.siren in decision.refusal.detail


@pytest.mark.parametrize(
    ("identify", "address", "reply"),
    [
        (["recipient"], "nobody@export.example", "550 5.1.1"),
        (["recipient"], "alphonse+nothing@export.example", None),
        (["recipient"], "zoe+nothing@export.example", "550 5.1.1"),
        (["recipient"], "ALPHONSE@Export.Example", None),
        (["recipient"], "alphonse@export.example", None),
        (["recipient"], "alphonse+D-alphonse@export.example", None),
        (["recipient"], "any+D-alphonse@export.example", None),
        (["recipient"], "postmaster@export.example", None),
        (["recipient"], "postmaster", None),
        (["recipient"], "nobody@elsewhere.example", "550 5.7.1"),
        (["recipient", "siren"], "nobody@export.example", None),
        (["siren"], "nobody@export.example", None),
        (["recipient", "header"], "nobody@export.example", None),
    ],
)
def test_an_unknown_recipient_is_rejected_where_nothing_else_tells_a_client(
    identify: list[str], address: str, reply: str | None
) -> None:
    found: Reply | None = door(*identify).recipient(address)
    assert (None if found is None else f"{found.code} {found.enhanced}") == reply
