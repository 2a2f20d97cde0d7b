"""Which address of the next hop is taken, and by which method one authenticates there."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.demo.stage import free_port
from relay.replies import Deferred, Delivered, Stage
from relay.smtp_client import ConnectionPools, Route, Tls
from tests.support import outgoing
from tests.support.peer import Behaviour, Drop, Peer, Say, self_signed

TO, MAIL = "client@agiris.example", b"Subject: x\r\n\r\nx\r\n"


@pytest.fixture
async def out() -> AsyncIterator[ConnectionPools]:
    smarthosts = ConnectionPools()
    yield smarthosts
    await smarthosts.close()


def resolving(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let every name have these addresses."""

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in hosts
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_each_address_is_tried_in_turn(out: ConnectionPools, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Peer() as peer:  # at 127.0.0.1 alone
        resolving(monkeypatch, "::1", "127.0.0.9", peer.host)
        found = await outgoing.send(out, Route("smtp.example", peer.port, Tls.NONE), "b@relay.example", [TO], [MAIL])
        assert isinstance(found[TO], Delivered)


@pytest.mark.parametrize(
    "greeting", [Say("421 4.3.2 not now", close=True), Say("554 5.3.2 no mail here", close=True), Drop()]
)
async def test_an_address_that_sends_us_away_is_passed_over(
    out: ConnectionPools, monkeypatch: pytest.MonkeyPatch, greeting: Behaviour
) -> None:
    async with Peer("127.0.0.2") as one, Peer("127.0.0.3", one.port) as two:
        resolving(monkeypatch, one.host, two.host)
        one.on("connect", greeting)
        found = await outgoing.send(out, Route("smtp.example", one.port, Tls.NONE), "b@relay.example", [TO], [MAIL])
        assert isinstance(found[TO], Delivered) and two.taken == 1


async def test_a_refused_password_is_not_tried_at_the_next_address(
    out: ConnectionPools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path, "smtp.example")
    terms: dict[str, Any] = {"tls": "starttls", "certificate": certificate, "users": {"relay": "right"}}
    async with Peer("127.0.0.2", **terms) as one, Peer("127.0.0.3", one.port, **terms) as two:
        resolving(monkeypatch, one.host, two.host)
        to = Route("smtp.example", one.port, Tls.REQUIRED, "relay", "wrong", ca_file=str(certificate[0]))
        found = (await outgoing.send(out, to, "b@relay.example", [TO], [MAIL]))[TO]
        assert isinstance(found, Deferred) and found.stage is Stage.AUTH
        assert (one.sessions, two.sessions) == (1, 0)


async def test_no_address_answers(out: ConnectionPools, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "::1", "127.0.0.9")
    found = (await outgoing.send(out, Route("smtp.example", free_port(), Tls.NONE), "b@relay.example", [TO], [MAIL]))[
        TO
    ]
    assert isinstance(found, Deferred) and found.stage is Stage.CONNECT and "smtp.example" in found.reply.text


@pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "LOGIN XOAUTH2"])
async def test_the_method_that_is_offered_is_used(out: ConnectionPools, tmp_path: Path, method: str) -> None:
    certificate = self_signed(tmp_path)
    async with Peer(tls="starttls", certificate=certificate, users={"relay": "s3crêt"}) as peer:
        offer = f"250-peer.example\r\n250-STARTTLS\r\n250 AUTH {method}"
        peer.on("ehlo", Say(offer), times=2)
        to = Route(peer.host, peer.port, Tls.REQUIRED, "relay", "s3crêt", ca_file=str(certificate[0]))
        found = await outgoing.send(out, to, "b@relay.example", [TO], [MAIL])
        assert isinstance(found[TO], Delivered), found
        assert peer.mails[0].user == "relay"
        assert [line.split()[1] for line in peer.commands if line.startswith("AUTH")] == [method.split()[0]]


async def test_a_token_is_given_by_xoauth2_and_never_as_a_password(out: ConnectionPools, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    async with Peer(tls="starttls", certificate=certificate, users={"relay@firm.example": "ya29.token"}) as peer:
        to = Route(peer.host, peer.port, Tls.REQUIRED, "relay@firm.example", ca_file=str(certificate[0]))
        to = replace(to, token="ya29.token")
        found = await outgoing.send(out, to, "b@relay.example", [TO], [MAIL])
        assert isinstance(found[TO], Delivered), found
        assert peer.mails[0].user == "relay@firm.example"
        peer.on("ehlo", Say("250-peer.example\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN"), times=2)
        found = await outgoing.send(out, replace(to, token="ya29.other"), "b@relay.example", [TO], [MAIL])
        assert isinstance(found[TO], Deferred) and found[TO].alert and found[TO].reply.text.endswith("none of XOAUTH2")
        assert len([line for line in peer.commands if line.startswith("AUTH")]) == 1


async def test_a_token_that_has_expired_is_deferred_with_an_alert(out: ConnectionPools, tmp_path: Path) -> None:
    """The next hop tells the reason as a challenge; only after an empty answer it refuses (334, then 535)."""
    certificate = self_signed(tmp_path)
    async with Peer(tls="starttls", certificate=certificate, users={"relay": "fresh"}) as peer:
        to = Route(peer.host, peer.port, Tls.REQUIRED, "relay", token="ya29.stale", ca_file=str(certificate[0]))
        found = (await outgoing.send(out, to, "b@relay.example", [TO], [MAIL]))[TO]
        assert isinstance(found, Deferred) and found.alert and found.stage is Stage.AUTH
        assert found.reply.code == 535
        assert "ya29.stale" not in repr(to) + str(found)
        assert isinstance(
            (await outgoing.send(out, replace(to, token="fresh"), "b@relay.example", [TO], [MAIL]))[TO], Delivered
        )


async def test_a_token_refused_without_a_challenge_is_deferred_as_well(out: ConnectionPools, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    async with Peer(tls="starttls", certificate=certificate, users={"relay": "fresh"}) as peer:
        peer.on("auth", Say("535 5.7.3 Authentication unsuccessful"))
        to = Route(peer.host, peer.port, Tls.REQUIRED, "relay", token="fresh", ca_file=str(certificate[0]))
        found = (await outgoing.send(out, to, "b@relay.example", [TO], [MAIL]))[TO]
        assert isinstance(found, Deferred) and found.alert and found.reply.enhanced == "5.7.3"
