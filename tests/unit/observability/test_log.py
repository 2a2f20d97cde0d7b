"""The log: closed words, one line a record, nothing in it that must not be."""

import io
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from relay.observability import privacy
from relay.observability.event_names import EventName
from relay.observability.log import capture, configure, write


class Out(io.TextIOWrapper):
    """A stream like standard error: text over octets."""

    def __init__(self, terminal=False):
        super().__init__(io.BytesIO(), "utf-8")
        self._terminal = terminal

    def isatty(self):
        return self._terminal

    def getvalue(self):
        return self.buffer.getvalue().decode()


@pytest.fixture
def log(monkeypatch):
    """Configure towards a buffer; gives (configure, lines)."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = Out()

    def start(level="info", format="json"):
        configure(level, format, out)
        return out

    yield start
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def log_line(name, **fields):
    write(name, fields)


def records(out):
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_event_has_one_meaning_in_one_line():
    meanings = {name.meaning for name in EventName}
    assert len(meanings) == len(EventName)
    assert all(text and "\n" not in text for text in meanings)


def test_an_event_is_one_json_object_with_its_queue_id(log):
    out = log()
    log_line(EventName.ACCEPTED, queue_id="Q1", client="dupont/0042", size=12)
    (record,) = records(out)
    assert list(record)[:4] == ["time", "level", "event", "queue_id"]
    assert record | {"time": ""} == {
        "time": "", "level": "info", "event": "accepted", "queue_id": "Q1", "client": "dupont/0042", "size": 12,
    }  # fmt: skip


def test_a_line_is_one_write_and_waits_for_nothing(log):
    writes = []

    class Descriptor(io.RawIOBase):
        def writable(self):
            return True

        def write(self, octets):
            writes.append(bytes(octets))
            return len(octets)

    log()
    stream = io.TextIOWrapper(io.BufferedWriter(Descriptor()))
    configure("info", "json", stream)
    for event in (EventName.QUEUED, EventName.ATTEMPT):
        log_line(event, queue_id="Q1")
    assert [json.loads(each)["event"] for each in writes] == ["queued", "attempt"]
    assert all(each.endswith(b"}\n") for each in writes)


def test_severity_decides_the_level_and_an_alert_raises_it(log):
    out = log()
    log_line(EventName.HELD)
    log_line(EventName.DEFERRED)
    log_line(EventName.DEFERRED, alert=True)
    log_line(EventName.SPOOL_BROKEN)
    assert [each["level"] for each in records(out)] == ["warning", "info", "error", "error"]


def test_the_level_chosen_silences_what_is_below(log):
    out = log("warning")
    log_line(EventName.ACCEPTED)
    log_line(EventName.HELD)
    assert [each["event"] for each in records(out)] == ["held"]


def test_addresses_are_whole_at_debug_only(log):
    out = log("info")
    log_line(
        EventName.DEFERRED, to=["jean@agiris.example"], reply="550 <jean@agiris.example>: no", message_id="<x@y.fr>"
    )
    log_line(EventName.DEFERRED, more={"to": "jean@agiris.example"})
    assert "jean" not in out.getvalue()
    assert records(out)[0]["reply"] == "550 <*@agiris.example>: no"
    assert records(out)[0]["message_id"] == "<x@y.fr>"
    out = log("debug")
    log_line(EventName.DEFERRED, to="jean@agiris.example")
    assert records(out)[-1]["to"] == "jean@agiris.example"


@pytest.mark.parametrize("level", ["debug", "info"])
def test_content_never_enters(log, level):
    out = log(level)
    log_line(EventName.CHECKED, subject="SECRET", filename="SECRET", body="SECRET", raw=b"SECRET", password="SECRET")
    log_line(EventName.CHECKED, part={"filename": "SECRET"}, found=b"SECRET")
    assert "SECRET" not in out.getvalue()


def test_an_object_is_named_and_not_printed(log):
    @dataclass
    class Mail:
        text: str = "SECRET"

    out = log("debug")
    log_line(EventName.ACCEPTED, mail=Mail(), mails=[Mail()])
    assert records(out)[0]["mail"] == "<Mail>"
    assert "SECRET" not in out.getvalue()


def test_a_fault_tells_type_and_place_but_its_text_only_at_debug(log):
    def broken():
        raise ValueError("SECRET invoice")

    for level, expected in (("info", False), ("debug", True)):
        out = log(level)
        try:
            broken()
        except ValueError as error:
            log_line(EventName.INTERNAL_ERROR, queue_id="Q1", exception=error)
        record = records(out)[-1]
        assert record["error"] == "ValueError"
        assert record["at"].startswith("test_log.py:") and "broken < " in record["at"]
        assert ("SECRET" in json.dumps(record)) is expected


def test_a_structlog_logger_of_another_module_is_led_the_same_way(log):
    out = log()
    try:
        raise ValueError("SECRET")
    except ValueError as error:
        structlog.get_logger("relay.x").exception(EventName.INTERNAL_ERROR, to="jean@agiris.example")
        structlog.get_logger().error(EventName.INTERNAL_ERROR, exc_info=error)
        structlog.get_logger().error(EventName.INTERNAL_ERROR, exc_info=(ValueError, error, None))
    assert [each["error"] for each in records(out)] == ["ValueError"] * 3
    assert "SECRET" not in out.getvalue() and "jean" not in out.getvalue()


def test_every_fault_is_counted_whoever_logs_it(log):
    out, counted = log(), []
    configure("error", "json", out, on_internal_error=lambda: counted.append(1))
    log_line(EventName.INTERNAL_ERROR)
    structlog.get_logger("relay.queue").error(EventName.INTERNAL_ERROR, exc_info=ValueError("x"))
    log_line(EventName.SPOOL_FULL)
    assert len(counted) == 2


def test_the_systems_own_words_are_kept(log):
    out = log()
    log_line(EventName.SPOOL_FULL, exception=OSError(28, "No space left on device", "/home/secret"))
    assert records(out)[0]["error_text"] == "No space left on device"


def test_a_library_speaks_through_us_one_line_and_not_below_warning(log):
    out = log()
    logging.getLogger("asyncio").error("first line\nfuture: <Task exception=ValueError('SECRET')>")
    logging.getLogger("mail.log").debug("SECRET body")
    logging.getLogger("mail.log").info("SECRET body")
    (record,) = records(out)
    assert (record["event"], record["logger"], record["text"], record["level"]) == (
        "library", "asyncio", "first line", "error",
    )  # fmt: skip


def test_configuring_again_does_not_double_the_lines(log):
    log()
    out = log()
    logging.getLogger("asyncio").warning("once")
    assert len(records(out)) == 1


def test_the_console_form_is_one_line_a_record_too(log):
    out = log(format="console")
    try:
        raise ValueError("x")
    except ValueError as error:
        log_line(EventName.INTERNAL_ERROR, exception=error, text="two\nlines \x1b[31mred")
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b[31mred" not in out.getvalue()


def test_auto_is_json_when_nobody_watches(log):
    out = log(format="auto")
    log_line(EventName.STARTED)
    assert records(out)[0]["event"] == "started"


def test_auto_is_coloured_on_a_terminal(log):
    out = Out(terminal=True)
    log()
    configure("info", "auto", out)
    log_line(EventName.STARTED)
    assert "\x1b[" in out.getvalue() and "started" in out.getvalue()


def test_the_journal_gets_the_priority_before_the_line(log, monkeypatch, tmp_path):
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        log()
        configure("info", "auto", stream)
        log_line(EventName.HELD)
        log_line(EventName.ACCEPTED)
        stream.seek(0)
        held, accepted = stream.read().splitlines()
    assert held.startswith("<4>{") and accepted.startswith("<6>{")


def test_a_closed_pipe_costs_a_line_and_no_message(log):
    class Broken(io.BytesIO):
        def write(self, _octets):
            tried.append(True)
            raise BrokenPipeError

    log()
    tried, stream = [], io.TextIOWrapper(Broken())
    configure("info", "json", stream)
    log_line(EventName.ACCEPTED)
    assert tried


@pytest.mark.parametrize(("level", "format"), [("loud", "auto"), ("info", "xml")])
def test_an_unknown_setting_is_said(level, format):
    with pytest.raises(ValueError, match="not known"):
        configure(level, format)


def test_capture_gives_the_records_as_rendered_and_restores(log):
    out = log()
    with capture("info") as seen:
        log_line(EventName.ACCEPTED, queue_id="Q", to="a@b.example")
        logging.getLogger("x").warning("hm")
    log_line(EventName.STOPPED)
    assert [each["event"] for each in seen] == ["accepted", "library"]
    assert seen[0]["to"] == "*@b.example"
    assert [each["event"] for each in records(out)] == ["stopped"]


def test_context_is_merged(log):
    out = log()
    with structlog.contextvars.bound_contextvars(session="S1"):
        log_line(EventName.SESSION_ERROR)
    assert records(out)[0]["session"] == "S1"


@given(st.text())
def test_whatever_the_text_one_printable_line_comes_out(text):
    escaped = privacy.escape(text)
    assert len(escaped.splitlines()) <= 1
    escaped.encode("utf-8")
    assert "\x1b" not in escaped and "\x00" not in escaped and "‮" not in escaped


@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from(["jean.dupont+42", '"jean dupont"', "jéan-dupont"]))
def test_no_local_part_survives(before, after, local):
    assert "dupont" not in privacy.without_addresses(f"{before} {local}@agiris.example {after}")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("a@b.fr,<c@d.fr>", "*@b.fr,<*@d.fr>"),
        ("to=a+1@b.fr: no", "to=*@b.fr: no"),
        ('"a b"@c.fr x@', "*@c.fr x@"),
        ("a@b@c.fr", "*@*@c.fr"),
        ("a@@c.fr", "*@@c.fr"),
        ("@c.fr", "@c.fr"),
    ],
)
def test_what_stands_before_the_at_sign_is_masked(text, masked):
    assert privacy.without_addresses(text) == masked


def test_an_address_across_the_cut_is_not_seen_half():
    text = "x " * (privacy.LIMIT // 2 - 2) + "jean.dupont@agiris.example"
    assert "jean" not in str(privacy.fields({"text": text}, addresses=False))


def test_every_level_is_one_of_three():
    assert {name.level for name in EventName} == {logging.INFO, logging.WARNING, logging.ERROR}


def test_paths_and_sets_are_plain():
    assert privacy.fields({"at": Path("/a/b"), "of": frozenset({"b", "a"})}, addresses=False) == {
        "at": "/a/b", "of": ["a", "b"],
    }  # fmt: skip
