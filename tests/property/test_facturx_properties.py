"""Whatever the octets: one report each, the right sha256, never an exception, never valid by accident."""

import base64
import hashlib
import zlib

import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.demo import samples
from relay.facturx import pdf_streams
from relay.facturx.identifiers import BUYER, SELLER, Pairs, Places, identifiers, siren_of, sirets
from relay.facturx.inspect import inspect
from relay.facturx.page_text import mentions
from relay.inspection import Candidate, Options, Severity, Verdict

GOOD = samples.facturx_pdf(samples.invoice_xml())
BASE = samples.invoice_xml()
STRUCTURE = Options(level="structure")
digits = st.text("0123456789", min_size=9, max_size=9)
SCHEMES = st.sampled_from(["", "0002", "0009", "0225", "0231", "9957", "0088", "VA", "FC", "SIRET", "é"])
VALUES = st.one_of(st.text(max_size=20), st.text("0123456789_FR٣", max_size=31), digits)


def check(content: bytes) -> None:
    (report,) = inspect([Candidate(content)], STRUCTURE)
    assert (report.sha256, report.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (report.verdict is Verdict.INVALID) == any(each.severity is Severity.ERROR for each in report.findings)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"%PDF-1.7\n", b"<?xml version='1.0'?>", b"\xef\xbb\xbf<a"]))
def test_any_octets_give_a_report(content: bytes, head: bytes) -> None:
    check(head + content)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_cut_or_overwritten_facturx_gives_a_report(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(begin, min(len(GOOD), begin + 200)))
    check(GOOD[:begin] + data.draw(st.binary(max_size=40)) + GOOD[end:])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_invoice_in_a_sound_container_gives_a_report(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(BASE)))
    end = data.draw(st.integers(begin, min(len(BASE), begin + 60)))
    check(samples.facturx_pdf(BASE[:begin] + data.draw(st.binary(max_size=20)) + BASE[end:]))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 100), st.sampled_from([b"\n", b"\r\n", b" "]))
def test_base64_of_any_shape_is_decoded(content: bytes, width: int, end: bytes) -> None:
    text = base64.b64encode(content)
    sent = end.join(text[place : place + width] for place in range(0, len(text), width)) + end
    (report,) = inspect([Candidate(sent, "base64")], STRUCTURE)
    assert report.sha256 == hashlib.sha256(content).hexdigest()


@given(digits, digits, digits, digits)
def test_the_surest_identifier_of_a_party_comes_first(legal: str, siret: str, vat: str, address: str) -> None:
    places = {
        "registrations": [("0002", legal)],
        "others": [("0009", siret + "00017")],
        "taxes": [("VA", "FR00" + vat)],
        "addresses": [("0225", address + "_x")],
    }
    expected = [legal, siret, vat, address]
    for known in range(5):
        given_places = {key: pairs if place >= known else [] for place, (key, pairs) in enumerate(places.items())}
        assert [each.siren for each in identifiers(SELLER, **given_places)] == expected[known:]


@given(st.sampled_from([SELLER, BUYER]), st.lists(st.tuples(SCHEMES, VALUES)), st.lists(st.tuples(SCHEMES, VALUES)))
def test_any_identifiers_give_sirens_of_nine_digits(places: Places, some: Pairs, more: Pairs) -> None:
    found = identifiers(places, registrations=some, others=more, taxes=some, addresses=more)
    assert all(len(each.siren) == 9 and each.siren.isdecimal() for each in found)
    assert [each.rank for each in found] == sorted(each.rank for each in found)
    assert all(len(each) == 14 and each.isascii() and each.isdecimal() for each in sirets([*some, *more]))


@given(digits)
def test_siret_and_vat_of_our_samples_belong_to_the_siren(siren: str) -> None:
    assert siren_of("0009", samples.siret_of(siren)) == siren
    assert siren_of("9957", samples.vat_of(siren)) == siren


@given(st.text(max_size=60), st.text(min_size=1, max_size=20))
def test_looking_for_a_number_never_fails(words: str, number: str) -> None:
    assert set(mentions(words, [number])) <= {number}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 5000))
def test_inflate_keeps_its_limit(size: int, limit: int) -> None:
    with pikepdf.Pdf.new() as pdf:
        stream = pdf.make_stream(zlib.compress(b"a" * size), Filter=pikepdf.Name.FlateDecode)
        if size > limit:
            with pytest.raises(pdf_streams.TooLarge):
                pdf_streams.content(stream, limit)
        else:
            assert pdf_streams.content(stream, limit) == b"a" * size
