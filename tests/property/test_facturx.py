"""Whatever the octets: one report each, the right sha256, never an exception, never valid by accident."""

import base64
import hashlib
import zlib

import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.facturx import inflate, samples
from relay.facturx.inspect import inspect
from relay.facturx.invoice import siren_of
from relay.facturx.text import mentions
from relay.inspection import Candidate, Options
from relay.report import Severity, Verdict

GOOD = samples.facturx_pdf(samples.invoice_xml())
BASE = samples.invoice_xml()
STRUCTURE = Options(level="structure")
digits = st.text("0123456789", min_size=9, max_size=9)


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
def test_siren_goes_by_the_order_of_design_7(legal: str, siret: str, vat: str, address: str) -> None:
    ways = [
        ([("0002", legal)], siret + "00017", "FR00" + vat, [("0225", address + "_x")]),
        ([("0060", legal)], siret + "00017", "FR00" + vat, [("0225", address)]),
        ([], None, "FRX7" + vat, [("0225", address)]),
        ([], None, "DE123456789", [("0225", address + "_00017_canal")]),
        ([("", legal)], None, None, [("0088", address)]),
    ]
    assert [siren_of(*way) for way in ways] == [legal, siret, vat, address, None]


@given(digits)
def test_siret_and_vat_of_our_samples_belong_to_the_siren(siren: str) -> None:
    assert siren_of([], samples.siret_of(siren), None, []) == siren
    assert siren_of([], None, samples.vat_of(siren), []) == siren


@given(st.text(max_size=60), st.text(min_size=1, max_size=20))
def test_looking_for_a_number_never_fails(words: str, number: str) -> None:
    assert set(mentions(words, [number])) <= {number}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 5000))
def test_inflate_keeps_its_limit(size: int, limit: int) -> None:
    with pikepdf.Pdf.new() as pdf:
        stream = pdf.make_stream(zlib.compress(b"a" * size), Filter=pikepdf.Name.FlateDecode)
        if size > limit:
            with pytest.raises(inflate.TooLarge):
                inflate.content(stream, limit)
        else:
            assert inflate.content(stream, limit) == b"a" * size
