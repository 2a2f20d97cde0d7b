"""Whatever is in the files, load() answers: with settings, or with faults that have their place."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from relay import setting_parsers as parsers
from relay.inspection import Severity
from relay.settings.load import Loaded, load
from tests.support.config_faults import FIRM, RELAY, write

NO_DEADLINE = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
MARKS = [": ", "- ", "[", "]", "{", "}", '"', "&a ", "*a", "!x ", "#", "%", "@", ">\n", "---\n", "<<", "? ", "\t"]
WORDS = ["\n", " ", "é", "\x00", "\r", "true", "~", "😀"]
UNSEEN = ["\u00a0", "\u200b", "\ufeff", "\u2028", "\x85"]
PIECES = st.sampled_from(["", "|\n", "'", "9" * 5000, *MARKS, *WORDS, *UNSEEN])


def judge(relay: str | bytes, firm: str | bytes) -> Loaded:
    with tempfile.TemporaryDirectory() as folder:
        return load(write(Path(folder), relay, a=firm))


def holds(loaded: Loaded) -> None:
    errors = [fault for fault in loaded.faults if fault.severity is Severity.ERROR]
    assert (loaded.settings is None) is bool(errors)
    assert len(loaded.faults) <= 51
    for fault in loaded.faults[:50]:
        assert fault.line >= 1 and fault.column >= 1
        assert len(str(fault)) < 2000


@NO_DEADLINE
@given(st.binary(max_size=300))
def test_any_octets(content: bytes) -> None:
    holds(judge(content, FIRM))
    holds(judge(RELAY, content))


@NO_DEADLINE
@given(st.integers(0, len(FIRM)), st.integers(0, 12), PIECES)
@example(len(FIRM), 0, "    name: " + "9" * 5000 + "\n")
def test_any_small_accident_in_a_firm(at: int, cut: int, piece: str) -> None:
    holds(judge(RELAY, FIRM[:at] + piece + FIRM[at + cut :]))


LONG = RELAY + "accept: {max_recipients: 100, idle_timeout: 5 min, max_mail_size: 5 MiB}\nretry: {factor: 2}\n"


@NO_DEADLINE
@given(st.integers(0, len(LONG)), st.integers(0, 12), PIECES)
def test_any_small_accident_in_relay_yaml(at: int, cut: int, piece: str) -> None:
    holds(judge(LONG[:at] + piece + LONG[at + cut :], FIRM))


@NO_DEADLINE
@given(st.integers(0, len(FIRM)))
def test_a_half_written_file_never_becomes_other_clients(end: int) -> None:
    loaded = judge(RELAY, FIRM[:end])
    if loaded.settings is not None:
        whole = judge(RELAY, FIRM).settings
        assert whole is not None
        for key, client in loaded.settings.terms.clients.items():
            reported = any("half written" in fault.what for fault in loaded.faults)
            assert reported or client.addresses == whole.terms.clients[key].addresses


READERS = [
    *(parsers.boolean, parsers.text, parsers.name, parsers.integer, parsers.number, parsers.duration, parsers.size),
    *(parsers.siren, parsers.siret, parsers.spool_url, parsers.hostname, parsers.host, parsers.port, parsers.endpoint),
    *(parsers.http_endpoint, parsers.network, parsers.address, parsers.pattern),
]


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(READERS), st.text(max_size=60) | st.from_regex(r"[0-9a-z@.:\[\]/*+ -]{0,40}", fullmatch=True))
def test_a_reader_answers_or_says_what_is_bad(reader: object, value: str) -> None:
    assert callable(reader)
    try:
        reader(value)
    except parsers.InvalidValue as bad:
        assert bad.what and bad.fix


@given(st.integers(1, 10**7))
def test_a_duration_as_written_reads_back(seconds: int) -> None:
    assert parsers.duration(parsers.as_duration(float(seconds))) == seconds


@given(st.integers(1, 10**8).map(lambda n: n * 1024))
def test_a_size_as_written_reads_back(octets: int) -> None:
    assert parsers.size(parsers.as_size(octets)) == octets


@given(st.text())
def test_folding_twice_is_folding_once(value: str) -> None:
    assert parsers.fold(parsers.fold(value)) == parsers.fold(value)


@given(st.integers(0, 10**8 - 1), st.integers(0, 9))
def test_one_check_digit_only_holds(body: int, digit: int) -> None:
    assert sum(parsers.luhn(f"{body:08d}{check}") for check in range(10)) == 1
