"""identity(): the same whoever parsed the header, and a content_digest that no other octets match."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mime.fingerprint import content_digest, fingerprint, identity, is_intact
from relay.mime.message import MalformedMail
from relay.mime.parser import parse
from relay.model import Envelope, Recipient

ENVELOPE = Envelope("a@b.example", (Recipient("c@d.example"),))

lines = st.sampled_from(
    [b"", b"Subject: x", b"Message-ID: <a@b>", b"Received: by y", b" folded", b"From x@y", b"no field", b"\xff\xfe: z"]
)
mails = st.lists(lines | st.binary(max_size=20), min_size=1, max_size=12).map(b"\r\n".join)


@given(mails)
def test_a_parsed_header_changes_nothing(raw: bytes) -> None:
    try:
        root = parse(raw).root
    except MalformedMail:
        return
    mark = identity(ENVELOPE, raw, root)
    assert mark == identity(ENVELOPE, raw)
    assert mark.fingerprint == fingerprint(ENVELOPE, raw)
    assert mark.content_digest == content_digest(raw)


@given(mails, st.data())
def test_any_other_octet_breaks_the_seal(raw: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(raw)))
    other = raw[:place] + data.draw(st.binary(max_size=2)) + raw[place + data.draw(st.integers(0, 1)) :]
    assert is_intact(raw, content_digest(raw))
    assert is_intact(other, content_digest(raw)) is (other == raw)


@given(mails, mails)
def test_seals_agree_for_equal_octets_only(one: bytes, other: bytes) -> None:
    assert (content_digest(one) == content_digest(other)) is (one == other)


def test_a_header_beyond_the_limit_has_a_seal_too() -> None:
    raw = b"X: y\r\n" * 6000
    assert is_intact(raw, content_digest(raw))
    assert not is_intact(raw[:-1], content_digest(raw))


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"Subject: x\r\n\r\nbody"])
def test_the_digest_of_a_first_spool_is_still_taken(raw: bytes) -> None:
    assert is_intact(raw, sha256(raw).digest())
    assert not is_intact(raw + b"x", sha256(raw).digest())
