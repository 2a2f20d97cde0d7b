"""However the octets are cut, the decoder reads what a slow reader by the letter of RFC 5321 would read."""

import itertools
import re
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from relay.mime import line_ends
from relay.mime.line_ends import LineFlaw, flaw
from relay.smtpd.data import TOO_LARGE, DataDecoder

SMALL = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a", b"\0", b"\r\n.\r\n"]), max_size=30)
STREAM = SMALL.map(b"".join)


def by_the_letter(stream: bytes) -> tuple[bytes, bytes] | None:
    """(message, rest) of what follows 354, line by line; a line ends with CR LF and with nothing else."""
    message, position = [], 0
    while (end := stream.find(b"\r\n", position)) >= 0:
        line, position = stream[position : end + 2], end + 2
        if line == b".\r\n":
            return b"".join(message), stream[position:]
        message.append(line.removeprefix(b"."))
    return None


def read(stream: bytes, cuts: list[int], limit: int = 10**6) -> tuple[DataDecoder, bytes] | None:
    data = DataDecoder(limit)
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    for start, end in itertools.pairwise(edges):
        rest = data.feed(stream[start:end])
        if rest is not None:
            return data, rest + stream[end:]
    return None


@given(STREAM, st.lists(st.integers(0, 60), max_size=8))
@example(b".\r\n", [1, 2])
@example(b"x\r\n.\r\nQUIT\r\n", [1, 2, 3, 4, 5])
def test_chunks_make_no_difference(stream: bytes, cuts: list[int]) -> None:
    found, expected = read(stream, cuts), by_the_letter(stream)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found[0].take(), found[1]) == expected


@given(STREAM, st.lists(st.integers(0, 60), max_size=8), st.integers(0, 20))
def test_the_limit_counts_the_message_without_stuffing_and_keeps_the_dialogue_in_step(
    stream: bytes, cuts: list[int], limit: int
) -> None:
    found, expected = read(stream, cuts, limit), by_the_letter(stream)
    if expected is None:
        assert found is None
        return
    assert found is not None and found[1] == expected[1]
    # `limit` is in octets of the message; what a dot in front of a line adds does not count.
    assert (found[0].refusal is TOO_LARGE) == (len(expected[0]) > limit)


@given(st.integers(1, 5000), st.integers(1, 64))
def test_over_the_limit_nothing_is_kept(chunks: int, size: int) -> None:
    data = DataDecoder(100)
    for _ in range(chunks):
        data.feed(b"x" * size)
        assert len(data) <= 100 + 2 + 4 + size


@given(STREAM, st.integers(1, 12))
def test_every_bare_cr_or_lf_is_found_wherever_the_window_ends(raw: bytes, window: int) -> None:
    bare = re.search(rb"\r(?!\n)|(?<!\r)\n", raw) is not None
    with patch.object(line_ends, "_WINDOW", window):
        found = flaw(raw)
    assert (found is LineFlaw.BARE) == bare
    if not bare:
        assert (found is LineFlaw.NUL) == (b"\0" in raw)


@given(st.lists(st.sampled_from([0, 1, 76, 997, 998, 999, 1000, 2500, 150_000]), max_size=12))
def test_a_line_of_any_length_is_accepted_and_kept(lengths: list[int]) -> None:
    raw = b"".join(b"x" * length + b"\r\n" for length in lengths)
    assert flaw(raw) is None
    found = read(raw + b".\r\n", [], len(raw))
    assert found is not None and found[0].refusal is None and found[1] == b""
