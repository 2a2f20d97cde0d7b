"""The bench measures what it says, and its books find what is lost, doubled or damaged. Nothing here is timed."""

import asyncio
import email
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import policy
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from tests.bench.contenders import milter
from tests.bench.contenders.ours import Ours, template
from tests.bench.load import sender, slow_fsync
from tests.bench.load.bench import Bench, Load, Target, sending
from tests.bench.load.result import Result, median
from tests.bench.load.sink import Book, Order, Session
from tests.bench.load.template import Template, token
from tests.bench.sampling.sampler import Sampler
from tests.bench.show import plot, table

RUN = "abcdef"


def pdfs(mail: bytes | bytearray) -> tuple[bytes, ...]:
    """sha256 of each PDF, as the standard library reads the message."""
    parts = email.message_from_bytes(bytes(mail), policy=policy.default).walk()
    found = (part.get_content() for part in parts if part.get_content_type() == "application/pdf")
    return tuple(sha256(each).digest() for each in found)


@pytest.mark.parametrize(("size", "octets"), [("a", 9_000), ("b", 130_000), ("c", 600_000), ("1000", 1_000_000)])
def test_a_message_is_as_large_as_its_name_says_and_its_documents_are_its_own(size: str, octets: int) -> None:
    made = template(size)
    first, second = (made.mail(token(RUN, serial)) for serial in (1, 2))
    assert len(first) == pytest.approx(octets, rel=0.05)
    assert pdfs(first) == made.digests(token(RUN, 1))
    assert pdfs(second) == made.digests(token(RUN, 2))
    assert not set(pdfs(first)) & set(pdfs(second))
    assert b"B000000" not in first


def order(made: Template, documents: int | None = None) -> Order:
    return Order(RUN, 10, (made,), documents)


def content(made: Template, serial: int) -> bytearray:
    return bytearray(b"Received: from here\r\n") + made.mail(token(RUN, serial))


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 4096])
def test_the_sink_finds_the_end_wherever_the_octets_are_cut(step: int) -> None:
    made = template("a")
    book, session = Book(order(made)), Session(None)  # type: ignore[arg-type]
    mails = b"".join(b"MAIL FROM:<a@b>\r\nDATA\r\n" + content(made, serial) + b"\r\n.\r\n" for serial in (0, 1))
    sent = b"EHLO me\r\n" + mails + b"QUIT\r\n"
    answers = b"".join(session.feed(memoryview(sent[at : at + step]), book) for at in range(0, len(sent), step))
    found = book.close()
    assert sorted(found.times) == [0, 1]
    assert (found.damaged, found.doubled, found.foreign) == ([], 0, 0)
    assert answers.endswith(b"354 go\r\n250 2.0.0 taken\r\n221 2.0.0 bye\r\n")


def test_the_books_find_what_is_wrong() -> None:
    made = template("a")
    book = Book(order(made))
    hurt = content(made, 1)
    at = hurt.index(b"JVBERi0") + 4000
    hurt[at] = ord("A") if hurt[at] != ord("A") else ord("B")
    for each in (content(made, 0), content(made, 0), hurt, bytearray(b"Message-ID: <other>\r\n\r\n")):
        book.note(each, 1.0)
    found = book.close()
    assert (sorted(found.times), found.doubled, found.damaged, found.foreign) == ([0, 1], 1, [1], 1)


def test_an_original_that_should_have_been_cut_is_damage() -> None:
    made = template("c")
    for documents, damaged in ((1, [0]), (None, [])):
        book = Book(order(made, documents))
        book.note(content(made, 0), 1.0)
        assert book.close().damaged == damaged


def test_senders_and_sink_alone() -> None:
    with Bench() as bench:
        target = Target("nobody", bench.port, (), None, original=True)
        for load in (Load("a", (template("a"),), 30, 7), Load("c", (template("c"),), 12, 3, each=4, rate=0.0)):
            result = bench.measure(target, load)
            assert result.balanced, result
            assert result.arrived == load.count
        assert not bench.measure(replace(target, original=False), load).balanced


def test_what_never_arrives_is_missing() -> None:
    """The sink of another bench swallows it all."""
    with Bench() as bench, Bench() as other:
        target = Target("a hole", other.port, (), None, original=True)
        result = bench.measure(target, Load("a", (template("a"),), 3, 1, idle=0.4))
    assert (result.missing, result.balanced) == (3, False)


async def test_a_4xx_is_tried_again_and_a_5xx_is_not() -> None:
    refusals = iter([b"451 4.3.2 later\r\n", b"550 5.7.1 no\r\n"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            verb = line[:4]
            if verb == b"DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 ok\r\n")
            else:
                writer.write(next(refusals, b"250 ok\r\n") if verb == b"RCPT" else b"250 ok\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        sent = await asyncio.to_thread(sender.Sender(sender.Task(port, RUN, 3, 1, (template("a"),))).run)
    assert len(sent.accepted) == 2
    assert dict(sent.later) == {"rcpt: 451 4.3.2 later": 1}
    assert dict(sent.refused) == {"rcpt: 550 5.7.1 no": 1}


def test_ours_under_the_bench() -> None:
    with Bench() as bench, Ours(bench.port, "structure") as ours:
        result = bench.measure(ours.target, Load("c", (template("c"),), 6, 3))
    assert result.balanced, (result, ours.rig.tail())
    assert result.main > 20
    assert result.peak > result.main / 2


def test_the_milter_drops_the_original_only() -> None:
    mail = template("c").mail(token(RUN, 5))
    kept = milter.original_dropped(bytes(mail))
    assert kept is not None
    assert pdfs(b"Content-Type: " + kept["Content-Type"].encode() + b"\r\n\r\n" + milter.body(kept)) == pdfs(mail)[:1]
    assert milter.original_dropped(bytes(template("b").mail(token(RUN, 5)))) is None


def test_the_sampler_charges_who_works_and_not_who_waits() -> None:
    release = threading.Event()
    waiting = threading.Thread(target=release.wait, name="waiting")
    waiting.start()
    with Sampler() as sampler:
        while sampler.threads["MainThread"] < 100_000_000:
            burn()
    release.set()
    waiting.join()
    burnt = sum(spent for (_, _, _, function), spent in sampler.places.items() if function.startswith("burn"))
    assert burnt > 0.7 * sampler.threads.total()
    assert sampler.threads["waiting"] < 0.1 * sampler.threads.total()


def burn() -> int:
    return sum(number * number for number in range(20_000))


def results() -> dict[tuple[str, int, str], Result]:
    ours = Result("ours, full", "b", 20, 10, arrived=10, rate=50.0, cpu=4.0, peak=300.0, main=90.0)
    plain = Result("Postfix", "b", 20, 10, arrived=10, rate=100.0, cpu=2.0, peak=80.0)
    return {("b", 20, "full"): ours, ("b", 20, "postfix"): plain}


def test_the_table_shows_ratios_and_what_does_not_balance(tmp_path: Path) -> None:
    found = results()
    found["b", 20, "postfix"].missing = 2
    text = table.text(found, "postfix", 1)
    line = next(each for each in text.splitlines() if "ours, full" in each)
    assert line.split()[4:6] == ["50.0", "0.50"]
    assert "NOT BALANCED 2 missing" in text
    plot.draw(found, tmp_path / "bars.png")
    with Image.open(tmp_path / "bars.png") as image:
        assert image.format == "PNG"


def test_a_median_forgets_no_fault() -> None:
    runs = [Result("ours", "b", 1, 10, rate=rate) for rate in (1.0, 5.0, 3.0)]
    runs[1].damaged, runs[2].refused = 1, {"550": 2}
    middle = median(runs)
    assert (middle.rate, middle.damaged, middle.refused, middle.balanced) == (3.0, 1, {"550": 2}, False)


@pytest.mark.skipif(slow_fsync.missing() is not None, reason=str(slow_fsync.missing()))
def test_the_slow_disk_is_slow() -> None:
    with slow_fsync.shim(3) as library:
        assert Path(library).exists()
    with pytest.raises(RuntimeError, match="does not slow"), idle_shim():
        pass


@contextmanager
def idle_shim() -> Iterator[None]:
    """A shim that adds nothing, asked to prove that it adds 50 ms."""
    source, slow_fsync.SOURCE = slow_fsync.SOURCE, "int nothing(void) { return %d; }"
    try:
        with slow_fsync.shim(50):
            yield
    finally:
        slow_fsync.SOURCE = source


def test_senders_that_are_stopped_leave_no_process() -> None:
    with Bench() as bench:
        task = sender.Task(bench.port, RUN, 1_000_000, 1, (template("a"),))
        with sending(task) as senders:
            senders.go()
            senders.kill()
        assert not senders.alive
