"""The last slice of a content: as long as it is not taken, the final dot has not left."""

import asyncio
from typing import Any

import pytest

from relay.replies import Deferred, Failed, Outcome, OutcomeUnknown, Reply, Stage
from relay.smtp_client.outgoing_content import SLICE, OutgoingMessage, prepare
from relay.smtp_client.protocol import ClientProtocol
from relay.smtp_client.route import Timeouts
from relay.smtp_client.transaction import Transaction

MAIL = b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 15_000
SHORT = Timeouts(**dict.fromkeys(Timeouts.__dataclass_fields__, 0.05))


class FullPipe(asyncio.Transport):
    """A transport whose next hop takes the commands, and of the content nothing; `then` is what it says to it."""

    def __init__(self, then: bytes, takes: bool = False) -> None:
        super().__init__()
        self.connection = ClientProtocol(self, {"pipelining": ""}, 0.0)
        self.sent: list[bytes] = []
        self.closed = False
        self._then, self._takes = then, takes

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))
        said = b"250 ok\r\n250 ok\r\n354 go\r\n"
        if len(self.sent) > 1:
            said = self._then
            if not self._takes:
                self.connection.pause_writing()
        if said:
            asyncio.get_running_loop().call_soon(self.connection.data_received, said)

    def abort(self) -> None:
        self.closed = True
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def is_closing(self) -> bool:
        return self.closed


async def sent(pipe: FullPipe, content: bytes = MAIL) -> Outcome:
    message = OutgoingMessage("", ("a@b.example",), prepare([content]))
    return (await Transaction(pipe.connection, SHORT, message).run())["a@b.example"]


async def test_commands_go_in_one_write_and_the_content_with_its_dot_in_another() -> None:
    assert len(MAIL) < SLICE
    pipe = FullPipe(b"250 2.0.0 taken\r\n", takes=True)
    assert str((await sent(pipe)).reply) == "250 2.0.0 taken"
    assert pipe.sent == [b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n", MAIL + b".\r\n"]
    assert pipe.connection.usable


async def test_a_last_slice_that_is_not_taken_in_time_was_not_delivered() -> None:
    pipe = FullPipe(b"")
    outcome = await sent(pipe)
    assert isinstance(outcome, Deferred) and outcome.stage is Stage.BODY
    assert pipe.closed


async def test_a_last_slice_that_was_taken_but_not_answered_is_uncertain() -> None:
    assert isinstance(await sent(FullPipe(b"", takes=True)), OutcomeUnknown)


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (b"552 5.3.4 too much\r\n", Failed, 552),
        (b"500 5.6.0 line too long\r\n", Failed, 500),
        (b"250 2.0.0 taken\r\n", Deferred, 451),
    ],
)
async def test_an_answer_before_the_last_slice_is_taken_comes_before_the_dot(
    answer: bytes, kind: type, code: int
) -> None:
    pipe = FullPipe(answer)
    outcome = await sent(pipe)
    assert isinstance(outcome, kind) and outcome.reply.code == code
    assert pipe.closed


async def test_a_connection_lost_with_the_last_slice_in_hand_is_deferred() -> None:
    pipe = FullPipe(b"")
    running = asyncio.create_task(sent(pipe))
    while len(pipe.sent) < 2:
        await asyncio.sleep(0)
    pipe.connection.connection_lost(ConnectionResetError())
    assert isinstance(await running, Deferred)


class Heard:
    """A listener that notes what it is told."""

    def __init__(self) -> None:
        self.replies: list[str] = []
        self.failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def replied(self, reply: Reply) -> None:
        self.replies.append(str(reply))

    def writable(self) -> None:
        raise AssertionError("nothing was sent")

    def failed(self, error: Exception) -> None:
        self.failure.set_result(error)


async def test_a_part_of_a_reply_does_not_prolong_the_wait() -> None:
    pipe, heard = FullPipe(b"", takes=True), Heard()
    pipe.connection.listener = heard
    pipe.connection.wait(0.02)
    pipe.connection.data_received(b"250")
    assert isinstance(await heard.failure, TimeoutError) and not heard.replies


async def test_replies_are_told_in_order_and_garbage_after_them() -> None:
    pipe, heard = FullPipe(b"", takes=True), Heard()
    pipe.connection.listener = heard
    pipe.connection.command(b"NOOP\r\n", b"NOOP\r\n")
    pipe.connection.data_received(b"250-2.0.0 one\r\n250 2.0.0 two\r\n25")
    pipe.connection.data_received(b"0 ok\r\ngarbage\r\n")
    assert heard.replies == ["250 2.0.0 one two", "250 ok"]
    assert "garbage" in str(await heard.failure) and pipe.closed


async def test_one_that_rests_is_forgotten_after_a_while_and_not_before() -> None:
    pipe, idle_for_too_long, heard = FullPipe(b"", takes=True), asyncio.Event(), Heard()
    pipe.connection.park(0.01, idle_for_too_long.set)
    await idle_for_too_long.wait()
    idle_for_too_long.clear()
    pipe.connection.park(0.01, idle_for_too_long.set)
    pipe.connection.unpark()
    pipe.connection.listener = heard
    pipe.connection.wait(0.02)
    assert isinstance(await heard.failure, TimeoutError)  # the same timer, another wait
    assert not idle_for_too_long.is_set()


@pytest.mark.parametrize("length", [998, 999, 5_000, 100_000])
@pytest.mark.parametrize("reply", ["500 5.5.2 line too long", "554 5.6.0 maximum line length exceeded (see RFC 5321)"])
async def test_a_next_hop_that_refuses_a_long_line_fails_the_message_with_its_reply(length: int, reply: str) -> None:
    content = b"Subject: x\r\n\r\n" + b"A" * length + b"\r\n.\r\nend\r\n"
    pipe = FullPipe(reply.encode() + b"\r\n", takes=True)
    outcome = await sent(pipe, content)
    assert isinstance(outcome, Failed) and outcome.stage is Stage.BODY
    assert str(outcome.reply) == reply
    assert b"".join(pipe.sent[1:]) == content.replace(b"\r\n.", b"\r\n..") + b".\r\n"  # as it came, never wrapped
