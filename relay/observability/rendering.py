"""What becomes of structlog's event dictionary: fields fit for a log, then one line of JSON or of the console.

A line of JSON is made by one processor: between two events of the log the daemon does so much else that each function
is fetched into the CPU's cache anew, which costs more than what it does.
"""

import json
import os
import sys
import time
from collections.abc import Callable, MutableMapping
from contextvars import copy_context
from json import encoder
from typing import Any, NoReturn, TextIO

import structlog
from structlog.contextvars import STRUCTLOG_KEY_PREFIX, merge_contextvars

from relay.observability import privacy
from relay.observability.event_names import EventName

Record = MutableMapping[str, Any]
Processor = Callable[[object, str, Any], Any]

_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_INTERNAL_ERROR = EventName.INTERNAL_ERROR.value


def fitting(whole: bool, on_internal_error: Callable[[], None] | None = None) -> Callable[..., dict[str, Any]]:
    """The processor that adds what is bound to the context, time and level, and keeps what a log may hold.

    whole: addresses and the texts of exceptions stay. on_internal_error: called for each EventName.INTERNAL_ERROR.
    """

    def fit(logger: object, method: str, record: Record) -> dict[str, Any]:
        for variable in copy_context():
            if variable.name.startswith(STRUCTLOG_KEY_PREFIX):
                merge_contextvars(logger, method, record)
                break
        name = record["event"]
        if on_internal_error is not None and name == _INTERNAL_ERROR:
            on_internal_error()
        if "exception" in record or "exc_info" in record:
            error = _exception(record)
            if error is not None:
                record.update(privacy.fault(error, text=whole))
        first = {"time": _now(), "level": method, "event": name}
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
    journal = _is_journal(stream)

    def line(logger: object, method: str, record: Record) -> bytes:
        text = _json(fit(logger, method, record))
        # sd-daemon(3)'s priority, so that `journalctl -p err` works; the journal takes it off.
        return (f"<{_SYSLOG.get(method, 6)}>{text}" if journal else text).encode()

    return [line]


_second: tuple[int, str] = (-1, "")


def _now() -> str:
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


def _unknown(value: object) -> NoReturn:
    raise TypeError(type(value).__name__)  # never called: relay.observability.privacy leaves plain values only


def _encoder() -> Callable[[object], str]:
    """JSON as `json.dumps` writes it. JSONEncoder.encode makes the encoder in C anew for each line; this keeps one."""
    make: Any = getattr(encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without it
        return json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
    pieces = make(None, _unknown, encoder.encode_basestring, None, ": ", ", ", False, False, True)
    join = "".join
    return lambda value: join(pieces(value, 0))


_json = _encoder()


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
