"""Random messages, cut at random: dkimpy takes our signature, and not when an octet of the body changes."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.dkim.signature import Signer
from tests.support.dkim_keys import key, verified

LINES = st.lists(st.text(" \tab.=é", max_size=12), max_size=12)
VALUE = st.text(" \tab;é", max_size=20).map(lambda text: f"x{text}")
NAMES = st.sampled_from(["To", "Cc", "Subject", "DATE", "Message-ID", "X-Other", "Content-Type", "References"])
SIGNERS = st.sampled_from(["rsa", "ed25519"]).map(key)


@st.composite
def mails(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(header with its empty line, body)."""
    fields = draw(st.lists(st.tuples(NAMES, VALUE, st.lists(VALUE, max_size=2)), max_size=8))
    text = "".join(
        f"{name}: {value}" + "".join(f"\r\n\t{more}" for more in rest) + "\r\n" for name, value, rest in fields
    )
    end = draw(st.sampled_from(["", "\r\n", "\r\n\r\n \r\n"]))
    return f"From: a@b.example\r\n{text}\r\n".encode(), ("\r\n".join(draw(LINES)) + end).encode()


@settings(max_examples=300, deadline=None)
@given(mails(), SIGNERS, st.lists(st.integers(0, 10_000), max_size=6))
def test_dkimpy_verifies_whatever_the_slices(mail: tuple[bytes, bytes], by: Signer, places: list[int]) -> None:
    whole = b"".join(mail)
    edges = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    slices = [memoryview(whole)[start:end] for start, end in pairwise(edges)]
    field = by.sign(slices, 1_795_514_400.0)
    assert field == by.sign([whole], 1_795_514_400.0)
    assert verified(field + whole, by)


@settings(max_examples=100, deadline=None)
@given(mails(), SIGNERS, st.integers(0, 10_000))
def test_a_changed_octet_of_the_body_is_seen(mail: tuple[bytes, bytes], by: Signer, place: int) -> None:
    header, body = mail
    body += b"end\r\n"
    at = place % len(body)
    while body[at : at + 1].isspace():
        at = (at + 1) % len(body)
    field = by.sign([header, body], 1.0)
    changed = body[:at] + bytes([body[at] ^ 0x01]) + body[at + 1 :]
    assert verified(field + header + body, by)
    assert not verified(field + header + changed, by)
