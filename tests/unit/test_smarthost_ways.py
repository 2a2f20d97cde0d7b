"""Which address of the next hop is taken, and by which method one authenticates there."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.demo.stage import free_port
from relay.reply import Deferred, Delivered, Stage
from relay.smarthost import Route, Smarthosts, Tls
from tests.support.peer import Peer, Say, self_signed

TO, MAIL = "client@agiris.example", b"Subject: x\r\n\r\nx\r\n"


@pytest.fixture
async def out() -> AsyncIterator[Smarthosts]:
    smarthosts = Smarthosts()
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


async def test_each_address_is_tried_in_turn(out: Smarthosts, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Peer() as peer:  # at 127.0.0.1 alone
        resolving(monkeypatch, "::1", "127.0.0.9", peer.host)
        found = await out.send(Route("smtp.example", peer.port, Tls.NONE), "b@relay.example", [TO], [MAIL])
        assert isinstance(found[TO], Delivered)


async def test_no_address_answers(out: Smarthosts, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "::1", "127.0.0.9")
    found = (await out.send(Route("smtp.example", free_port(), Tls.NONE), "b@relay.example", [TO], [MAIL]))[TO]
    assert isinstance(found, Deferred) and found.stage is Stage.CONNECT and "smtp.example" in found.reply.text


@pytest.mark.parametrize("method", ["PLAIN", "LOGIN"])
async def test_the_method_that_is_offered_is_used(out: Smarthosts, tmp_path: Path, method: str) -> None:
    certificate = self_signed(tmp_path)
    async with Peer(tls="starttls", certificate=certificate, users={"relay": "s3crêt"}) as peer:
        offer = f"250-peer.example\r\n250-STARTTLS\r\n250 AUTH {method}"
        peer.on("ehlo", Say(offer), times=2)
        to = Route(peer.host, peer.port, Tls.REQUIRED, "relay", "s3crêt", ca_file=str(certificate[0]))
        found = await out.send(to, "b@relay.example", [TO], [MAIL])
        assert isinstance(found[TO], Delivered), found
        assert peer.mails[0].user == "relay"
        assert [line.split()[1] for line in peer.commands if line.startswith("AUTH")] == [method]
