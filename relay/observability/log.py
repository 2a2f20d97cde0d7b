"""The log: one event, one line, one queue id. structlog renders; the standard library's loggers go through it."""

import asyncio
import atexit
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from json import JSONEncoder
from threading import RLock
from typing import Any, BinaryIO, TextIO

import structlog

from relay.observability import privacy
from relay.observability.event_names import EventName

WHOLE = 4096  # PIPE_BUF: what other processes write to the same pipe does not come in between (pipe(7))


class Lines:
    """The logger that structlog renders for: a method for each level, which takes one line without its end.

    Raises OSError, ValueError only where it writes at once.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = RLock()  # what is collected as garbage meanwhile may have a warning to log
        self._waiting: list[bytes] = []
        self._octets = 0
        self._turn: asyncio.AbstractEventLoop | None = None  # whose end of turn is waited for
        atexit.register(self.flush)

    def debug(self, line: bytes) -> None:
        """Write `line` at the end of this turn."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.error(line)
            return
        with self._lock:
            if self._octets + len(line) >= WHOLE:
                self._write()
            self._add(line)
            if self._turn is not loop:
                self._turn = loop
                loop.call_soon(self.flush)

    info = warning = debug

    def error(self, line: bytes) -> None:
        """Write `line` now, after what waits."""
        with self._lock:
            self._add(line)
            self._write()

    critical = exception = error

    def flush(self) -> None:
        """Write what waits. Never raises: a full disk or a closed pipe behind the log must not cost a message."""
        with self._lock:
            self._turn = None
            try:
                self._write()
            except (OSError, ValueError):
                return

    def close(self) -> None:
        """Write what waits; another takes its place."""
        self.flush()
        atexit.unregister(self.flush)

    def _add(self, line: bytes) -> None:
        self._waiting += (line, b"\n")
        self._octets += len(line) + 1

    def _write(self) -> None:
        if self._waiting:
            octets = b"".join(self._waiting)
            self._waiting.clear()
            self._octets = 0
            self._file.write(octets)
            self._file.flush()


LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("auto", "json", "console")
_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

_Record = MutableMapping[str, Any]

_logger: Any = structlog.get_logger()
_lines: Lines | None = None
_json = JSONEncoder(ensure_ascii=False, check_circular=False).encode  # json.dumps makes an encoder for each line


def configure(
    level: str = "info",
    format: str = "auto",
    stream: TextIO | None = None,
    on_internal_error: Callable[[], None] | None = None,
) -> None:
    """Send the log to `stream` (standard error). level: debug | info | warning | error. format: auto | json | console.

    on_internal_error: called for each record of EventName.INTERNAL_ERROR, whoever writes it (they are counted).
    May be called again (a reload). Raises ValueError for another level or format.
    """
    if level not in LEVELS or format not in FORMATS:
        raise ValueError(f"log level {level!r} or format {format!r} is not known")
    global _lines
    out = sys.stderr if stream is None else stream
    processors = [*_common(LEVELS[level], on_internal_error), *_renderers(out, format)]
    if _lines is not None:
        _lines.close()
    _lines = lines = Lines(out.buffer)
    _apply(LEVELS[level], processors, lambda *_names: lines)


def write(name: EventName, fields: Mapping[str, object]) -> None:
    """One line, at the level of `name`; a field `alert` makes it an error. Never raises for what `fields` hold.

    A field `exception` (an exception) becomes error, at and, at debug, error_text.
    Before `configure`, warnings and errors go to standard error.
    """
    if not structlog.is_configured():
        configure("warning")
    try:
        _logger.log(logging.ERROR if "alert" in fields else name.level, name.value, **fields)
    except (OSError, ValueError):
        return  # a full disk or a closed pipe behind standard error must not cost a message


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
        _bind()


def _bind() -> None:
    """Kept, for structlog makes a logger anew for each line."""
    global _logger
    _logger = structlog.get_logger().bind()


def _apply(level: int, processors: list[Any], factory: Any) -> None:
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    _bind()
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, _Bridge)] + [_Bridge(level)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    # aiosmtpd writes the bodies of messages at DEBUG.
    logging.getLogger("mail.log").setLevel(logging.WARNING)


def _common(level: int, on_internal_error: Callable[[], None] | None = None) -> list[Any]:
    whole = level <= logging.DEBUG

    def fit(_logger: object, method: str, record: _Record) -> _Record:
        if on_internal_error is not None and record["event"] == EventName.INTERNAL_ERROR:
            on_internal_error()
        if "exception" in record or "exc_info" in record:
            error = _exception(record)
            if error is not None:
                record.update(privacy.fault(error, text=whole))
        return privacy.fields({"time": _now(), "level": method, "event": record["event"], **record}, addresses=whole)

    return [structlog.contextvars.merge_contextvars, fit]


def _now() -> str:
    """RFC 3339, UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


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
            ),
            _octets,
        ]
    return [_journal_line if _is_journal(stream) else _json_line]


def _json_line(_logger: object, _method: str, record: _Record) -> bytes:
    return _json(record).encode()


def _journal_line(_logger: object, method: str, record: _Record) -> bytes:
    """sd-daemon(3)'s priority before the line, so that `journalctl -p err` works; the journal takes it off."""
    return f"<{_SYSLOG.get(method, 6)}>{_json(record)}".encode()


def _octets(_logger: object, _method: str, line: str) -> bytes:
    return line.encode()


def _no_traceback(stream: TextIO, _info: object) -> None:
    """One line a record: `at` says where."""


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
        known: dict[str, Any] = {"alert": True} if record.levelno >= logging.ERROR else {}
        known |= {"logger": record.name, "text": text if self._whole else text.split("\n", 1)[0]}
        if record.exc_info and record.exc_info[1] is not None:
            known["exception"] = record.exc_info[1]
        write(EventName.LIBRARY, known)
