"""One transaction out: what each fault of the next hop means for the message, and what arrives when it behaves."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.demo.stage import free_port
from relay.replies import Deferred, Delivered, Failed, Outcome, OutcomeUnknown, Stage
from relay.smtp_client import ConnectionPools, OutgoingMessage, Route, Timeouts, Tls, Unreachable, outgoing_message
from relay.smtp_client.outgoing_content import SLICE, prepare
from tests.support import outgoing
from tests.support.peer import (
    Behaviour,
    Drop,
    Later,
    Peer,
    Raw,
    Reset,
    Say,
    Silence,
    Stall,
    Tarpit,
    self_signed,
)

MAIL = b"Subject: invoice\r\n\r\n.one\r\n..two\r\n\r\nend\r\n"
TO = "client@agiris.example"
SHORT = replace(Timeouts(**dict.fromkeys(Timeouts.__dataclass_fields__, 0.3)), connect=10.0)  # to a peer that is there


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as peer:
        yield peer


@pytest.fixture
async def out() -> AsyncIterator[ConnectionPools]:
    smarthosts = ConnectionPools()
    yield smarthosts
    await smarthosts.close()


def route(peer: Peer, timeouts: Timeouts | None = None, **changes: object) -> Route:
    plain = Route(peer.host, peer.port, Tls.NONE, hostname="relay.example", timeouts=timeouts or Timeouts())
    return replace(plain, **changes)


async def send(out: ConnectionPools, to: Route, mail: bytes = MAIL, **options: object) -> Outcome:
    return (await outgoing.send(out, to, "bounce@relay.example", [TO], [mail], **options))[TO]


async def test_a_message_arrives_octet_for_octet(peer: Peer, out: ConnectionPools) -> None:
    outcome = await send(out, route(peer))
    assert isinstance(outcome, Delivered)
    assert outcome.reply.text == "taken as 1"
    [mail] = peer.mails
    assert (mail.sender, mail.recipients, mail.content) == ("bounce@relay.example", (TO,), MAIL)
    assert mail.mail_params == (f"SIZE={len(MAIL)}", "BODY=7BIT")
    assert mail.helo == "relay.example"


async def test_the_null_sender_stays_null(peer: Peer, out: ConnectionPools) -> None:
    await outgoing.send(out, route(peer), "", [TO], [MAIL])
    assert peer.mails[0].sender == ""


async def test_large_content_goes_in_slices(peer: Peer, out: ConnectionPools) -> None:
    mail = (b"Subject: x\r\n\r\n" + b".0123456789abcdef\r\n" * 200_000)[: 3_000_000 // 18 * 18] + b"\r\n"
    chunks = [memoryview(mail)[start : start + 70_001] for start in range(0, len(mail), 70_001)]
    outcomes = await outgoing.send(out, route(peer), "", [TO], chunks)
    assert isinstance(outcomes[TO], Delivered)
    assert peer.mails[0].content == mail


CASES: list[tuple[str, Behaviour, type, Stage, bool]] = [
    ("connect", Say("421 4.3.2 busy"), Deferred, Stage.GREETING, False),
    ("connect", Say("554 5.3.2 no service"), Deferred, Stage.GREETING, False),
    ("connect", Raw(b"SSH-2.0-OpenSSH\r\n"), Deferred, Stage.GREETING, False),
    ("connect", Silence(), Deferred, Stage.GREETING, False),
    ("connect", Drop(), Deferred, Stage.GREETING, False),
    ("connect", Reset(), Deferred, Stage.GREETING, False),
    ("connect", Tarpit("220 slow.example", 0.05), Deferred, Stage.GREETING, False),
    ("ehlo", Say("550 5.7.1 go away"), Deferred, Stage.EHLO, False),
    ("ehlo", Say("421 4.3.2 busy", close=True), Deferred, Stage.EHLO, False),
    ("ehlo", Raw(b"250-a\r\n" * 20000), Deferred, Stage.EHLO, False),
    ("ehlo", Silence(), Deferred, Stage.EHLO, False),
    ("mail", Say("451 4.7.1 greylisted"), Deferred, Stage.MAIL, False),
    ("mail", Say("550 5.7.1 not you"), Deferred, Stage.MAIL, True),
    ("mail", Say("530 5.7.0 authenticate first"), Deferred, Stage.MAIL, True),
    ("mail", Say("553 5.1.8 bad sender"), Deferred, Stage.MAIL, True),
    ("mail", Say("553 5.1.3 bad address"), Failed, Stage.MAIL, False),
    ("mail", Say("421 4.3.2 busy", close=True), Deferred, Stage.MAIL, False),
    ("mail", Raw(b"\x00\xff\xfe garbage\r\n"), Deferred, Stage.MAIL, False),
    ("mail", Raw(b"250 " + b"x" * 100_000), Deferred, Stage.MAIL, False),
    ("mail", Raw(b"250-x\r\n" * 30_000), Deferred, Stage.MAIL, False),
    ("mail", Silence(), Deferred, Stage.MAIL, False),
    ("mail", Tarpit("250 2.1.0 slow", 0.05), Deferred, Stage.MAIL, False),
    ("mail", Drop(), Deferred, Stage.MAIL, False),
    ("mail", Reset(), Deferred, Stage.MAIL, False),
    ("rcpt", Say("452 4.2.2 full"), Deferred, Stage.RCPT, False),
    ("rcpt", Say("552 5.2.2 too many"), Deferred, Stage.RCPT, False),
    ("rcpt", Say("550 5.1.1 unknown"), Failed, Stage.RCPT, False),
    ("rcpt", Say("550-5.1.1 unknown\r\n550 5.1.1 here"), Failed, Stage.RCPT, False),
    ("rcpt", Say("554 5.7.1 <x@agiris.example>: Relay access denied"), Deferred, Stage.RCPT, True),
    ("rcpt", Say("554 Client host [192.0.2.1] blocked using zen.spamhaus.org"), Deferred, Stage.RCPT, True),
    ("rcpt", Say("550 5.2.2 mailbox full"), Deferred, Stage.RCPT, False),
    ("rcpt", Say("554 5.7.1 Recipient address rejected: Access denied"), Failed, Stage.RCPT, False),
    ("rcpt", Silence(), Deferred, Stage.RCPT, False),
    ("rcpt", Drop(), Deferred, Stage.RCPT, False),
    ("data", Say("451 4.3.0 not now"), Deferred, Stage.DATA, False),
    ("data", Say("554 5.5.1 no"), Failed, Stage.DATA, False),
    ("data", Say("250 2.0.0 what"), Deferred, Stage.DATA, False),
    ("data", Say("550 5.4.5 Daily user sending limit exceeded"), Deferred, Stage.DATA, True),
    ("data", Silence(), Deferred, Stage.DATA, False),
    ("body", Say("452 4.3.1 no space"), Deferred, Stage.BODY, False),
    ("body", Say("554 5.6.0 virus"), Failed, Stage.BODY, False),
    ("body", Say("554-5.2.252 SendAsDenied; x not allowed\r\n554 5.2.252 to send as y"), Deferred, Stage.BODY, True),
    ("body", Say("550 5.7.60 Client does not have permissions to send as this sender"), Deferred, Stage.BODY, True),
    ("body", Say("550 5.7.1 message rejected due to content policy"), Failed, Stage.BODY, False),
    ("body", Say("421 4.3.2 going down"), Deferred, Stage.BODY, False),
    ("body", Silence(), OutcomeUnknown, Stage.BODY, False),
    ("body", Drop(), OutcomeUnknown, Stage.BODY, False),
    ("body", Reset(), OutcomeUnknown, Stage.BODY, False),
    ("body", Raw(b"garbage\r\n"), OutcomeUnknown, Stage.BODY, False),
    ("body", Tarpit("250 2.0.0 ok", 0.05), OutcomeUnknown, Stage.BODY, False),
]


@pytest.mark.parametrize("pipelining", [True, False], ids=["piped", "in-turn"])
@pytest.mark.parametrize(("stage", "behaviour", "kind", "where", "alert"), CASES)
async def test_each_misbehaviour_has_its_meaning_and_the_next_message_passes(
    out: ConnectionPools, stage: str, behaviour: Behaviour, kind: type, where: Stage, alert: bool, pipelining: bool
) -> None:
    async with Peer(extensions=("PIPELINING", "8BITMIME") if pipelining else ("8BITMIME",)) as peer:
        peer.on(stage, behaviour, times=1)
        outcome = await send(out, route(peer, SHORT))
        assert (type(outcome), outcome.stage, getattr(outcome, "alert", False)) == (kind, where, alert)
        taken = peer.taken
        assert isinstance(await send(out, route(peer)), Delivered)
        assert peer.taken == taken + 1
        assert peer.mails[-1].content == MAIL


async def test_the_remote_reply_is_kept(peer: Peer, out: ConnectionPools) -> None:
    peer.on("rcpt", Say("550-5.1.1 unknown\r\n550 5.1.1 here"))
    assert str((await send(out, route(peer))).reply) == "550 5.1.1 unknown here"


async def test_an_old_server_is_greeted_with_helo(out: ConnectionPools) -> None:
    async with Peer(esmtp=False) as peer:
        assert isinstance(await send(out, route(peer)), Delivered)
        assert peer.mails[0].mail_params == ()


async def test_nobody_listens(out: ConnectionPools) -> None:
    async with Peer() as peer:
        gone = route(peer)
    outcome = await send(out, gone)
    assert isinstance(outcome, Deferred)
    assert (outcome.stage, outcome.reply.enhanced) == (Stage.CONNECT, "4.4.1")


async def test_a_name_that_does_not_resolve_is_deferred(out: ConnectionPools) -> None:
    outcome = await send(out, Route("relay..invalid", 25, Tls.NONE))
    assert isinstance(outcome, Deferred)
    assert (outcome.stage, outcome.reply.enhanced) == (Stage.DNS, "4.4.3")


# What the next hop cannot take.


async def test_eight_bits_need_8bitmime(out: ConnectionPools) -> None:
    mail = b"Subject: x\r\n\r\n\xc3\xa9\r\n"
    async with Peer(extensions=()) as peer:
        outcome = await send(out, route(peer), mail)
        assert isinstance(outcome, Failed) and outcome.reply.enhanced == "5.6.3"
        assert peer.taken == 0
    async with Peer() as peer:
        await send(out, route(peer), mail)
        assert "BODY=8BITMIME" in peer.mails[0].mail_params
        assert peer.mails[0].content == mail


EIGHT_BIT = b"Subject: x\r\n\r\n\xc3\xa9\r\n"
SEVEN_BIT = b"Content-Transfer-Encoding: quoted-printable\r\n" + b"Subject: x\r\n\r\n=C3=A9\r\n"


async def recoded() -> list[bytes]:
    return [SEVEN_BIT]


@pytest.mark.parametrize(
    ("extensions", "esmtp", "attempt", "can_recode", "expected"),
    [
        (("8BITMIME",), True, 1, True, EIGHT_BIT),
        (("8BITMIME",), True, 9, True, EIGHT_BIT),
        ((), True, 1, True, SEVEN_BIT),
        ((), True, 1, False, "554 5.6.3"),
        ((), False, 1, True, "451 4.5.1"),
        ((), False, 2, True, "451 4.5.1"),
        ((), False, 3, True, SEVEN_BIT),
        ((), False, 1, False, "451 4.5.1"),
        ((), False, 3, False, "554 5.6.3"),
    ],
)
async def test_eight_bit_text_waits_for_8bitmime_then_leaves_in_seven_bits(
    out: ConnectionPools,
    extensions: tuple[str, ...],
    esmtp: bool,
    attempt: int,
    can_recode: bool,
    expected: bytes | str,
) -> None:
    async def make_message() -> OutgoingMessage:
        made = outgoing_message("", [TO], [EIGHT_BIT])
        return replace(made, attempt=attempt, seven_bit=recoded if can_recode else None)

    async with Peer(extensions=extensions, esmtp=esmtp) as peer:
        outcome = (await out.send(route(peer), make_message))[TO]
        if isinstance(expected, bytes):
            assert isinstance(outcome, Delivered) and peer.mails[0].content == expected
        else:
            assert isinstance(outcome, Deferred if expected.startswith("4") else Failed)
            assert str(outcome.reply).startswith(expected) and "8BITMIME" in outcome.reply.text and peer.taken == 0


async def test_eight_bits_outside_of_the_text_fail_with_the_reason(out: ConnectionPools) -> None:
    async def still_eight_bit() -> list[bytes]:
        return [EIGHT_BIT]

    async def make_message() -> OutgoingMessage:
        return replace(outgoing_message("", [TO], [EIGHT_BIT]), seven_bit=still_eight_bit)

    async with Peer(extensions=()) as peer:
        outcome = (await out.send(route(peer), make_message))[TO]
        assert isinstance(outcome, Failed) and outcome.reply.enhanced == "5.6.3"


async def test_a_server_that_takes_ehlo_again_gets_the_octets_as_they_are(out: ConnectionPools) -> None:
    async def make_message() -> OutgoingMessage:
        return replace(outgoing_message("", [TO], [EIGHT_BIT]), seven_bit=recoded)

    async with Peer() as peer:
        peer.on("ehlo", Say("502 5.5.1 not now"), times=1)
        outcome = (await out.send(route(peer), make_message))[TO]
        assert isinstance(outcome, Deferred) and outcome.reply.enhanced == "4.5.1"
    async with Peer() as peer:
        assert isinstance((await out.send(route(peer), make_message))[TO], Delivered)
        assert peer.mails[0].content == EIGHT_BIT


async def test_smtputf8_is_waited_for_like_8bitmime(out: ConnectionPools) -> None:
    address = "comptabilité@agiris.example"
    async with Peer(esmtp=False) as peer:
        outcome = (await outgoing.send(out, route(peer), "", [address], [MAIL]))[address]
        assert isinstance(outcome, Deferred) and "SMTPUTF8" in outcome.reply.text


async def test_other_alphabets_need_smtputf8(peer: Peer, out: ConnectionPools) -> None:
    address = "comptabilité@agiris.example"
    outcomes = await outgoing.send(out, route(peer), "", [address], [MAIL])
    assert isinstance(outcomes[address], Delivered)
    assert peer.mails[0].recipients == (address,) and "SMTPUTF8" in peer.mails[0].mail_params
    async with Peer(extensions=("8BITMIME",)) as old:
        outcomes = await outgoing.send(out, route(old), "", [address], [MAIL])
        assert isinstance(outcomes[address], Failed) and outcomes[address].reply.enhanced == "5.6.7"


async def test_a_message_submitted_with_smtputf8_but_ascii_throughout_needs_none(out: ConnectionPools) -> None:
    async with Peer(extensions=()) as peer:
        assert isinstance(await send(out, route(peer), smtputf8=True), Delivered)


async def test_too_large_for_the_announced_size(out: ConnectionPools) -> None:
    async with Peer(extensions=("SIZE 20",)) as peer:
        outcome = await send(out, route(peer))
        assert isinstance(outcome, Failed) and outcome.reply.enhanced == "5.3.4"
        assert not any(line.startswith("MAIL") for line in peer.commands)


async def test_an_address_that_would_inject_a_command_is_never_sent(peer: Peer, out: ConnectionPools) -> None:
    evil = "a@b>\r\nRCPT TO:<c@d"
    with pytest.raises(ValueError, match="cannot stand in a command"):
        await outgoing.send(out, route(peer), "", [evil], [MAIL])
    assert not any(line.startswith("MAIL") for line in peer.commands)


async def test_each_recipient_has_its_own_outcome(peer: Peer, out: ConnectionPools) -> None:
    peer.on("rcpt", Say("550 5.1.1 unknown"), when=lambda argument: "bad@" in argument)
    outcomes = await outgoing.send(out, route(peer), "", ["bad@a.example", "good@a.example"], [MAIL])
    assert isinstance(outcomes["bad@a.example"], Failed)
    assert isinstance(outcomes["good@a.example"], Delivered)
    assert peer.mails[0].recipients == ("good@a.example",)


# Large contents and answers in their midst.


async def test_refused_in_the_midst_of_the_content(peer: Peer, out: ConnectionPools) -> None:
    peer.on("content", Say("552 5.3.4 too much"), times=1)
    outcome = await send(out, route(peer), b"x: y\r\n\r\n" + b"0123456789\r\n" * 4_000_000)
    assert isinstance(outcome, Failed) and outcome.reply.code == 552
    await peer.wait_until(lambda: peer.open_now == 0)
    assert peer.taken == 0


@pytest.mark.parametrize("octets", [b"250 " + b"x" * 100_000, b"250-x\r\n" * 30_000, b"HTTP/1.1 400 Bad\r\n"])
async def test_a_reply_without_end_is_not_waited_for(peer: Peer, out: ConnectionPools, octets: bytes) -> None:
    peer.on("mail", Raw(octets))
    outcome = await send(out, route(peer))
    assert isinstance(outcome, Deferred) and outcome.reply.enhanced == "4.5.0"


async def test_a_kept_connection_on_which_more_was_said_is_not_used_again(peer: Peer, out: ConnectionPools) -> None:
    peer.on("body", Raw(b"250 2.0.0 taken\r\n250 2.0.0 and more\r\n"), times=1)
    assert isinstance(await send(out, route(peer)), Delivered)
    outcome = await send(out, route(peer))
    assert isinstance(outcome, Delivered) and outcome.reply.text == "taken as 2"
    assert (peer.sessions, peer.taken) == (2, 2)


@pytest.mark.parametrize("behaviour", [Drop(), Reset()])
async def test_lost_in_the_midst_of_a_large_content_is_deferred(
    peer: Peer, out: ConnectionPools, behaviour: Behaviour
) -> None:
    peer.on("content", behaviour, times=1)
    outcome = await send(out, route(peer), b"x: y\r\n\r\n" + b"0123456789\r\n" * 4_000_000)
    assert isinstance(outcome, Deferred) and outcome.stage is Stage.BODY
    assert peer.taken == 0


async def test_a_next_hop_that_stops_reading_is_given_up(peer: Peer, out: ConnectionPools) -> None:
    peer.on("content", Stall(), times=1)
    outcome = await send(out, route(peer, SHORT), b"x: y\r\n\r\n" + b"0123456789\r\n" * 4_000_000)
    assert isinstance(outcome, Deferred) and outcome.stage is Stage.BODY
    assert outcome.reply.text == "no answer in time"


# Kept connections.


async def test_connections_are_kept_and_used_again(peer: Peer, out: ConnectionPools) -> None:
    for _ in range(5):
        assert isinstance(await send(out, route(peer)), Delivered)
    assert peer.sessions == 1
    assert out.counts() == {"default": (0, 1)}


async def test_a_refused_recipient_does_not_spoil_the_connection(peer: Peer, out: ConnectionPools) -> None:
    peer.on("rcpt", Say("550 5.1.1 unknown"), times=1)
    assert isinstance(await send(out, route(peer)), Failed)
    assert isinstance(await send(out, route(peer)), Delivered)
    assert peer.sessions == 1


async def test_as_many_connections_as_allowed(peer: Peer, out: ConnectionPools) -> None:
    gate = asyncio.Event()
    peer.on("body", Later(gate))
    sends = [asyncio.create_task(send(out, route(peer, connections=3))) for _ in range(8)]
    await peer.wait_until(lambda: peer.taken == 3)
    assert out.counts() == {"default": (3, 0)}
    gate.set()
    assert all(isinstance(outcome, Delivered) for outcome in await asyncio.gather(*sends))
    assert peer.most_open == 3


@pytest.mark.parametrize("behaviour", [Drop(), Reset(), Say("421 4.4.2 idle too long", close=True)])
async def test_a_kept_connection_found_dead_is_replaced_in_the_same_attempt(
    peer: Peer, out: ConnectionPools, behaviour: Behaviour
) -> None:
    assert isinstance(await send(out, route(peer)), Delivered)
    peer.on("mail", behaviour, times=1)
    assert isinstance(await send(out, route(peer)), Delivered)
    assert (peer.sessions, peer.taken) == (2, 2)


async def test_421_on_the_kept_and_on_the_fresh_connection_is_deferred(peer: Peer, out: ConnectionPools) -> None:
    await send(out, route(peer))
    peer.on("mail", Say("421 4.3.2 no more today", close=True), times=2)
    outcome = await send(out, route(peer))
    assert isinstance(outcome, Deferred) and outcome.reply.code == 421
    assert peer.sessions == 2


async def test_a_connection_closed_while_idle_is_noticed(peer: Peer, out: ConnectionPools) -> None:
    to = route(peer)
    await send(out, to)
    port = peer.port
    await peer.close()
    peer.port = port
    await peer.start()
    assert isinstance(await send(out, to), Delivered)


async def test_idle_connections_are_closed(peer: Peer) -> None:
    out = ConnectionPools(idle=0.01)
    await send(out, route(peer))
    await peer.wait_until(lambda: peer.open_now == 0)
    assert peer.commands[-1] == "QUIT"


async def test_a_connection_is_renewed_after_so_many_messages(peer: Peer) -> None:
    out = ConnectionPools(uses=2)
    for _ in range(4):
        await send(out, route(peer))
    assert peer.sessions == 2
    await out.close()


async def test_a_next_hop_that_is_down_is_tried_by_one_message_while_the_others_do_not_wait(peer: Peer) -> None:
    out = ConnectionPools(probe_wait=0.0)
    peer.on("connect", Silence())
    to = route(peer, SHORT, connections=2)
    outcomes = await asyncio.gather(*(send(out, to) for _ in range(20)))
    assert all(isinstance(outcome, Deferred) and outcome.stage is Stage.GREETING for outcome in outcomes)
    assert peer.sessions <= 4
    await out.close()


async def test_all_pass_once_the_one_message_that_tries_finds_it_up_again(peer: Peer, out: ConnectionPools) -> None:
    peer.on("connect", Say("421 4.3.2 busy", close=True), times=1)
    assert isinstance(await send(out, route(peer)), Deferred)
    outcomes = await asyncio.gather(*(send(out, route(peer)) for _ in range(20)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert peer.taken == 20


async def test_another_password_means_another_connection(peer: Peer, out: ConnectionPools) -> None:
    await send(out, route(peer))
    await send(out, route(peer, hostname="other.example"))
    assert peer.sessions == 2


async def test_a_cancelled_send_leaves_no_connection_half_way(peer: Peer, out: ConnectionPools) -> None:
    gate = asyncio.Event()
    peer.on("data", Later(gate), times=1)
    task = asyncio.create_task(send(out, route(peer)))
    await peer.wait_until(lambda: "DATA" in peer.commands)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert out.counts() == {"default": (0, 0)}
    assert isinstance(await send(out, route(peer)), Delivered)
    assert peer.taken == 1


async def test_no_content_is_asked_for_before_there_is_a_connection(peer: Peer, out: ConnectionPools) -> None:
    gate, made = asyncio.Event(), 0

    async def make_message() -> OutgoingMessage:
        nonlocal made
        made += 1
        return outgoing_message("", [TO], [MAIL])

    peer.on("body", Later(gate), times=2)
    sending = [asyncio.create_task(out.send(route(peer, connections=2), make_message)) for _ in range(9)]
    await peer.wait_until(lambda: len(peer.mails) == 2)
    assert made == 2
    gate.set()
    await asyncio.gather(*sending)
    assert made == 9
    with pytest.raises(Unreachable):
        await out.send(Route(peer.host, free_port(), Tls.NONE), make_message)
    assert made == 9


async def test_a_message_that_cannot_be_composed_spoils_no_connection(peer: Peer, out: ConnectionPools) -> None:
    async def make_message() -> OutgoingMessage:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await out.send(route(peer), make_message)
    assert out.counts() == {"default": (0, 1)}
    assert isinstance(await send(out, route(peer)), Delivered)
    assert peer.sessions == 1


# TLS and AUTH.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    ("theirs", "ours"), [("starttls", t) for t in (Tls.STARTTLS, Tls.REQUIRED)] + [("implicit", Tls.IMPLICIT)]
)
async def test_tls_and_password(out: ConnectionPools, certificate: tuple[Path, Path], theirs: str, ours: Tls) -> None:
    async with Peer(tls=theirs, certificate=certificate, users={"relay": "s3crêt"}) as peer:
        to = route(peer, tls=ours, username="relay", password="s3crêt", ca_file=str(certificate[0]))
        large = b"x: y\r\n\r\n" + b".123456789\r\n" * 400_000
        for mail in (MAIL, large):
            assert isinstance(await send(out, to, mail), Delivered)
            assert peer.mails[-1].tls and peer.mails[-1].user == "relay"
            assert peer.mails[-1].content == mail
        assert peer.sessions == 1


async def test_a_wrong_password_is_deferred_and_tried_once(
    out: ConnectionPools, certificate: tuple[Path, Path]
) -> None:
    async with Peer(tls="starttls", certificate=certificate, users={"relay": "right"}) as peer:
        to = route(peer, tls=Tls.REQUIRED, username="relay", password="wrong", ca_file=str(certificate[0]))
        outcome = await send(out, to)
        assert isinstance(outcome, Deferred) and outcome.alert and outcome.stage is Stage.AUTH
        assert outcome.reply.code == 535
        assert len([line for line in peer.commands if line.startswith("AUTH")]) == 1
        assert "wrong" not in repr(to)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("starttls", Tls.STARTTLS), ("starttls", Tls.REQUIRED), ("implicit", Tls.IMPLICIT)]
)
async def test_an_untrusted_certificate_is_deferred(
    out: ConnectionPools, certificate: tuple[Path, Path], theirs: str, ours: Tls
) -> None:
    async with Peer(tls=theirs, certificate=certificate) as peer:
        outcome = await send(out, route(peer, tls=ours))
        assert isinstance(outcome, Deferred) and outcome.alert
        assert (outcome.stage, outcome.reply.enhanced) == (Stage.TLS, "4.7.5")
        assert "self-signed" in outcome.reply.text
        assert peer.taken == 0


async def test_a_certificate_for_another_name_is_deferred(out: ConnectionPools, tmp_path: Path) -> None:
    other = self_signed(tmp_path, "other.example")
    async with Peer(tls="starttls", certificate=other) as peer:
        outcome = await send(out, route(peer, tls=Tls.REQUIRED, ca_file=str(other[0])))
        assert isinstance(outcome, Deferred) and outcome.alert and outcome.reply.enhanced == "4.7.5"
        assert peer.taken == 0


@pytest.mark.parametrize(("ours", "username"), [(Tls.REQUIRED, None), (Tls.STARTTLS, "relay"), (Tls.NONE, "relay")])
async def test_no_tls_no_password_in_clear(out: ConnectionPools, ours: Tls, username: str | None) -> None:
    async with Peer(users={"relay": "right"}) as peer:
        outcome = await send(out, route(peer, tls=ours, username=username, password="right"))
        assert isinstance(outcome, Deferred) and outcome.alert and outcome.reply.enhanced == "4.7.5"
        assert not any(line.startswith("AUTH") for line in peer.commands)


async def test_opportunistic_without_starttls_goes_in_clear(peer: Peer, out: ConnectionPools) -> None:
    assert isinstance(await send(out, route(peer, tls=Tls.STARTTLS)), Delivered)


@pytest.mark.parametrize(
    "behaviour", [Say("454 4.7.0 not now"), Say("502 5.5.1 no"), Drop(), Raw(b"220 go\r\nnot tls at all\r\n")]
)
async def test_starttls_that_fails_is_deferred(
    out: ConnectionPools, certificate: tuple[Path, Path], behaviour: Behaviour
) -> None:
    async with Peer(tls="starttls", certificate=certificate) as peer:
        peer.on("starttls", behaviour)
        outcome = await send(out, route(peer, SHORT, tls=Tls.STARTTLS))
        assert isinstance(outcome, Deferred) and outcome.stage is Stage.TLS
        assert peer.taken == 0


async def test_a_missing_ca_file_is_reported(peer: Peer, out: ConnectionPools) -> None:
    outcome = await send(out, route(peer, tls=Tls.REQUIRED, ca_file="/nowhere.pem"))
    assert isinstance(outcome, Deferred) and outcome.alert and "/nowhere.pem" in outcome.reply.text


# Dot-stuffing.


def _on_the_wire(mail: bytes) -> bytes:
    """rfc5321#4.5.2 and #4.1.1.4."""
    return (b"\r\n" + mail).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


@given(st.lists(st.binary(max_size=12) | st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a"])).map(b"".join)))
def test_stuffing_agrees_with_the_definition_whatever_the_chunks(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    content = prepare([memoryview(chunk) for chunk in chunks])
    missing = b"" if not whole or whole.endswith(b"\r\n") else b"\r\n"
    assert b"".join(content.pieces) == _on_the_wire(whole + missing)
    many = b"." * 150 + whole + b"\r\n"
    assert b"".join(prepare([many]).pieces) == _on_the_wire(many)
    assert content.eightbit is (not whole.isascii())
    assert content.size == len(whole + missing)


def test_long_pieces_are_cut() -> None:
    pieces = prepare([b"a" * (SLICE * 2 + 5)]).pieces
    assert max(map(len, pieces)) <= SLICE
    assert b"".join(pieces) == b"a" * (SLICE * 2 + 5) + b"\r\n.\r\n"


def test_what_the_next_hop_gets_is_the_content() -> None:
    """Over a real connection, kept across all examples."""

    async def play() -> None:
        async with Peer() as peer:
            out = ConnectionPools()

            async def one(lines: list[bytes], cuts: list[int]) -> None:
                mail = b"".join(line + b"\r\n" for line in lines)
                edges = sorted({0, len(mail), *(cut % (len(mail) + 1) for cut in cuts)})
                chunks = [memoryview(mail)[start:end] for start, end in itertools.pairwise(edges)]
                outcomes = await outgoing.send(out, route(peer), "", [TO], chunks)
                assert isinstance(outcomes[TO], Delivered)
                assert peer.mails[-1].content == mail

            examples: list[tuple[list[bytes], list[int]]] = []
            line = st.sampled_from([b"", b".", b"..", b".a", b"a", b"a.", b"\xe9.", b"x" * 997])

            @given(st.lists(line, max_size=8), st.lists(st.integers(0, 10_000), max_size=8))
            def collect(lines: list[bytes], cuts: list[int]) -> None:
                examples.append((lines, cuts))

            collect()
            for lines, cuts in examples:
                await one(lines, cuts)
            await out.close()

    asyncio.run(play())
