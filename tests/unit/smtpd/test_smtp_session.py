"""What a dialogue cannot show: what reaches the intake, limits, timeouts, disconnects, drain, reload."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.model import Envelope, Recipient
from relay.observability.events import (
    AuthenticationFailed,
    ConnectionOpened,
    ConnectionRejected,
    InternalError,
    SessionError,
    TransactionRejected,
)
from relay.smtpd import ListenerConfigError, data, make_user_line
from relay.smtpd.connection import INPUT_LIMIT, RECEIVE_BUFFER
from tests.support.smtp_server import Events, Limits, Listener, Recorder, SmtpServer, self_signed


class Peer:
    """A client that sends what the test writes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> str:
        async with asyncio.timeout(15):
            while (line := await self.reader.readline())[3:4] == b"-":
                pass
        return line.decode().rstrip("\r\n")

    def reset(self) -> None:
        """Close with RST."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def ask(self, line: str) -> str:
        self.writer.write(line.encode() + b"\r\n")
        return await self.reply()

    async def mail_to(self, local: str = "c", ehlo: str = "EHLO client.example") -> None:
        """Up to 354."""
        for line in (ehlo, "MAIL FROM:<a@sender.example>", f"RCPT TO:<{local}@export.example>"):
            assert (await self.ask(line)).startswith("250")
        assert (await self.ask("DATA")).startswith("354")

    async def mail_to_bdat(self) -> None:
        """Up to the first BDAT."""
        for line in ("EHLO client.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<c@export.example>"):
            assert (await self.ask(line)).startswith("250")

    async def closed_after(self, word: str) -> None:
        assert (await self.reply()).startswith(word)
        await self.closed()

    async def closed(self) -> None:
        async with asyncio.timeout(15):
            assert await self.reader.read() == b""


class Stage:
    """A server with its limits, and what its intake and its observer got."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.recorder, self.events = Recorder(), Events()
        self.server: SmtpServer

    async def open(self, *listeners: Listener, **options: Any) -> None:
        options = {"auth_delay": 0.0, **options}
        self.server = SmtpServer(
            listeners or [Listener()], lambda: self.limits, self.recorder, "mx.example", self.events, **options
        )
        await self.server.start()

    async def no_session_left(self) -> None:
        """Wait until no session is left."""
        async with asyncio.timeout(15):
            while self.server.sessions:
                await asyncio.sleep(0.01)

    async def connect(self, index: int = 0, greeted: bool = True) -> Peer:
        peer = Peer(*await asyncio.open_connection(*self.server.addresses[index]))
        if greeted:
            assert (await peer.reply()).startswith("220")
        return peer


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.recorder.go_on.set()
    stage.server.close()


async def test_envelope_holds_what_the_client_said(stage: Stage) -> None:
    await stage.open()
    peer = await stage.connect()
    await peer.ask("EHLO client.example")
    await peer.ask("MAIL FROM:<é@sender.example> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=QQ+2B1")
    await peer.ask("RCPT TO:<c@export.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@z")
    await peer.ask("DATA")
    await peer.ask("Subject: x\r\n\r\n..body\r\n.")
    assert stage.recorder.mails == [
        (
            Envelope(
                sender="é@sender.example",
                recipients=(Recipient("c@export.example", frozenset({"SUCCESS", "DELAY"}), "rfc822;x+2By@z"),),
                peer="127.0.0.1",
                helo="client.example",
                protocol="UTF8SMTP",
                body="8BITMIME",
                smtputf8=True,
                ret="HDRS",
                envid="QQ+2B1",
            ),
            b"Subject: x\r\n\r\n.body\r\n",
        )
    ]


async def test_ipv4_and_ipv6_listeners_accept_messages(stage: Stage) -> None:
    await stage.open(Listener("127.0.0.1"), Listener("::1"))
    for index, address in enumerate(("127.0.0.1", "::1")):
        peer = await stage.connect(index)
        await peer.mail_to(ehlo="HELO x")
        assert (await peer.ask("x\r\n.")).startswith("250")
        envelope = stage.recorder.mails[-1][0]
        assert (envelope.peer, envelope.protocol) == (address, "SMTP")


async def test_port_in_use_fails_the_start_and_nothing_listens(stage: Stage) -> None:
    await stage.open()
    in_use = Listener(port=stage.server.addresses[0][1])
    other = SmtpServer([Listener(), in_use], lambda: stage.limits, stage.recorder, "mx.example", stage.events)
    with pytest.raises(OSError):
        await other.start()
    assert other.addresses == []


async def test_connections_over_the_limit_of_a_host_are_rejected(stage: Stage) -> None:
    stage.limits = Limits(max_connections=3, max_connections_per_host=2)
    await stage.open()
    first, _second = await stage.connect(), await stage.connect()
    third = await stage.connect(greeted=False)
    assert (await third.reply()).startswith("421 4.7.0")
    await third.closed()
    assert (await first.ask("QUIT")).startswith("221")
    await first.closed()
    await stage.connect()
    assert len(stage.events.of(ConnectionRejected)) == 1


async def test_changed_limit_is_in_force_at_once(stage: Stage) -> None:
    await stage.open()
    peer = await stage.connect()
    await peer.ask("EHLO x")
    stage.limits = Limits(max_mail_size=10)
    assert (await peer.ask("MAIL FROM:<a@b.example> SIZE=11")).startswith("552 5.3.4")


async def test_message_handed_to_the_intake_is_kept_when_the_client_goes(stage: Stage) -> None:
    await stage.open()
    peer = await stage.connect()
    await peer.mail_to("slow")
    peer.writer.write(b"x\r\n.\r\n")
    await stage.recorder.arrived.wait()
    peer.reset()
    async with asyncio.timeout(15):
        while stage.server.sessions:
            await asyncio.sleep(0)
    stage.recorder.go_on.set()
    await stage.server.drain(5.0)
    assert [raw for _, raw in stage.recorder.mails] == [b"x\r\n"]


async def test_commands_sent_ahead_are_not_run_after_the_client_has_gone(stage: Stage) -> None:
    await stage.open()
    peer = await stage.connect()
    await peer.mail_to("slow")
    ahead = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<c@export.example>\r\nDATA\r\ny\r\n.\r\n"
    peer.writer.write(b"x\r\n.\r\n" + ahead)
    await stage.recorder.arrived.wait()
    (session,) = stage.server._context.tasks
    peer.reset()
    await stage.no_session_left()
    stage.recorder.go_on.set()
    await asyncio.wait([session])
    assert [raw for _, raw in stage.recorder.mails] == [b"x\r\n"]
    assert stage.events.of(InternalError) == []


async def test_input_is_bounded_while_the_intake_has_a_message(stage: Stage) -> None:
    await stage.open()
    peer = await stage.connect()
    await peer.mail_to("slow")
    peer.writer.write(b"x\r\n.\r\n")
    await stage.recorder.arrived.wait()
    (runner,) = stage.server._sessions
    connection = runner._connection
    peer.writer.write(b"NOOP\r\n" * 1_000_000)
    async with asyncio.timeout(15):
        while connection._transport is not None and connection._transport.is_reading():
            await asyncio.sleep(0)
    assert INPUT_LIMIT < len(connection._input) <= INPUT_LIMIT + RECEIVE_BUFFER
    stage.recorder.go_on.set()
    assert (await peer.reply()).startswith("250 2.0.0")
    assert (await peer.reply()).startswith("250 2.0.0")


async def test_incomplete_message_is_not_accepted(stage: Stage) -> None:
    await stage.open()
    peer = await stage.connect()
    await peer.mail_to()
    peer.writer.write(b"Subject: half\r\n\r\n")
    peer.writer.write_eof()
    await peer.closed()
    assert stage.recorder.mails == []
    assert stage.events.of(SessionError)


async def test_drain_ends_idle_sessions_and_lets_busy_ones_finish(stage: Stage) -> None:
    await stage.open()
    idle, reading, handing = await stage.connect(), await stage.connect(), await stage.connect()
    await reading.mail_to()
    await handing.mail_to("slow")
    handing.writer.write(b"y\r\n.\r\n")
    await stage.recorder.arrived.wait()
    address = stage.server.addresses[0]
    draining = asyncio.create_task(stage.server.drain(20.0))
    assert (await idle.reply()).startswith("421 4.3.2")
    await idle.closed()
    with pytest.raises(OSError):
        await asyncio.open_connection(*address)
    assert (await reading.ask("x\r\n.")).startswith("250")
    assert (await reading.reply()).startswith("421 4.3.2")
    stage.recorder.go_on.set()
    assert (await handing.reply()).startswith("250")
    await draining
    assert sorted(raw for _, raw in stage.recorder.mails) == [b"x\r\n", b"y\r\n"]
    assert stage.server.sessions == 0


async def test_drain_cuts_sessions_after_its_timeout_but_waits_for_the_intake(stage: Stage) -> None:
    await stage.open()
    reading, handing = await stage.connect(), await stage.connect()
    await reading.mail_to()
    await handing.mail_to("slow")
    handing.writer.write(b"y\r\n.\r\n")
    await stage.recorder.arrived.wait()
    draining = asyncio.create_task(stage.server.drain(0.0))
    with pytest.raises((ConnectionError, AssertionError)):
        await reading.closed()
        raise ConnectionError
    assert not draining.done()
    stage.recorder.go_on.set()
    await draining
    assert [raw for _, raw in stage.recorder.mails] == [b"y\r\n"]


@pytest.mark.parametrize("inside_data", [False, True])
async def test_idle_client_gets_421(stage: Stage, inside_data: bool) -> None:
    await stage.open()
    peer = await stage.connect()
    if inside_data:
        await peer.mail_to()
        peer.writer.write(b"half")
    stage.limits = Limits(idle_timeout=0.05)
    if not inside_data:
        assert (await peer.ask("NOOP")).startswith("250")
    else:
        peer.writer.close()  # what was already awaited keeps the old time: only a new session has the new one
        peer = await stage.connect()
    assert (await peer.reply()).startswith("421 4.4.2")
    await peer.closed()


async def test_client_that_reads_no_reply_is_cut_off(stage: Stage) -> None:
    stage.limits = Limits(idle_timeout=0.2)
    await stage.open()
    loop = asyncio.get_running_loop()
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        peer.setblocking(False)
        await loop.sock_connect(peer, stage.server.addresses[0])
        mail = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<c@export.example>\r\nBDAT 2 LAST\r\n\r\n"
        sending = asyncio.create_task(loop.sock_sendall(peer, b"EHLO client.example\r\n" + mail * 50_000))
        await stage.no_session_left()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert [error.why for error in stage.events.of(SessionError)] == ["timeout"]


async def test_session_ends_after_the_session_timeout(stage: Stage) -> None:
    stage.limits = Limits(session_timeout=0.05)
    await stage.open()
    peer = await stage.connect(greeted=False)
    said = await peer.reader.read()
    assert said.startswith(b"220 ") and b"\r\n421 4.4.2 " in said


async def test_message_beyond_the_memory_budget_is_452_and_the_dialogue_stays_in_step(stage: Stage) -> None:
    await stage.open(memory=60_000)
    first, second = await stage.connect(), await stage.connect()
    await first.mail_to()
    first.writer.write(b"x" * 900 + b"\r\n" * 1 + (b"y" * 900 + b"\r\n") * 60)
    async with asyncio.timeout(15):
        while stage.server._context.memory.used < 50_000:
            await asyncio.sleep(0)
    await second.mail_to()
    assert (await second.ask(("z" * 900 + "\r\n") * 60 + ".")).startswith("452 4.3.1")
    assert (await second.ask("NOOP")).startswith("250")
    assert (await first.ask(".")).startswith("250")
    await second.mail_to()
    assert (await second.ask(("z" * 900 + "\r\n") * 60 + ".")).startswith("250")
    assert stage.server._context.memory.used == 0


async def test_exception_of_the_intake_is_reported_and_not_shown_to_the_client(stage: Stage) -> None:
    await stage.open()
    peer = await stage.connect()
    await peer.mail_to("fault")
    assert await peer.ask("x\r\n.") == "451 4.3.0 local error, try again later"
    [fault] = stage.events.of(InternalError)
    assert isinstance(fault.error, RuntimeError)


async def test_replies_to_a_client_that_reads_nothing_do_not_accumulate(stage: Stage) -> None:
    """Replies are sent when they are many; while the client reads none, its commands are not read."""
    stage.limits = Limits(max_recipients=100_000, idle_timeout=30.0)
    await stage.open()
    peer = await stage.connect()
    await peer.ask("EHLO x")
    await peer.ask("MAIL FROM:<a@b.example>")
    peer.writer.write(b"RCPT TO:<c@export.example>\r\n" * 5000)
    for _ in range(5000):
        assert await peer.reply() == "250 2.1.5 recipient OK"


# TLS and AUTH.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return self_signed(tmp_path_factory.mktemp("tls"))


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
    return context


async def starttls(peer: Peer, context: ssl.SSLContext | None = None) -> None:
    await peer.ask("EHLO x")
    assert (await peer.ask("STARTTLS")).startswith("220")
    await peer.writer.start_tls(context or client_context())


def secured(certificate: tuple[str, str], **changes: Any) -> Listener:
    return replace(Listener(tls="starttls", certificate=certificate[0], private_key=certificate[1]), **changes)


async def test_protocol_of_the_envelope_names_tls_and_authentication(
    stage: Stage, certificate: tuple[str, str], tmp_path: Path
) -> None:
    users = tmp_path / "users"
    users.write_text(make_user_line("jefacture", "secret"))
    await stage.open(secured(certificate, users_file=str(users), allow_networks=()))
    peer = await stage.connect()
    await starttls(peer)
    await peer.ask("EHLO x")
    assert (await peer.ask("AUTH PLAIN AGplZmFjdHVyZQBzZWNyZXQ=")).startswith("235")
    await peer.mail_to()
    assert (await peer.ask("x\r\n.")).startswith("250")
    envelope = stage.recorder.mails[0][0]
    assert (envelope.protocol, envelope.user) == ("ESMTPSA", "jefacture")


async def test_tls_1_1_is_refused(stage: Stage, certificate: tuple[str, str]) -> None:
    await stage.open(secured(certificate))
    peer = await stage.connect()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await starttls(peer, client_context(ssl.TLSVersion.TLSv1_1))


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_failed_handshake_leaves_no_session(stage: Stage, certificate: tuple[str, str], tls: str) -> None:
    await stage.open(secured(certificate, tls=tls))
    for _ in range(3):
        peer = await stage.connect(greeted=tls == "starttls")
        if tls == "starttls":
            await peer.ask("EHLO x")
            assert (await peer.ask("STARTTLS")).startswith("220")
        peer.writer.write(b"this is no handshake at all, whatever one may think\r\n")
        async with asyncio.timeout(15):
            await peer.reader.read()
            while stage.server.sessions:
                await asyncio.sleep(0)
    assert stage.server._context.connections.total == 0
    assert len(stage.events.of(SessionError)) == 3
    assert stage.events.of(InternalError) == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("end", ["reset", "timer"])
async def test_connection_lost_during_the_handshake_leaves_no_session(
    stage: Stage, certificate: tuple[str, str], tls: str, end: str
) -> None:
    stage.limits = Limits(session_timeout=0.3 if end == "timer" else 60.0)
    await stage.open(secured(certificate, tls=tls))
    peer = await stage.connect(greeted=tls == "starttls")
    if tls == "starttls":
        await peer.ask("EHLO x")
        assert (await peer.ask("STARTTLS")).startswith("220")
    peer.writer.write(b"\x16\x03\x01")
    async with asyncio.timeout(15):
        while not stage.server.sessions:
            await asyncio.sleep(0)
        if end == "reset":
            peer.reset()
        while stage.server.sessions:
            await asyncio.sleep(0)
    assert stage.server._context.connections.total == 0
    assert stage.events.of(InternalError) == []


async def test_proxy_header_and_handshake_in_one_packet_are_accepted(
    stage: Stage, certificate: tuple[str, str]
) -> None:
    await stage.open(secured(certificate, tls="implicit", proxy_protocol=True, allow_networks=("127.0.0.0/8",)))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    reader, writer = await asyncio.open_connection(*stage.server.addresses[0])
    writer.write(b"PROXY TCP4 127.0.0.9 127.0.0.1 4000 25\r\n" + outgoing.read())
    said = b""
    async with asyncio.timeout(15):
        while not said:
            incoming.write(await reader.read(65536))
            try:
                client.do_handshake()
                writer.write(outgoing.read())
                said = client.read()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
    writer.close()
    assert said == b"220 mx.example ESMTP\r\n"
    assert stage.events.of(ConnectionOpened)[0].peer == "127.0.0.9"


async def test_large_message_passes_through_tls(stage: Stage, certificate: tuple[str, str]) -> None:
    stage.limits = Limits(max_mail_size=5_000_000)
    await stage.open(secured(certificate, tls="implicit"))
    peer = Peer(*await asyncio.open_connection(*stage.server.addresses[0], ssl=client_context()))
    assert (await peer.reply()).startswith("220")
    await peer.mail_to()
    body = (b"A" * 76 + b"\r\n") * 50_000
    peer.writer.write(body)
    assert (await peer.ask(".")).startswith("250")
    assert stage.recorder.mails[0][1] == body


async def test_reload_uses_a_new_certificate_and_a_faulty_one_changes_nothing(stage: Stage, tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    await stage.open(secured(pair))

    async def shown() -> bytes:
        peer = await stage.connect()
        await starttls(peer)
        return peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    first = await shown()
    self_signed(tmp_path)
    assert await shown() == first
    stage.server.reload()
    second = await shown()
    assert second != first
    Path(pair[0]).write_text("nonsense")
    with pytest.raises(ListenerConfigError, match=r"cert\.pem"):
        stage.server.reload()
    assert await shown() == second


async def test_start_names_the_faulty_files(stage: Stage, certificate: tuple[str, str], tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("nobody:plain\n")
    await stage.open()
    for listener, name in (
        (Listener(tls="implicit"), "needs a certificate"),
        (Listener(tls="starttls", certificate="/none.pem"), "/none.pem"),
        (secured(certificate, users_file=str(users)), "line 1"),
        (secured(certificate, users_file="/none"), "/none"),
    ):
        server = SmtpServer([listener], lambda: stage.limits, stage.recorder, "mx.example", stage.events)
        with pytest.raises(ListenerConfigError, match=name):
            await server.start()


async def test_host_with_too_many_wrong_passwords_is_blocked(
    stage: Stage, certificate: tuple[str, str], tmp_path: Path
) -> None:
    users = tmp_path / "users"
    users.write_text(make_user_line("jefacture", "secret"))
    await stage.open(secured(certificate, tls="implicit", users_file=str(users)))
    last = ""
    for _ in range(4):
        peer = Peer(*await asyncio.open_connection(*stage.server.addresses[0], ssl=client_context()))
        await peer.reply()
        await peer.ask("EHLO x")
        for _ in range(3):
            last = await peer.ask("AUTH PLAIN AGplZmFjdHVyZQB3cm9uZw==")
            if last.startswith("421"):
                break
    assert last == "421 4.7.0 too many wrong passwords from your address"
    assert len(stage.events.of(AuthenticationFailed)) == 10


async def test_memory_of_bdat_is_released_however_it_ends(stage: Stage) -> None:
    await stage.open(memory=1000)
    memory = stage.server._context.memory
    for end in ("RSET", "EHLO x", "BDAT 0 LAST", "QUIT"):
        peer = await stage.connect()
        await peer.mail_to_bdat()
        peer.writer.write(b"BDAT 500\r\n" + b"x" * 498 + b"\r\n")
        assert (await peer.reply()).startswith("250 2.0.0")
        assert memory.used == 500
        await peer.ask(end)
        assert memory.used == 0
        peer.writer.close()
    peer = await stage.connect()
    await peer.mail_to_bdat()
    peer.writer.write(b"BDAT 500\r\n" + b"x" * 100)
    await peer.writer.drain()
    peer.reset()
    await stage.no_session_left()
    assert memory.used == 0


async def test_bdat_chunk_beyond_the_memory_budget_is_452(stage: Stage) -> None:
    await stage.open(memory=1000)
    one, other = await stage.connect(), await stage.connect()
    for peer in (one, other):
        await peer.mail_to_bdat()
    assert (await one.ask("BDAT 802\r\n" + "x" * 800)).startswith("250")
    assert (await other.ask("BDAT 802\r\n" + "x" * 800)).startswith("452 4.3.1")
    assert (await other.ask("BDAT 0 LAST")).startswith("452 4.3.1")
    assert (await one.ask("BDAT 0 LAST")).startswith("250")
    await other.ask("MAIL FROM:<a@sender.example>")
    await other.ask("RCPT TO:<c@export.example>")
    assert (await other.ask("BDAT 802 LAST\r\n" + "x" * 800)).startswith("250")


async def test_drain_waits_for_the_chunks_of_a_begun_message(stage: Stage) -> None:
    await stage.open()
    peer = await stage.connect()
    await peer.mail_to_bdat()
    assert (await peer.ask("BDAT 6\r\nbody")).startswith("250")
    draining = asyncio.create_task(stage.server.drain(20))
    await asyncio.sleep(0)
    assert (await peer.ask("BDAT 5 LAST\r\nend")).startswith("250 2.0.0")
    await draining
    assert stage.recorder.mails[0][1] == b"body\r\nend\r\n"


async def test_host_over_its_message_rate_gets_450(stage: Stage) -> None:
    stage.limits = Limits(max_mails_per_minute_per_host=2)
    await stage.open()
    peer = await stage.connect()
    await peer.ask("EHLO x")
    for _ in range(2):
        assert (await peer.ask("MAIL FROM:<a@b.example>")).startswith("250")
        await peer.ask("RSET")
    assert (await peer.ask("MAIL FROM:<a@b.example>")).startswith("450 4.7.1")
    assert str(stage.events.of(TransactionRejected)[0].reply).startswith("450 4.7.1")


async def test_bare_lf_is_repaired_if_configured(stage: Stage) -> None:
    stage.limits = Limits(bare_lf="repair", max_mail_size=20)
    await stage.open()
    for content, answer in (
        (b"a\nb\r\n.\r\n", "250"),
        (b"a\rb\r\n.\r\n", "554 5.6.11"),
        (b"a\n.\nb\r\n.\r\n", "554 5.6.11"),
        (b"a\n.\r\nb\r\n.\r\n", "554 5.6.11"),
        (b"\n" * 16 + b"\r\n.\r\n", "552 5.3.4"),
    ):
        peer = await stage.connect()
        await peer.mail_to()
        peer.writer.write(content)
        assert (await peer.reply()).startswith(answer), content
    assert [raw for _, raw in stage.recorder.mails] == [b"a\r\nb\r\n"]
    assert stage.server._context.memory.used == 0


async def test_each_rejection_makes_one_event_and_replies_of_the_intake_make_none(stage: Stage) -> None:
    await stage.open()
    peer = await stage.connect()
    await peer.mail_to("busy")
    assert (await peer.ask("x\r\n.")).startswith("451 4.3.2")
    await peer.mail_to("fault")
    assert (await peer.ask("x\r\n.")).startswith("451 4.3.0")
    await peer.mail_to()
    assert (await peer.ask("x\ny\r\n.")).startswith("554 5.6.11")
    assert stage.events.of(TransactionRejected) == []
    await peer.ask("MAIL FROM:<a@b.example> SIZE=99999999")
    await peer.ask("MAIL FROM:<a@b.example>")
    await peer.ask("RCPT TO:<c@elsewhere.example>")
    replies = [str(rejection.reply)[:10].rstrip() for rejection in stage.events.of(TransactionRejected)]
    assert replies == ["552 5.3.4", "550 5.7.1"]


async def test_event_of_a_rejected_connection_has_its_cause(stage: Stage) -> None:
    proxied = Listener(proxy_protocol=True, proxy_networks=("192.0.2.0/24",))
    await stage.open(Listener(), Listener(allow_networks=("192.0.2.0/24",)), proxied)
    await (await stage.connect(1, greeted=False)).closed_after("554 5.7.1")
    await (await stage.connect(2, greeted=False)).closed()
    stage.limits = Limits(max_connections_per_host=0)
    await (await stage.connect(greeted=False)).closed_after("421 4.7.0")
    stage.limits = Limits(max_connections=0)
    await (await stage.connect(greeted=False)).closed_after("421 4.7.0")
    causes = [rejection.cause for rejection in stage.events.of(ConnectionRejected)]
    assert causes == ["network", "protocol", "host_limit", "server_limit"]


@pytest.mark.parametrize(
    "header, peer",
    [
        (b"PROXY TCP4 198.51.100.7 192.0.2.1 4000 25\r\n", "198.51.100.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 25\r\n", "2001:db8::7"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x07\xc0\0\2\1\x0f\xa0\0\x19", "198.51.100.7"),
    ],
)
async def test_proxy_and_client_are_checked_each_against_its_own_networks(
    stage: Stage, header: bytes, peer: str
) -> None:
    networks = ("198.51.100.0/24", "2001:db8::/32")
    await stage.open(Listener(proxy_protocol=True, proxy_networks=("127.0.0.1/32",), allow_networks=networks))
    client = await stage.connect(greeted=False)
    client.writer.write(header)
    assert (await client.reply()).startswith("220")
    assert stage.events.of(ConnectionOpened)[0].peer == peer


class Faulty:
    """A DataDecoder or BdatDecoder that fails after the first octets, as for want of memory."""

    def __init__(self, real: Any) -> None:
        self._real, self._fed = real, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __len__(self) -> int:
        return len(self._real)

    def feed(self, octets: bytes) -> Any:
        self._fed += 1
        if self._fed > 1:
            raise MemoryError
        return self._real.feed(octets)


@pytest.mark.parametrize(
    ("what", "verb"), [("DataDecoder", "DATA"), ("BdatDecoder", "BDAT 300000"), ("BdatDecoder", "BDAT 300000 LAST")]
)
async def test_exception_amid_the_content_ends_the_session(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, what: str, verb: str
) -> None:
    """The rest of the message may hold commands; they must not be run."""
    real = getattr(data, what)
    monkeypatch.setattr(data, what, lambda limit: Faulty(real(limit)))
    stage.limits = Limits(max_mail_size=1_000_000)
    await stage.open()
    peer = await stage.connect()
    await peer.mail_to_bdat()
    peer.writer.write(verb.encode() + b"\r\n")
    if verb == "DATA":
        assert (await peer.reply()).startswith("354")
    smuggled = b"RSET\r\nMAIL FROM:<boss@sender.example>\r\nRCPT TO:<c@export.example>\r\nDATA\r\nforged\r\n.\r\n"
    peer.writer.write((b"x" * 76 + b"\r\n") * 2000)
    assert (await peer.reply()).startswith("451 4.3.0")
    peer.writer.write(smuggled)
    with suppress(ConnectionResetError):
        await peer.closed()
    await stage.no_session_left()
    assert stage.recorder.mails == []
    assert stage.server._context.memory.used == 0
    (fault,) = stage.events.of(InternalError)
    assert isinstance(fault.error, MemoryError)
