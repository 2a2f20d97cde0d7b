"""The log: one event, one line, one queue id. structlog renders; the standard library's loggers are led through it.

Written to standard error. JSON when nobody watches (systemd, a pipe), colours on a terminal. Addresses are whole at
level debug only; subjects, bodies, file names and passwords never (relay.ops.privacy).
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import structlog

from relay.ops import privacy
from relay.ops.events import Event, severity

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("auto", "json", "console")
_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

_Record = MutableMapping[str, Any]


def configure(
    level: str = "info",
    format: str = "auto",
    stream: TextIO | None = None,
    on_fault: Callable[[], None] | None = None,
) -> None:
    """Send the log to `stream` (standard error). level: debug | info | warning | error. format: auto | json | console.

    on_fault: called for each record of Event.FAULT, whoever writes it (the counter of faults).
    May be called again (a reload). Raises ValueError for another level or format.
    """
    if level not in LEVELS or format not in FORMATS:
        raise ValueError(f"log level {level!r} or format {format!r} is not known")
    out = sys.stderr if stream is None else stream
    processors = [*_common(LEVELS[level], on_fault), *_renderers(out, format)]
    _apply(LEVELS[level], processors, structlog.WriteLoggerFactory(file=out))


def event_log(event: Event, *, queue_id: str | None = None, alert: bool = False, **fields: object) -> None:
    """Log `event` at its severity; `alert` makes it an error. Never raises for what `fields` hold.

    A field `exception` (an exception) becomes error, at and, at debug, error_text.
    Before `configure`, warnings and errors go to standard error.
    """
    if not structlog.is_configured():
        configure("warning")
    known: dict[str, object] = {} if queue_id is None else {"queue_id": queue_id}
    if alert:
        known["alert"] = True
    # A full disk or a closed pipe behind standard error must not cost a mail.
    with suppress(OSError, ValueError):
        structlog.get_logger().log(logging.ERROR if alert else severity(event), event.value, **known, **fields)


@contextmanager
def capture(level: str = "debug") -> Iterator[list[dict[str, Any]]]:
    """For tests: the records logged meanwhile, as they would have been rendered, each with its `event` and `level`."""
    records: list[dict[str, Any]] = []

    def keep(_logger: object, _method: str, record: _Record) -> _Record:
        records.append(dict(record))
        raise structlog.DropEvent

    was_configured, old = structlog.is_configured(), structlog.get_config()
    root = logging.getLogger()
    handlers, root_level = root.handlers[:], root.level
    _apply(LEVELS[level], [*_common(LEVELS[level]), keep], structlog.ReturnLoggerFactory())
    try:
        yield records
    finally:
        root.handlers[:] = handlers
        root.setLevel(root_level)
        structlog.configure(**old) if was_configured else structlog.reset_defaults()


def _apply(level: int, processors: list[Any], factory: Any) -> None:
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, _Bridge)] + [_Bridge(level)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    # aiosmtpd writes the bodies of mails at DEBUG.
    logging.getLogger("mail.log").setLevel(logging.WARNING)


def _common(level: int, on_fault: Callable[[], None] | None = None) -> list[Any]:
    whole = level <= logging.DEBUG

    def fit(_logger: object, _method: str, record: _Record) -> _Record:
        if on_fault is not None and record.get("event") == Event.FAULT:
            on_fault()
        error = _exception(record)
        if error is not None:
            record.update(privacy.fault(error, text=whole))
        first = {name: record.pop(name) for name in ("time", "level", "event", "queue_id") if name in record}
        return privacy.fields({**first, **record}, addresses=whole)

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        fit,
    ]


def _exception(record: _Record) -> BaseException | None:
    """The exception of a record: ours, or what `logger.exception` leaves in exc_info."""
    given, info = record.pop("exception", None), record.pop("exc_info", None)
    if isinstance(given, BaseException):
        return given
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return info[1] if isinstance(info[1], BaseException) else None
    return sys.exc_info()[1] if info else None


def _renderers(stream: TextIO, format: str) -> list[Any]:
    terminal = stream.isatty()
    if format == "console" or (format == "auto" and terminal and "JOURNAL_STREAM" not in os.environ):
        return [
            structlog.dev.ConsoleRenderer(
                colors=terminal,
                pad_event_to=22,
                timestamp_key="time",
                sort_keys=False,
                exception_formatter=_no_traceback,
            )
        ]
    json = structlog.processors.JSONRenderer(ensure_ascii=False)
    return [_Journal(json) if _is_journal(stream) else json]


def _no_traceback(stream: TextIO, _info: object) -> None:
    """One line a record: `at` tells where."""


class _Journal:
    """Puts sd-daemon(3)'s priority before the line, so that `journalctl -p err` works; the journal takes it off."""

    def __init__(self, render: Any) -> None:
        self._render = render

    def __call__(self, logger: object, method: str, record: _Record) -> str:
        return f"<{_SYSLOG.get(str(record.get('level')), 6)}>{self._render(logger, method, record)}"


def _is_journal(stream: TextIO) -> bool:
    """Whether `stream` is the journal's own socket (systemd.exec(5), JOURNAL_STREAM is device:inode)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class _Bridge(logging.Handler):
    """A library's record as an event. At info and above only its first line: the rest may quote what it worked on."""

    def __init__(self, level: int) -> None:
        super().__init__(logging.WARNING)
        self._whole = level <= logging.DEBUG

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        known: dict[str, Any] = {"logger": record.name, "text": text if self._whole else text.split("\n", 1)[0]}
        if record.exc_info and record.exc_info[1] is not None:
            known["exception"] = record.exc_info[1]
        event_log(Event.LIBRARY, alert=record.levelno >= logging.ERROR, **known)
