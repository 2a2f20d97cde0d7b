"""A line of the log, octet for octet, is what a chain of structlog's own processors gives that does one thing each."""

import enum
import io
import json
import logging
import os
import re
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from json import encoder
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from relay.observability import json_text, privacy, rendering
from relay.observability.event_names import EventName
from relay.observability.log import configure, write, write_lines
from tests.unit.observability.test_log import Out

Fields = dict[str, Any]
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


# The oracle: what a value becomes, one rule after the other


def plain(value: Any, whole: bool) -> Any:
    """What privacy.fields says of one value, without its short cuts."""
    if isinstance(value, enum.Enum):
        return plain(value.value, whole)
    if isinstance(value, str):
        return text(value, whole)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, PurePosixPath):
        return text(str(value), True)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} octets>"
    if isinstance(value, (set, frozenset)):
        return [plain(item, whole) for item in sorted(value, key=str)[:100]]
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [plain(item, whole) for item in value[:100]]
    if isinstance(value, Mapping):
        return plain_fields({str(key): item for key, item in list(value.items())[:100]}, whole)
    return f"<{type(value).__name__}>"


def text(value: str, whole: bool) -> str:
    if not whole and "@" in value:
        value = privacy._LOCAL_PART.sub("*", value[: 2 * privacy.LIMIT])
    return privacy.escape(value[: privacy.LIMIT] + "…" if len(value) > privacy.LIMIT else value)


def plain_fields(record: Mapping[str, Any], whole: bool) -> Fields:
    return {
        privacy.escape(name): plain(value, whole or name == "message_id")
        for name, value in record.items()
        if name not in privacy._NEVER
    }


def oracle(whole: bool) -> list[Callable[[Any, str, Any], Any]]:
    """The chain, with a processor for each step."""

    def exception(_logger: object, _method: str, record: Fields) -> Fields:
        for error in (record.pop("exception", None), record.pop("exc_info", None)):
            if isinstance(error, BaseException):
                record.update(privacy.fault(error, text=whole))
                break
        return record

    def in_order(_logger: object, _method: str, record: Fields) -> Fields:
        return {"time": record.pop("time"), "level": record.pop("level"), "event": record["event"], **record}

    def stamped(_logger: object, _method: str, record: Fields) -> Fields:
        return record if "time" in record else stamp(_logger, _method, record)

    def levelled(_logger: object, _method: str, record: Fields) -> Fields:
        return record if "level" in record else structlog.processors.add_log_level(_logger, _method, record)

    stamp: Any = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
    return [
        structlog.contextvars.merge_contextvars,
        exception,
        levelled,
        stamped,
        in_order,
        lambda _logger, _method, record: plain_fields(record, whole),
        structlog.processors.JSONRenderer(json.dumps, ensure_ascii=False),
    ]


def expected(name: EventName, fields: Fields, level: str, whole: bool) -> bytes:
    """The line of the chain."""
    given: Any = {**fields, "event": name.value}
    for processor in oracle(whole):
        given = processor(None, level, given)
    return given.encode() + b"\n"


# What is logged


class Colour(enum.StrEnum):
    PLAIN = "plain"
    ADDRESS = "red@colour.example"
    QUOTED = 'a "b"\\'


class Size(enum.IntEnum):
    LARGE = 9


class Mixed(enum.Enum):
    NOTHING = None
    FLOAT = 1.23456789
    PAIR = ("a", "b@c.example")


class Word(str):
    pass


class Number(int):
    pass


class Opaque:
    pass


Pair = namedtuple("Pair", "left right")


def raised(error: BaseException, cause: BaseException | None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


TEXTS = st.one_of(
    st.text(st.characters(), max_size=40),  # surrogates and control characters too
    st.text('aé0@."\\<> ()\n\x7f\u2028\u202e\ud800', max_size=40),
    st.emails(),
    st.sampled_from(["x" * 1000, "x" * 1001, "a@b.fr " * 300, '"' * 50 + "@b.fr", "5f" * 32, "*@b.fr", "@", ""]),
    st.text(max_size=20).map(Word),
)
SCALARS = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers().map(Number),
    st.floats(),
    st.sampled_from([*Colour, *Size, *Mixed]),
    st.binary(max_size=5),
    st.binary(max_size=5).map(bytearray),
    st.just(PurePosixPath("/a/b@c.example")),
    st.builds(Opaque),
    st.builds(Pair, TEXTS, TEXTS),
    st.frozensets(st.text(max_size=5), max_size=3),
    st.just(range(3)),
    st.just(datetime(2026, 1, 1, tzinfo=UTC)),
)
NAMES = st.one_of(
    st.sampled_from(["queue_id", "recipients", "message_id", "subject", "password", "filename", "time", "level"]),
    st.text(max_size=8).filter(lambda name: name not in ("exception", "exc_info", "event", "alert")),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(NAMES, inner, max_size=4),
        st.dictionaries(st.one_of(st.integers(), st.none(), st.booleans()), inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=8,
)
ERRORS = st.one_of(
    st.builds(ValueError, TEXTS),
    st.builds(OSError, st.integers(0, 200), TEXTS, TEXTS),
    st.builds(raised, st.builds(KeyError, TEXTS), st.one_of(st.none(), st.builds(TypeError, TEXTS))),
)
FIELDS = st.builds(
    lambda fields, error, alert: fields | error | alert,
    st.dictionaries(NAMES, VALUES, max_size=12),
    st.one_of(st.just({}), st.fixed_dictionaries({"exception": st.one_of(ERRORS, st.none(), st.just("no"))})),
    st.sampled_from([{}, {"alert": True}]),
)


each_level = pytest.mark.parametrize("level", ["info", "debug"])


@pytest.fixture(scope="module", autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, root_level = root.handlers[:], root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JOURNAL_STREAM", raising=False)
        yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(root_level)


def untimed(octets: bytes, fields: Fields) -> bytes:
    """Without the time, which is not the same twice; it is written, in the form it must have."""
    if "time" in fields:
        return octets
    start = b'{"time": "'
    assert octets.startswith(start) and TIME.match(octets[len(start) :].decode())
    return octets[len(start) + 27 :]


@each_level
@given(name=st.sampled_from(EventName), fields=FIELDS)
def test_a_line_is_what_structlogs_own_processors_give(level: str, name: EventName, fields: Fields) -> None:
    out = Out()
    configure(level, "json", out)
    write(name, dict(fields))
    severity = logging.getLevelName(logging.ERROR if "alert" in fields else name.level).lower()
    found = out.buffer.getvalue()
    assert untimed(found, fields) == untimed(expected(name, fields, severity, level == "debug"), fields)


@each_level
@given(fields=FIELDS, bound=st.dictionaries(st.sampled_from(["session", "queue_id"]), TEXTS))
def test_a_line_has_what_is_bound_to_the_context(level: str, fields: Fields, bound: Fields) -> None:
    out = Out()
    configure(level, "json", out)
    with structlog.contextvars.bound_contextvars(**bound):
        write(EventName.STALLED, dict(fields))
        wanted = expected(EventName.STALLED, fields, "error", level == "debug")
    found = out.buffer.getvalue()
    assert untimed(found, fields).splitlines() == untimed(wanted, fields).splitlines()


def test_a_line_of_another_modules_logger_is_the_same() -> None:
    out = Out()
    configure("info", "json", out)
    write(EventName.HELD, {"a": 1})
    structlog.get_logger("relay.spool").warning(EventName.HELD.value, a=1)
    ours, theirs = out.buffer.getvalue().splitlines()
    assert untimed(ours, {}) == untimed(theirs, {})


def test_lines_of_one_event_leave_in_one_write_in_their_order() -> None:
    writes: list[bytes] = []

    class Descriptor(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, octets: Any) -> int:
            writes.append(bytes(octets))
            return len(octets)

    stream = io.TextIOWrapper(io.BufferedWriter(Descriptor()))
    configure("info", "json", stream)
    names = [EventName.ACCEPTED, EventName.CHECKED, EventName.HELD, EventName.QUEUED]
    write_lines((name, {"number": number}) for number, name in enumerate(names))
    (octets,) = writes
    assert [json.loads(line)["event"] for line in octets.splitlines()] == names
    assert [json.loads(line)["level"] for line in octets.splitlines()] == ["info", "info", "warning", "info"]


@pytest.mark.parametrize("error", [LookupError, ValueError, OSError])
def test_lines_before_one_that_cannot_be_made_are_written(error: type[Exception]) -> None:
    out = Out()
    configure("info", "json", out)

    def lines() -> Iterator[tuple[EventName, Fields]]:
        yield EventName.ACCEPTED, {}
        raise error

    with pytest.raises(error):
        write_lines(lines())
    assert json.loads(out.getvalue())["event"] == "accepted"


def test_a_line_that_cannot_be_rendered_costs_no_other() -> None:
    out = Out()
    configure("info", "json", out)
    write_lines([(EventName.ACCEPTED, {}), (EventName.CHECKED, {"size": 10**5000}), (EventName.QUEUED, {})])
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["accepted", "queued"]


def test_time_is_now_to_the_microsecond_across_the_turn_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [
        1_796_000_000_999_999_999,
        1_796_000_001_000_000_000,
        1_796_000_001_000_000_999,
        1_795_999_999_500_000_001,
    ]
    monkeypatch.setattr(rendering.time, "time_ns", iter(moments).__next__)
    for moment in moments:
        wanted = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment // 1000)
        assert rendering.now() == wanted.isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_jsons_encoder_in_c_is_what_is_kept() -> None:
    """json.encoder.c_make_encoder is not documented: without it each line costs more, and is the same."""
    assert encoder.c_make_encoder is not None
    assert json_text._encoder().__name__ == "<lambda>"


def test_without_jsons_encoder_in_c_the_line_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"a": ['é"\\', None, True, 1.5, float("nan"), {"b": []}], "c": 10**30}
    kept = json_text._encoder()(fields)
    monkeypatch.setattr(encoder, "c_make_encoder", None)
    assert json_text._encoder()(fields) == kept == json.dumps(fields, ensure_ascii=False)


def test_a_line_for_the_journal_is_the_priority_and_the_same_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"why": "é\n"}
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        configure("info", "auto", stream)
        write(EventName.HELD, fields)
        stream.seek(0)
        found = stream.buffer.read()
    assert found.startswith(b"<4>")
    assert untimed(found[3:], {}) == untimed(expected(EventName.HELD, fields, "warning", False), {})


def test_the_exception_being_handled_is_that_of_exc_info_true() -> None:
    out = Out()
    configure("info", "json", out)
    try:
        raise KeyError("x")
    except KeyError:
        write(EventName.INTERNAL_ERROR, {"exc_info": True})
    assert json.loads(out.getvalue())["error"] == "KeyError" and sys.exc_info()[0] is None
