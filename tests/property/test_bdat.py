"""A message by BDAT, in whatever chunks, is the message that DATA brings; and what DATA refuses BDAT refuses."""

from hypothesis import given
from hypothesis import strategies as st

from relay.mime.line_ends import flaw, repair
from relay.smtpd.data import TOO_LARGE, BdatDecoder, DataDecoder, parse_bdat

PIECES = [b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a", b"\0", b"\r\n.\r\n", b"..", b"QUIT\r\n"]
MAIL = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)
CUTS = st.lists(st.integers(0, 80), max_size=8)
LIMIT = 40


def by_bdat(mail: bytes, cuts: list[int], limit: int) -> BdatDecoder:
    chunks = BdatDecoder(limit)
    edges = sorted({min(cut, len(mail)) for cut in cuts} | {0, len(mail)})
    for start, end in zip(edges, [*edges[1:], len(mail)], strict=True):
        chunks.expect(end - start)
        for octet in mail[start:end]:  # as slowly as the wire may bring it
            chunks.feed(bytes([octet]))
    return chunks


def by_data(mail: bytes, limit: int) -> DataDecoder:
    """As a client sends it: dots doubled after CR LF, the last line ended, then the end."""
    ended = mail if not mail or mail.endswith(b"\r\n") else mail + b"\r\n"
    stuffed = (b"\r\n" + ended).replace(b"\r\n.", b"\r\n..")[2:]
    content = DataDecoder(limit)
    assert content.feed(stuffed + b".\r\n") == b""
    return content


@given(MAIL, CUTS)
def test_bdat_brings_what_data_brings(mail: bytes, cuts: list[int]) -> None:
    one, other = by_bdat(mail, cuts, 10**6).take(), by_data(mail, 10**6).take()
    assert one == other
    assert flaw(one) is flaw(other)


@given(MAIL, CUTS)
def test_the_limit_is_the_same(mail: bytes, cuts: list[int]) -> None:
    chunks = by_bdat(mail, cuts, LIMIT)
    assert (chunks.refusal is TOO_LARGE) == (len(mail) > LIMIT)
    if mail.endswith(b"\r\n"):
        assert chunks.refusal is by_data(mail, LIMIT).refusal
    if chunks.refusal is not None:
        assert len(chunks) == 0


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{1,22} ?(LAST|last|LASTX)?", fullmatch=True))
def test_only_a_number_tells_how_much_follows(arg: str) -> None:
    chunk = parse_bdat(arg)
    words = arg.split(" ")
    if chunk is not None:
        assert words[0].isascii() and int(words[0]) == chunk.size
        assert chunk.last == (len(words) > 1)


@given(MAIL)
def test_repair_adds_cr_and_nothing_else(mail: bytes) -> None:
    repaired = repair(mail)
    assert repaired.replace(b"\r\n", b"\n") == mail.replace(b"\r\n", b"\n")
    assert repaired == mail or repaired.count(b"\n") == repaired.count(b"\r\n")
    # No line becomes a lone dot by it: a server that ends a message there would take what follows for commands.
    if repaired != mail:
        assert b"\n.\r\n" not in repaired and not repaired.startswith(b".\r\n")
