"""`find_dotted` is `find`, whatever the dots."""

from hypothesis import given
from hypothesis import strategies as st

from relay.mime.rewriting import find_dotted

PATTERNS = st.sampled_from([b"\r\n.", b"\r\n.\r\n"])
OCTETS = st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"a", b"\r\n.", b"." * 120])).map(b"".join)


@given(OCTETS, PATTERNS, st.integers(0, 8))
def test_it_finds_what_find_finds(octets: bytes, pattern: bytes, start: int) -> None:
    assert find_dotted(octets, pattern, start) == octets.find(pattern, start)
    assert find_dotted(bytearray(octets), pattern, start) == octets.find(pattern, start)
