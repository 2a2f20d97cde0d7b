"""The two ends of a worker's channel: whole answers in any pieces, and nothing beyond what was announced."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from relay.checker import frames
from relay.checker.frames import Answer, Channel

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


class Heard:
    """What a channel says."""

    def __init__(self, end: socket.socket) -> None:
        self.answers: list[Answer] = []
        self.failures: list[Exception] = []
        self._changed = asyncio.Event()
        self.channel = Channel(end, self._answered, self._failed)

    def _answered(self, answer: Answer) -> None:
        self.answers.append(answer)
        self._changed.set()

    def _failed(self, error: Exception) -> None:
        self.failures.append(error)
        self._changed.set()

    async def until(self, answers: int = 0, failures: int = 0) -> None:
        async with asyncio.timeout(60):
            while len(self.answers) < answers or len(self.failures) < failures:
                self._changed.clear()
                await self._changed.wait()


async def test_an_answer_may_come_octet_by_octet(pair: Pair) -> None:
    heard = Heard(pair[0])
    heard.channel.send([b"question"])
    assert pair[1].recv(100) == b"question"
    for octet in frames.frame({"reason": None}, b"one", b""):
        assert not heard.answers
        pair[1].send(bytes([octet]))
        await asyncio.sleep(0)
    await heard.until(answers=1)
    assert heard.answers == [({"reason": None, "sizes": [3, 0]}, [b"one", b""])]
    heard.channel.close()


async def test_several_answers_in_one_piece_are_several(pair: Pair) -> None:
    heard = Heard(pair[0])
    pair[1].sendall(b"".join(frames.frame({"number": number}, bytes(number)) for number in range(9)))
    await heard.until(answers=9)
    assert [header["number"] for header, _ in heard.answers] == list(range(9))
    assert [content for _, (content,) in heard.answers] == [bytes(number) for number in range(9)]
    heard.channel.close()


async def test_a_request_larger_than_the_kernel_holds_arrives_whole(pair: Pair) -> None:
    contents = [bytes([number]) * (frames.KEPT_BUFFER // 2 + 1) for number in range(3)]
    seen: list[list[bytes]] = []

    def work() -> None:
        inbox = frames.Inbox(pair[1])
        for _ in range(2):
            _, views = inbox.receive()
            seen.append([bytes(view) for view in views])
            pair[1].sendall(frames.frame({"reports": []}))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    heard = Heard(pair[0])
    for number, asked in enumerate((contents, [b"small"]), 1):
        heard.channel.send(frames.frame_pieces({}, asked))
        await heard.until(answers=number)
    heard.channel.close()
    thread.join()
    assert seen == [contents, [b"small"]]


@pytest.mark.parametrize(
    "said",
    [
        frames.LENGTH.pack(frames.MAX_HEADER + 1),
        frames.LENGTH.pack(3) + b"[1]",
        frames.LENGTH.pack(3) + b"{]}",
        frames.LENGTH.pack(200_000) + b"[" * 200_000,
        frames.frame({"sizes": [-1]}),
        frames.frame({"sizes": ["1"]}),
        frames.frame({"sizes": 1}),
        frames.frame({"sizes": [frames.MAX_ANSWER, 1]}),
    ],
    ids=["beyond measure", "no object", "no JSON", "too deep", "negative", "no number", "no list", "too large"],
)
async def test_what_is_no_answer_breaks_the_channel(pair: Pair, said: bytes) -> None:
    heard = Heard(pair[0])
    heard.channel.send([b"question"])
    await asyncio.get_running_loop().run_in_executor(None, pair[1].sendall, said)
    await heard.until(failures=1)
    heard.channel.send([b"another"])
    assert not heard.answers and len(heard.failures) == 1
    assert heard.channel.broken is heard.failures[0]
    heard.channel.close()


async def test_a_worker_that_is_gone_is_noticed_by_an_idle_channel(pair: Pair) -> None:
    heard = Heard(pair[0])
    pair[1].close()
    await heard.until(failures=1)
    heard.channel.close()
    heard.channel.close()


async def test_sending_to_a_worker_that_is_gone_fails_after_the_call(pair: Pair) -> None:
    heard = Heard(pair[0])
    pair[1].close()
    heard.channel.send([b"question"])
    assert not heard.failures
    await heard.until(failures=1)
    assert len(heard.failures) == 1


def test_an_inbox_takes_nothing_that_was_not_announced(pair: Pair) -> None:
    pair[0].sendall(frames.frame({}, b"one") + b"more")
    with pytest.raises(frames.ChannelBroken):
        frames.Inbox(pair[1]).receive()
