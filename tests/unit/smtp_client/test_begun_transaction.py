"""A transaction whose envelope leaves before the message is certain: no content before its release, and a withdrawal
that no next hop takes for a message."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from relay.replies import Deferred, Delivered, Failed, OutcomeUnknown
from relay.smtp_client import (
    BegunTransaction,
    ConnectionPools,
    OutgoingMessage,
    Route,
    StaleConnection,
    Tls,
    outgoing_message,
    transaction,
)
from relay.smtp_client.transaction import _Phase
from tests.support import outgoing
from tests.support.peer import Behaviour, Drop, Later, Peer, Raw, Reset, Say

MAIL = b"Subject: invoice\r\n\r\nend\r\n"
TO = "client@agiris.example"
PIPED, IN_TURN = ("PIPELINING", "8BITMIME"), ("8BITMIME",)


@pytest.fixture(params=[PIPED, IN_TURN], ids=["piped", "in-turn"])
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    async with Peer(extensions=request.param) as peer:
        yield peer


@pytest.fixture
async def out(peer: Peer) -> AsyncIterator[ConnectionPools]:
    """With one kept connection."""
    out = ConnectionPools()
    await outgoing.send(out, route(peer), "", [TO], [MAIL])
    peer.commands.clear()
    yield out
    await out.close()


def route(peer: Peer, connections: int = 1) -> Route:
    return Route(peer.host, peer.port, Tls.NONE, connections=connections)


def message(*to: str, content: bytes = MAIL) -> OutgoingMessage:
    return outgoing_message("", to or (TO,), [content])


def begin(out: ConnectionPools, peer: Peer, *to: str) -> BegunTransaction:
    begun = out.begin(route(peer), lambda: message(*to))
    assert begun is not None
    return begun


async def envelope_arrived(peer: Peer) -> None:
    await peer.wait_until(lambda: "DATA" in peer.commands)


async def reached(begun: BegunTransaction, phase: _Phase) -> None:
    """Wait until the relay has seen what the next hop did."""
    async with asyncio.timeout(10):
        while begun._transaction._phase is not phase:
            await asyncio.sleep(0)


async def test_the_envelope_arrives_before_the_release_and_the_content_after_it(
    peer: Peer, out: ConnectionPools
) -> None:
    begun = begin(out, peer)
    await envelope_arrived(peer)
    assert peer.taken == 1
    assert isinstance((await begun.finish())[TO], Delivered)
    assert peer.mails[1].content == MAIL and peer.sessions == 1
    assert out.counts() == {"default": (0, 1)}


async def test_a_release_before_the_replies_waits_for_them(peer: Peer, out: ConnectionPools) -> None:
    gate = asyncio.Event()
    peer.on("mail", Later(gate), times=1)
    finishing = asyncio.create_task(begin(out, peer).finish())
    await peer.wait_until(lambda: any(each.startswith("MAIL") for each in peer.commands))
    gate.set()
    assert isinstance((await finishing)[TO], Delivered)
    assert peer.mails[1].content == MAIL


async def test_what_is_withdrawn_never_has_an_end_and_its_connection_is_not_used_again(
    peer: Peer, out: ConnectionPools
) -> None:
    begun = begin(out, peer)
    await reached(begun, _Phase.RELEASE)
    begun.withdraw()
    await peer.wait_until(lambda: peer.open_now == 0)
    assert peer.taken == 1 and "QUIT" not in peer.commands
    with pytest.raises(StaleConnection):
        await begun.finish()
    assert out.counts() == {"default": (0, 0)}
    assert isinstance((await outgoing.send(out, route(peer), "", [TO], [MAIL]))[TO], Delivered)
    assert (peer.sessions, peer.taken) == (2, 2)


async def test_what_is_withdrawn_before_the_replies_closes_the_connection(peer: Peer, out: ConnectionPools) -> None:
    begin(out, peer).withdraw()
    await peer.wait_until(lambda: peer.open_now == 0)
    assert peer.taken == 1 and out.counts() == {"default": (0, 0)}


async def test_a_rejected_recipient_is_known_at_the_release_and_the_connection_is_kept(
    peer: Peer, out: ConnectionPools
) -> None:
    peer.on("rcpt", Say("550 5.1.1 unknown"), times=1)
    begun = begin(out, peer)
    await peer.wait_until(lambda: any(each.startswith("RCPT") for each in peer.commands))
    assert isinstance((await begun.finish())[TO], Failed)
    assert isinstance((await outgoing.send(out, route(peer), "", [TO], [MAIL]))[TO], Delivered)
    assert (peer.sessions, peer.taken) == (1, 2)


async def test_a_rejected_one_that_is_withdrawn_leaves_a_connection_that_is_reset_first(
    peer: Peer, out: ConnectionPools
) -> None:
    peer.on("rcpt", Say("550 5.1.1 unknown"), times=1)
    begun = out.begin(route(peer), message)
    assert begun is not None
    finished = await begun.finish()
    assert isinstance(finished[TO], Failed)
    peer.commands.clear()
    second = begin(out, peer)
    await envelope_arrived(peer)
    assert peer.commands[0] == "RSET"
    second.withdraw()
    assert peer.taken == 1


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize(
    "behaviour", [Say("421 4.3.2 busy", close=True), Drop(), Reset(), Raw(b"garbage\r\n", close=True)], ids=repr
)
async def test_what_fails_before_the_release_is_for_another_connection(
    peer: Peer, out: ConnectionPools, stage: str, behaviour: Behaviour
) -> None:
    peer.on(stage, behaviour, times=1)
    begun = begin(out, peer)
    await reached(begun, _Phase.OVER)
    with pytest.raises(StaleConnection):
        await begun.finish()
    assert out.counts() == {"default": (0, 0)}


async def test_a_next_hop_that_closes_while_it_waits_for_the_content_has_no_message(
    peer: Peer, out: ConnectionPools
) -> None:
    peer.on("data", Raw(b"354 go on\r\n421 4.4.2 too slow\r\n", close=True), times=1)
    begun = begin(out, peer)
    await reached(begun, _Phase.OVER)
    with pytest.raises(StaleConnection):
        await begun.finish()
    assert peer.taken == 1


async def test_after_the_release_failures_are_outcomes(peer: Peer, out: ConnectionPools) -> None:
    peer.on("body", Drop(), times=1)
    begun = begin(out, peer)
    await envelope_arrived(peer)
    assert isinstance((await begun.finish())[TO], OutcomeUnknown)
    await outgoing.send(out, route(peer), "", [TO], [MAIL])
    peer.commands.clear()
    peer.on("data", Say("451 4.3.0 not now"), times=1)
    begun = begin(out, peer)
    await envelope_arrived(peer)
    assert isinstance((await begun.finish())[TO], Deferred)


async def test_a_release_that_takes_too_long_ends_the_transaction(
    peer: Peer, out: ConnectionPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "HOLD_SECONDS", 0.05)
    begun = begin(out, peer)
    await reached(begun, _Phase.OVER)
    await peer.wait_until(lambda: peer.open_now == 0)
    with pytest.raises(StaleConnection):
        await begun.finish()
    assert peer.taken == 1


async def test_nothing_begins_without_a_kept_connection_and_a_free_slot(peer: Peer, out: ConnectionPools) -> None:
    assert out.begin(replace(route(peer), name="other"), message) is None
    first = begin(out, peer)
    assert out.begin(route(peer), message) is None
    waiting = asyncio.create_task(outgoing.send(out, route(peer), "", [TO], [MAIL]))
    await envelope_arrived(peer)
    first.withdraw()
    assert isinstance((await waiting)[TO], Delivered), "the slot was given on"


async def test_a_message_that_cannot_be_made_or_sent_spoils_no_connection(peer: Peer, out: ConnectionPools) -> None:
    def fails() -> OutgoingMessage:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        out.begin(route(peer), fails)
    with pytest.raises(ValueError, match="cannot stand in a command"):
        out.begin(route(peer), lambda: message("a@b>\r\nRCPT TO:<c@d"))
    assert out.counts() == {"default": (0, 1)} and not peer.commands
    assert isinstance((await begin(out, peer).finish())[TO], Delivered)


async def test_what_the_next_hop_is_known_not_to_take_has_its_outcome_without_a_word() -> None:
    async def recoded() -> list[bytes]:
        return [MAIL]

    eight_bit = message(content=b"Subject: x\r\n\r\n\xc3\xa9\r\n")
    async with Peer(extensions=()) as peer:
        out = ConnectionPools()
        await outgoing.send(out, route(peer), "", [TO], [MAIL])
        peer.commands.clear()
        begun = out.begin(route(peer), lambda: eight_bit)
        assert begun is not None and isinstance((await begun.finish())[TO], Failed)
        assert out.begin(route(peer), lambda: replace(eight_bit, seven_bit=recoded)) is None, "it is recoded first"
        assert not peer.commands and out.counts() == {"default": (0, 1)}
        await out.close()


async def test_a_cancelled_release_leaves_no_connection_half_way(peer: Peer, out: ConnectionPools) -> None:
    gate = asyncio.Event()
    peer.on("body", Later(gate), times=1)
    finishing = asyncio.create_task(begin(out, peer).finish())
    await peer.wait_until(lambda: peer.taken == 2)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    gate.set()
    assert out.counts() == {"default": (0, 0)}
