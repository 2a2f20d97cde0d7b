"""What becomes of structlog's event dictionary: fields fit for a log, then one line of JSON or of the console.

A line of JSON is made by one processor: between two events of the log the daemon does so much else that each function
is fetched into the CPU's cache anew, which costs more than what it does.
"""

import os
import sys
import time
from collections.abc import Callable, MutableMapping
from contextvars import copy_context
from typing import Any, TextIO

import structlog
from structlog.contextvars import STRUCTLOG_KEY_PREFIX, merge_contextvars

from relay.observability import privacy
from relay.observability.event_names import EventName
from relay.observability.json_text import encode

Record = MutableMapping[str, Any]
Processor = Callable[[object, str, Any], Any]

_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_INTERNAL_ERROR = EventName.INTERNAL_ERROR.value


def fitting(whole: bool, on_internal_error: Callable[[], None] | None = None) -> Callable[..., dict[str, Any]]:
    """The processor that adds what is bound to the context, time and level, and keeps what a log may hold.

    whole: addresses and the texts of exceptions stay. on_internal_error: called for each EventName.INTERNAL_ERROR.
    """

    def fit(logger: object, method: str, record: Record) -> dict[str, Any]:
        if is_context_bound():
            merge_contextvars(logger, method, record)
        name = record["event"]
        if on_internal_error is not None and name == _INTERNAL_ERROR:
            on_internal_error()
        if "exception" in record or "exc_info" in record:
            error = _exception(record)
            if error is not None:
                record.update(privacy.fault(error, text=whole))
        first = {"time": now(), "level": method, "event": name}
        return privacy.fields(record, addresses=whole, after=first)

    return fit


def rendering(fit: Callable[..., dict[str, Any]], stream: TextIO, format: str) -> list[Processor]:
    """The chain from what is logged to the octets of a line without its end. format: auto | json | console; auto is
    JSON unless `stream` is a terminal."""
    terminal = stream.isatty()
    if format == "console" or (format == "auto" and terminal and "JOURNAL_STREAM" not in os.environ):
        console = structlog.dev.ConsoleRenderer(
            colors=terminal,
            pad_event_to=22,
            timestamp_key="time",
            sort_keys=False,
            exception_formatter=_no_traceback,
        )
        return [fit, console, _octets]
    return [JsonLine(fit, _is_journal(stream))]


class JsonLine:
    """The processor that makes a line of JSON. journal: with sd-daemon(3)'s priority before it, so that `journalctl -p
    err` works; the journal takes it off."""

    def __init__(self, fit: Callable[..., dict[str, Any]], journal: bool) -> None:
        self._fit = fit
        self._priorities = {method: f"<{priority}>" for method, priority in _SYSLOG.items()} if journal else {}

    def __call__(self, logger: object, method: str, record: Record) -> bytes:
        return (self._priorities.get(method, "") + encode(self._fit(logger, method, record))).encode()

    def of_text(self, time: str, method: str, event: str, fields: str) -> bytes:
        """As a call, for fields that are JSON and fit already, when nothing is bound to the context."""
        first = f'{self._priorities.get(method, "")}{{"time": "{time}", "level": "{method}", "event": "{event}"'
        return f"{first}, {fields}}}".encode()


def is_context_bound() -> bool:
    """Whether structlog has variables of the context that belong into each line."""
    for variable in copy_context():  # noqa: SIM110  # a generator for any() costs more than the loop
        if variable.name.startswith(STRUCTLOG_KEY_PREFIX):
            return True
    return False


_second: tuple[int, str] = (-1, "")


def now() -> str:
    """RFC 3339, UTC, to the microsecond. The calendar is asked once a second."""
    global _second
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    known, text = _second
    if seconds != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _second = seconds, text  # one assignment: another thread sees both or neither
    return f"{text}.{microseconds:06}Z"


def _exception(record: Record) -> BaseException | None:
    """The exception of a record: ours, or what `logger.exception` leaves in exc_info."""
    given, info = record.pop("exception", None), record.pop("exc_info", None)
    if isinstance(given, BaseException):
        return given
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return info[1] if isinstance(info[1], BaseException) else None
    return sys.exc_info()[1] if info else None


def _octets(_logger: object, _method: str, line: Any) -> bytes:
    text: str = line
    return text.encode()


def _no_traceback(stream: TextIO, _info: object) -> None:
    """One line a record: `at` says where."""


def _is_journal(stream: TextIO) -> bool:
    """Whether `stream` is the journal's own socket (systemd.exec(5), JOURNAL_STREAM is device:inode)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
