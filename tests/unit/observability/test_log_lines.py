"""relay.observability.log: what leaves together, what does not wait, and in which order."""

import asyncio
import io
import subprocess
import sys
import threading

import pytest

from relay.observability.log import WHOLE, Lines


class Descriptor(io.RawIOBase):
    def __init__(self):
        super().__init__()
        self.writes = []

    def writable(self):
        return True

    def write(self, octets):
        self.writes.append(bytes(octets))
        return len(octets)


@pytest.fixture
def writes():
    return Descriptor()


@pytest.fixture
def lines(writes):
    made = Lines(io.BufferedWriter(writes))
    yield made
    made.close()


async def test_the_lines_of_one_turn_leave_in_one_write(lines, writes):
    lines.info(b"1")
    lines.warning(b"2")
    lines.debug(b"3")
    assert writes.writes == []
    await asyncio.sleep(0)
    lines.info(b"4")
    await asyncio.sleep(0)
    assert writes.writes == [b"1\n2\n3\n", b"4\n"]


async def test_a_line_is_out_before_a_task_goes_on_that_its_task_woke(lines, writes):
    async def settle():
        lines.info(b"delivered")

    await asyncio.create_task(settle())
    assert writes.writes == [b"delivered\n"]


@pytest.mark.parametrize("level", ["error", "critical", "exception"])
async def test_an_error_does_not_wait_and_takes_along_what_does(lines, writes, level):
    lines.info(b"1")
    getattr(lines, level)(b"2")
    assert writes.writes == [b"1\n2\n"]
    await asyncio.sleep(0)
    assert writes.writes == [b"1\n2\n"]


async def test_a_thread_without_a_loop_writes_at_once_and_in_order(lines, writes):
    lines.info(b"1")
    thread = threading.Thread(target=lines.info, args=(b"2",))
    thread.start()
    thread.join()
    assert writes.writes == [b"1\n2\n"]


def test_without_a_loop_nothing_waits(lines, writes):
    lines.info(b"1")
    lines.info(b"2")
    assert writes.writes == [b"1\n", b"2\n"]


async def test_several_lines_of_one_event_leave_in_the_write_of_their_turn(lines, writes):
    lines.info(b"1", b"2")
    lines.info(b"3")
    await asyncio.sleep(0)
    assert writes.writes == [b"1\n2\n3\n"]


async def test_several_lines_with_an_error_among_them_do_not_wait(lines, writes):
    lines.info(b"1")
    lines.error(b"2", b"3")
    assert writes.writes == [b"1\n2\n3\n"]


@pytest.mark.parametrize("level", ["info", "error"])
async def test_a_write_of_several_lines_to_a_pipe_stays_whole(lines, writes, level):
    getattr(lines, level)(*(b"%03d" % number + b"x" * 300 for number in range(100)))
    await asyncio.sleep(0)
    assert b"".join(writes.writes).count(b"\n") == 100
    assert all(len(each) <= WHOLE and each.endswith(b"\n") for each in writes.writes)


async def test_a_write_that_fails_costs_the_lines_after_it_nothing(lines, writes, monkeypatch):
    monkeypatch.setattr(lines._file, "flush", lambda: (_ for _ in ()).throw(OSError()))
    lines.info(b"x" * WHOLE)
    lines.info(b"2", b"3")  # the first does not fit beside it, and is not written
    monkeypatch.undo()
    await asyncio.sleep(0)
    assert b"".join(writes.writes).endswith(b"2\n3\n")


async def test_a_write_to_a_pipe_stays_whole(lines, writes):
    for number in range(100):
        lines.info(b"%03d" % number + b"x" * 300)
    await asyncio.sleep(0)
    assert b"".join(writes.writes).count(b"\n") == 100
    assert all(len(each) <= WHOLE and each.endswith(b"\n") for each in writes.writes)
    assert len(writes.writes) == 8  # 13 lines of 304 octets in each


def test_what_a_loop_left_behind_is_not_in_the_way_of_the_next(lines, writes):
    async def last():
        asyncio.get_running_loop().stop()
        lines.info(b"1")

    async def next_one():
        lines.info(b"2")
        await asyncio.sleep(0)
        return writes.writes

    first = asyncio.new_event_loop()
    first.run_until_complete(last())
    first.close()
    assert writes.writes == []
    assert asyncio.run(next_one()) == [b"1\n2\n"]


async def test_another_in_its_place_writes_after_it(lines, writes):
    lines.info(b"old")
    lines.close()
    other = Lines(io.BufferedWriter(writes))
    other.error(b"new")
    other.close()
    assert writes.writes == [b"old\n", b"new\n"]


async def test_a_closed_pipe_costs_lines_only(lines, writes, monkeypatch):
    monkeypatch.setattr(writes, "write", lambda octets: (_ for _ in ()).throw(BrokenPipeError()))
    lines.info(b"1")
    lines.flush()
    with pytest.raises(BrokenPipeError):
        lines.error(b"2")
    monkeypatch.undo()


def test_a_line_that_comes_up_while_one_is_written_holds_up_neither():
    """A destructor logs in the middle of whatever runs when garbage is collected."""

    class Collected(io.BytesIO):
        def write(self, octets):
            if b"1" in octets:
                lines.warning(b"unclosed socket")
            return super().write(octets)

    out = Collected()
    lines = Lines(out)
    thread = threading.Thread(target=lines.info, args=(b"1",), daemon=True)
    thread.start()
    thread.join(15)
    assert not thread.is_alive()
    assert sorted(out.getvalue().splitlines()) == [b"1", b"unclosed socket"]
    lines.close()


@pytest.mark.parametrize("end", ["return", "raise SystemExit(3)", "raise KeyboardInterrupt"])
def test_an_orderly_end_loses_nothing(end):
    program = f"""
import asyncio
from relay.observability.event_names import EventName
from relay.observability.log import configure, write
async def main():
    write(EventName.STOPPED, {{"code": 0}})
    {end}
configure("info", "json")
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert '"event": "stopped"' in ended.stderr
