"""Received lines, loops, header lines of ours, signed return paths, fingerprints."""

import email
import email.header
import re
from dataclasses import replace

import pytest

from relay.dsn.return_path import parse_verp, verp
from relay.mime.fingerprint import fingerprint
from relay.mime.header_writer import header, hops, is_loop, received
from relay.mime.parser import parse
from relay.mime.text import header_value
from relay.model import Envelope, Recipient, new_queue_id
from tests.support.mails import mail, text

ENVELOPE = Envelope("p@jefacture.example", (Recipient("m@relay.example"),), "192.0.2.1", "mx.jefacture.example")
QUEUE_ID = "0123456789BCDFG"


def test_a_received_line():
    assert received(ENVELOPE, "relay.example", QUEUE_ID, 1_795_000_000.9, "m@relay.example") == (
        b"Received: from mx.jefacture.example ([192.0.2.1])\r\n"
        b"\tby relay.example with ESMTP id 0123456789BCDFG\r\n"
        b"\tfor <m@relay.example>;\r\n"
        b"\tWed, 18 Nov 2026 11:06:40 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("protocol", "smtputf8", "written"),
    [
        ("SMTP", False, "SMTP"),
        ("ESMTPS", False, "ESMTPS"),
        ("ESMTPSA", False, "ESMTPSA"),
        ("ESMTPSA", True, "UTF8SMTPSA"),
        ("ESMTP\r\nX: y", False, "ESMTP"),
    ],
)
def test_the_protocol_is_one_of_the_registry(protocol, smtputf8, written):
    line = received(replace(ENVELOPE, protocol=protocol, smtputf8=smtputf8), "relay.example", QUEUE_ID, 0)
    assert f"with {written} id ".encode() in line


@pytest.mark.parametrize("evil", ["x\r\nBcc: a@b", "x\ny", "x (", "é", "x" * 2_000, "<>", "", "x\x00", "a@b>; c"])
def test_nothing_a_peer_says_gets_out_of_its_place(evil):
    envelope = Envelope("", (), evil, evil, protocol=evil)
    line = received(envelope, "relay.example", QUEUE_ID, 0, evil)
    assert re.fullmatch(
        rb"Received: from (unknown|x{0,255}) \(unknown\)\r\n\tby relay\.example with ESMTP id \w+;\r\n\t[\w, :+]+\r\n",
        line,
    )
    assert max(map(len, line.split(b"\r\n"))) < 998


def test_ipv6_and_literals():
    line = received(replace(ENVELOPE, peer="2001:db8::1", helo="[IPv6:2001:db8::1]"), "relay.example", QUEUE_ID, 0)
    assert line.startswith(b"Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n")


def test_hops_and_loops():
    ours = received(ENVELOPE, "relay.example", QUEUE_ID, 0)
    assert hops(parse(ours * 3 + mail())) == 3
    assert hops(parse(mail())) == 0
    assert is_loop(parse(ours + mail()), "relay.example")
    assert is_loop(parse(ours + mail()), "RELAY.example")
    assert not is_loop(parse(ours + mail()), "elay.example")
    assert not is_loop(parse(ours + mail()), "mx.jefacture.example")
    assert not is_loop(parse(mail()), "relay.example")


@pytest.mark.parametrize(
    ("value", "loop"),
    [
        ("from a by r.example with SMTP", True),
        ("from a\r\n\tby  r.example(Postfix) ; date", True),
        ("by r.example; date", True),
        ("from r.example by b", False),
        ("from a (sent by r.example) by b", False),
        ("from a (x (y) by r.example) by b", False),
        ("from a (it came by r.example once) by b", False),
        ("from a by r.example.org; d", False),
        ("from a by rxexample; d", False),
    ],
)
def test_a_loop_is_recognised_by_the_by_clause(value, loop):
    assert is_loop(parse(mail(headers={"Received": value})), "r.example") is loop


@pytest.mark.parametrize(
    "value", ["plain", "é", "Facture d'été " * 30, "x" * 3_000, "a\r\nBcc: b\x00\x1b[31m", "🧾" * 50, ""]
)
def test_header_lines_are_safe_and_say_what_was_meant(value):
    line = header("X-Relay", value)
    assert line.endswith(b"\r\n") and line.isascii()
    assert all(each.startswith(b" ") for each in line.split(b"\r\n")[1:-1])
    assert max(map(len, line.split(b"\r\n"))) <= 998
    meant = " ".join(re.sub(r"[\x00-\x1f]", " ", value).split())
    assert header_value(parse(line + mail()), "x-relay") == meant
    python = email.message_from_bytes(line + mail())["X-Relay"].strip().replace("\r\n", "")
    assert str(email.header.make_header(email.header.decode_header(python))) == meant


def test_a_long_plain_value_is_folded():
    assert max(map(len, header("X", "word " * 100).split(b"\r\n"))) <= 78


@pytest.mark.parametrize("name", ["", "a b", "a:", "é", "a\r\n", "a\n"])
def test_a_name_that_is_none(name):
    with pytest.raises(ValueError):
        header(name, "x")


def test_verp_round_trip():
    queue_id = new_queue_id()
    address = verp("bounces@relay.example", queue_id, 12, b"secret")
    assert re.fullmatch(r"bounces\+[0-9A-Z]{15}-12-[A-Z2-7]{16}@relay\.example", address)
    assert parse_verp(address, b"secret") == parse_verp(address.lower(), b"secret") == (queue_id, 12)


def test_verp_cannot_be_forged():
    address = verp("bounces@relay.example", QUEUE_ID, 1, b"secret")
    assert parse_verp(address, b"other") is None
    assert parse_verp(address.replace("-1-", "-2-"), b"secret") is None
    assert parse_verp(address.replace("+0", "+1"), b"secret") is None
    for forged in (
        "",
        "@",
        "bounces@relay.example",
        "bounces+x-1-y@relay.example",
        "bounces+é-1-AAAAAAAAAAAAAAAA@r",
        "+" * 9,
    ):
        assert parse_verp(forged, b"secret") is None


def test_verp_needs_an_address_with_room_and_a_secret():
    assert len(verp("b" * 24 + "@relay.example", QUEUE_ID, 99_999, b"s").partition("@")[0]) <= 64
    for return_path in ("", "bounces", "@relay.example", "b" * 60 + "@relay.example"):
        with pytest.raises(ValueError):
            verp(return_path, QUEUE_ID, 1, b"secret")
    with pytest.raises(ValueError):
        verp("bounces@relay.example", QUEUE_ID, 1, b"")


def test_the_same_message_again_has_the_same_fingerprint():
    first = fingerprint(ENVELOPE, mail())
    assert first == fingerprint(replace(ENVELOPE, helo="other", peer="192.0.2.9", protocol="ESMTPS"), mail())
    relayed = mail(headers={"Received": "from a by b;\r\n\tdate", "DKIM-Signature": "v=1"})
    assert first == fingerprint(ENVELOPE, relayed)
    assert first == fingerprint(replace(ENVELOPE, recipients=(Recipient("m@RELAY.example"),)), mail())


@pytest.mark.parametrize(
    "other",
    [
        mail(message_id="<2@jefacture.example>"),
        mail(subject="other"),
        mail([text("other")]),
        mail(headers={"X-Dossier": "2"}),
        mail() + b"\r\n",
    ],
)
def test_another_message_has_another_fingerprint(other):
    assert fingerprint(ENVELOPE, mail()) != fingerprint(ENVELOPE, other)


def test_another_envelope_has_another_fingerprint():
    first = fingerprint(ENVELOPE, mail())
    assert first != fingerprint(replace(ENVELOPE, sender=""), mail())
    assert first != fingerprint(replace(ENVELOPE, recipients=(Recipient("M@relay.example"),)), mail())
    both = (Recipient("m@relay.example"), Recipient("a@relay.example"))
    assert first != fingerprint(replace(ENVELOPE, recipients=both), mail())
    assert fingerprint(replace(ENVELOPE, recipients=both), mail()) == fingerprint(
        replace(ENVELOPE, recipients=both[::-1]), mail()
    )


def test_without_a_message_id_only_the_same_octets_are_the_same_message():
    bare = mail(message_id="")
    assert fingerprint(ENVELOPE, bare) == fingerprint(ENVELOPE, bytes(bare))
    assert fingerprint(ENVELOPE, bare) != fingerprint(ENVELOPE, b"Received: by x\r\n" + bare)


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"x", b"X: " + b"x" * 300_000])
def test_a_fingerprint_never_fails(raw):
    assert len(fingerprint(ENVELOPE, raw)) == 64
