"""A next hop named by its domain: which exchangers are tried, in which order, and under which name they are trusted."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from dns.asyncresolver import Resolver

from relay.demo.stage import free_port
from relay.replies import Deferred, Delivered, Outcome, Stage
from relay.smtp_client import ConnectionPools, Route, Timeouts, Tls
from relay.smtp_client.route import MAX_EXCHANGERS, MailExchangers, Unreachable, trusted
from tests.support import outgoing
from tests.support.dns_server import SILENT, Names, Zone
from tests.support.peer import Peer, Say, self_signed

TO, MAIL = "client@agiris.example", b"Subject: x\r\n\r\nx\r\n"
DOMAIN = "agiris.example"
MX, MX1, MX2 = f"{DOMAIN} MX", f"mx1.{DOMAIN}", f"mx2.{DOMAIN}"
TWO: Zone = {MX: [f"20 {MX2}.", f"10 {MX1}."], f"{MX1} A": ["127.0.0.2"], f"{MX2} A": ["127.0.0.3"]}


@pytest.fixture
async def peers() -> AsyncIterator[tuple[Peer, Peer]]:
    """Two hosts with one port: mx1 is 127.0.0.2, mx2 is 127.0.0.3."""
    async with Peer("127.0.0.2") as one, Peer("127.0.0.3", one.port) as two:
        yield one, two


async def send(zone: Zone, route: Route, number: int = 1) -> Outcome:
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(Names(zone))
        out = ConnectionPools(exchangers=names.exchangers())
        stack.push_async_callback(out.close)
        for _ in range(number):
            found = await outgoing.send(out, route, "b@relay.example", [TO], [MAIL])
        return found[TO]


def route(port: int, seconds: float = 10.0, **changes: object) -> Route:
    timeouts = Timeouts(**dict.fromkeys(Timeouts.__dataclass_fields__, seconds))
    return replace(
        Route(DOMAIN, port, Tls.NONE, hostname="relay.example", timeouts=timeouts, mx=True),
        **changes,  # type: ignore[arg-type]
    )


async def exchangers(zone: Zone, **options: object) -> tuple[str, ...]:
    async with Names(zone) as names:
        return await names.exchangers(**options).of(DOMAIN, "relay.example", 10.0)  # type: ignore[arg-type]


# Order.


async def test_the_most_preferred_takes_the_message(peers: tuple[Peer, Peer]) -> None:
    assert isinstance(await send(TWO, route(peers[0].port)), Delivered)
    assert [peer.taken for peer in peers] == [1, 0]


async def test_those_of_one_preference_are_shuffled_and_no_others() -> None:
    zone: Zone = {MX: ["20 c.agiris.example.", "10 a.agiris.example.", "10 b.agiris.example.", "20 d.agiris.example."]}
    plain = await exchangers(zone, shuffle=lambda names: names.sort())
    assert [name[0] for name in plain] == ["a", "b", "c", "d"]
    turned = await exchangers(zone, shuffle=lambda names: names.sort(reverse=True))
    assert [name[0] for name in turned] == ["b", "a", "d", "c"]


async def test_no_more_than_so_many_are_tried() -> None:
    found = await exchangers({MX: [f"{n} mx{n}.{DOMAIN}." for n in range(20)]})
    assert found == tuple(f"mx{n}.{DOMAIN}" for n in range(MAX_EXCHANGERS))


@pytest.mark.parametrize("greeting", [None, "421 4.3.2 not now", "554 5.3.2 no mail here"])
async def test_the_next_is_tried_when_one_does_not_answer_or_sends_us_away(greeting: str | None) -> None:
    async with AsyncExitStack() as stack:
        two = await stack.enter_async_context(Peer("127.0.0.3"))
        if greeting is not None:
            one = await stack.enter_async_context(Peer("127.0.0.2", two.port))
            one.on("connect", Say(greeting, close=True))
        assert isinstance(await send(TWO, route(two.port)), Delivered)
        assert two.taken == 1


async def test_an_exchanger_without_address_is_passed_over(peers: tuple[Peer, Peer]) -> None:
    zone = {key: value for key, value in TWO.items() if not key.startswith(MX1)}
    assert isinstance(await send(zone, route(peers[0].port)), Delivered)
    assert [peer.taken for peer in peers] == [0, 1]


@pytest.mark.parametrize("failure", ["SERVFAIL", SILENT])
async def test_one_family_of_addresses_is_enough(peers: tuple[Peer, Peer], failure: str) -> None:
    zone = {**TWO, f"{MX1} AAAA": failure}
    assert isinstance(await send(zone, route(peers[0].port, 1.0)), Delivered)
    assert peers[0].taken == 1


async def test_both_families_are_tried(peers: tuple[Peer, Peer]) -> None:
    zone = {**TWO, f"{MX1} AAAA": ["::1", "2001:db8::1"]}
    assert isinstance(await send(zone, route(peers[0].port)), Delivered)
    assert peers[0].taken == 1


async def test_nobody_is_there() -> None:
    found = await send(TWO, route(free_port()))
    assert isinstance(found, Deferred) and not found.alert and found.stage is Stage.CONNECT
    assert MX2 in found.reply.text


# What the name servers say.


async def test_a_domain_without_mx_is_its_own_exchanger() -> None:
    async with Peer() as peer:
        assert isinstance(await send({f"{DOMAIN} A": ["127.0.0.1"]}, route(peer.port)), Delivered)


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ({}, "no such domain"),
        ({MX: "SERVFAIL", f"{DOMAIN} A": ["127.0.0.1"]}, "the name servers cannot tell"),
        ({MX: "REFUSED", f"{DOMAIN} A": ["127.0.0.1"]}, "the name servers cannot tell"),
        ({MX: SILENT, f"{DOMAIN} A": ["127.0.0.1"]}, "no answer in time"),
        ({MX: [f"10 {MX1}."]}, "no such domain"),
        ({MX: [f"10 {MX1}."], f"{MX1} TXT": ["x"]}, "no address"),
    ],
)
async def test_what_cannot_be_resolved_is_deferred(zone: Zone, words: str) -> None:
    """A name server that fails is no domain without MX: the address of the domain itself is not tried."""
    async with Peer() as peer:
        found = await send(zone, route(peer.port, 0.5))
        assert isinstance(found, Deferred) and not found.alert and found.stage is Stage.DNS
        assert found.reply.enhanced == "4.4.3" and words in found.reply.text
        assert peer.sessions == 0


@pytest.mark.parametrize("text", [None, "", "nameserver nonsense\n"])
async def test_a_machine_that_knows_no_name_server(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)
    exchangers = MailExchangers(lambda: Resolver(str(file)))
    with pytest.raises(Unreachable) as raised:
        await exchangers.of(DOMAIN, "relay.example", 2.0)
    assert isinstance(raised.value.outcome, Deferred) and raised.value.outcome.stage is Stage.DNS


async def test_a_null_mx_alerts_and_bounces_nothing() -> None:
    found = await send({MX: ["0 ."], f"{DOMAIN} A": ["127.0.0.1"]}, route(free_port()))
    assert isinstance(found, Deferred) and found.alert and "null MX" in found.reply.text


async def test_we_never_send_to_ourselves_nor_behind_us() -> None:
    zone: Zone = {MX: [f"10 {MX1}.", "20 Relay.Example.", f"30 {MX2}.", f"20 mx3.{DOMAIN}."]}
    assert await exchangers(zone) == (MX1,)
    with pytest.raises(Unreachable) as raised:
        await exchangers({MX: ["10 relay.example.", f"10 {MX1}."]})
    assert raised.value.alerts and "come back to us" in str(raised.value)


async def test_names_are_asked_for_once_a_connection(peers: tuple[Peer, Peer]) -> None:
    async with Names(TWO) as names:
        out = ConnectionPools(exchangers=names.exchangers())
        for _ in range(3):
            await outgoing.send(out, route(peers[0].port), "b@relay.example", [TO], [MAIL])
        await out.close()
        assert names.asked.count(MX) == 1 and peers[0].taken == 3


# Trust.


@pytest.mark.parametrize(
    ("name", "patterns", "may"),
    [
        (DOMAIN, (), True),
        (MX1, (), True),
        (f"a.b.{DOMAIN}", (), True),
        ("mx.provider.example", (), False),
        (f"evil{DOMAIN}", (), False),
        ("mx.provider.example", ("*.provider.example",), True),
        ("mx.provider.example", ("mx.provider.example",), True),
        ("a.mx.provider.example", ("*.provider.example",), False),
        ("provider.example", ("*.provider.example",), False),
        (MX1, ("*.provider.example",), False),
        (DOMAIN, ("*.provider.example",), True),
    ],
)
def test_which_names_may_be_exchangers(name: str, patterns: tuple[str, ...], may: bool) -> None:
    assert trusted(name, DOMAIN, patterns) is may


async def test_the_certificate_must_bear_the_exchangers_name(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, MX1)
    async with Peer("127.0.0.2", tls="starttls", certificate=certificate) as peer:
        to = route(peer.port, tls=Tls.REQUIRED, ca_file=str(certificate[0]))
        assert isinstance(await send(TWO, to), Delivered)
        assert peer.mails[0].tls


async def test_the_domains_name_in_the_certificate_of_an_exchanger_is_not_enough(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, DOMAIN)
    async with Peer("127.0.0.2", tls="starttls", certificate=certificate) as peer:
        found = await send(TWO, route(peer.port, tls=Tls.REQUIRED, ca_file=str(certificate[0])))
        assert isinstance(found, Deferred) and found.alert and found.reply.enhanced == "4.7.5"  # not: mx2 is down
        assert peer.taken == 0


async def test_a_host_that_dns_names_but_nobody_listed_is_not_spoken_to(tmp_path: Path) -> None:
    """Its certificate would be good: it is that of whoever forged the answer."""
    certificate = self_signed(tmp_path, "mx.evil.example")
    zone: Zone = {MX: ["1 mx.evil.example."], "mx.evil.example A": ["127.0.0.2"]}
    async with Peer("127.0.0.2", tls="starttls", certificate=certificate) as peer:
        to = route(peer.port, tls=Tls.REQUIRED, ca_file=str(certificate[0]))
        found = await send(zone, to)
        assert isinstance(found, Deferred) and found.alert and "mx.evil.example" in found.reply.text
        assert peer.sessions == 0
        assert isinstance(await send(zone, replace(to, mx_names=("*.evil.example",))), Delivered)


async def test_a_refused_password_is_not_tried_at_the_next_exchanger(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    first, second = self_signed(tmp_path / "1", MX1), self_signed(tmp_path, MX2)
    both = tmp_path / "both.pem"
    both.write_bytes(first[0].read_bytes() + second[0].read_bytes())
    users = {"relay": "right"}
    async with (
        Peer("127.0.0.2", tls="starttls", certificate=first, users=users) as one,
        Peer("127.0.0.3", one.port, tls="starttls", certificate=second, users=users) as two,
    ):
        to = route(one.port, tls=Tls.REQUIRED, username="relay", password="wrong", ca_file=str(both))
        found = await send(TWO, to)
        assert isinstance(found, Deferred) and found.alert and found.stage is Stage.AUTH
        assert (one.sessions, two.sessions) == (1, 0)
