"""The two ends of a worker's channel: whole answers in any pieces, and nothing that was not asked for."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from relay.checker import frames
from relay.checker.frames import Channel
from relay.inspection import Candidate, Options

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


async def test_an_answer_may_come_octet_by_octet(pair: Pair) -> None:
    channel = Channel(pair[0])
    answer = channel.ask([b"question"])
    assert pair[1].recv(100) == b"question"
    for octet in frames.frame({"reason": None}):
        assert not answer.done()
        pair[1].send(bytes([octet]))
        await asyncio.sleep(0)
    assert await answer == {"reason": None}
    channel.close()


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
    channel = Channel(pair[0])
    for asked in (contents, [b"small"]):
        candidates = [Candidate(memoryview(each)) for each in asked]
        assert await channel.ask(frames.request(candidates, Options())) == {"reports": []}
    channel.close()
    thread.join()
    assert seen == [contents, [b"small"]]


@pytest.mark.parametrize(
    "said",
    [
        frames.frame({"reports": []}) + b"x",
        frames.LENGTH.pack(frames.MAX_HEADER + 1),
        frames.frame([1]),
        frames.LENGTH.pack(3) + b"{]}",
        frames.LENGTH.pack(200_000) + b"[" * 200_000,
    ],
    ids=["more than one", "beyond measure", "no object", "no JSON", "too deep"],
)
async def test_what_is_no_answer_breaks_the_channel(pair: Pair, said: bytes) -> None:
    channel = Channel(pair[0])
    answer = channel.ask([b"question"])
    await asyncio.get_running_loop().run_in_executor(None, pair[1].sendall, said)
    with pytest.raises((OSError, ValueError)):
        await answer
    with pytest.raises((OSError, ValueError)):
        await channel.ask([b"another"])
    channel.close()


async def test_an_answer_to_no_question_breaks_the_channel(pair: Pair) -> None:
    channel = Channel(pair[0])
    pair[1].sendall(frames.frame({"reports": []}))
    while channel.broken is None:
        await asyncio.sleep(0)
    with pytest.raises(frames.ChannelBroken):
        await channel.ask([b"question"])
    channel.close()


async def test_the_end_of_the_stream_is_noticed_by_an_idle_channel(pair: Pair) -> None:
    channel = Channel(pair[0])
    pair[1].close()
    while channel.broken is None:
        await asyncio.sleep(0)
    channel.close()
    channel.close()


def test_an_inbox_takes_nothing_that_was_not_announced(pair: Pair) -> None:
    pair[0].sendall(b"".join(map(bytes, frames.request([Candidate(b"one")], Options()))) + b"more")
    with pytest.raises(frames.ChannelBroken):
        frames.Inbox(pair[1]).receive()
