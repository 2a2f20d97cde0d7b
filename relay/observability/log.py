"""The log: one event, one line, one queue id. structlog logs; the standard library's loggers go through it."""

import asyncio
import atexit
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any, BinaryIO, ClassVar, TextIO

import structlog

from relay.observability import json_text
from relay.observability.event_names import EventName
from relay.observability.rendering import JsonLine, Processor, Record, fitting, is_context_bound, now, rendering

WHOLE = 4096  # PIPE_BUF: what other processes write to the same pipe does not come in between (pipe(7))


class Lines:
    """The logger that structlog renders for: a method for each level, which takes lines without their ends.

    Raises OSError, ValueError only where it writes at once.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = RLock()  # what is collected as garbage meanwhile may have a warning to log
        self._waiting: list[bytes] = []
        self._octets = 0
        self._turn: asyncio.AbstractEventLoop | None = None  # whose end of turn is waited for
        atexit.register(self.flush)

    def debug(self, *lines: bytes) -> None:
        """Write `lines` at the end of this turn."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.error(*lines)
            return
        with self._lock:
            self._add(lines)
            if self._turn is not loop:
                self._turn = loop
                loop.call_soon(self.flush)

    info = warning = debug

    def error(self, *lines: bytes) -> None:
        """Write `lines` now, after what waits."""
        with self._lock:
            self._add(lines)
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

    def _add(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if self._octets + len(line) >= WHOLE:
                with suppress(OSError, ValueError):  # the lines that follow may still be written
                    self._write()
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
Line = tuple[EventName, dict[str, Any] | str]
"""The name of a line, and its fields: a dictionary, or JSON as json_text writes it, without braces and without `alert`
or an exception."""

_LOST = (OSError, ValueError)  # a full disk or a closed pipe behind standard error must not cost a message
_METHODS = {number: name for name, number in LEVELS.items()}

_logger: Any = structlog.get_logger()
_lines: Lines | None = None


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
    whole = LEVELS[level] <= logging.DEBUG
    processors = rendering(fitting(whole, on_internal_error), out, format)
    json_text.keep_addresses(whole)
    if _lines is not None:
        _lines.close()
    _lines = lines = Lines(out.buffer)
    _apply(LEVELS[level], processors, lambda *_names: lines)


def write(name: EventName, fields: dict[str, Any]) -> None:
    """One line, at the level of `name`; a field `alert` makes it an error. Never raises for what `fields` hold.

    A field `exception` (an exception) becomes error, at and, at debug, error_text.
    Before `configure`, warnings and errors go to standard error.
    """
    write_lines(((name, fields),))


def write_lines(lines: Iterable[Line]) -> None:
    """As `write` for each line; they leave together. Raises what `lines` raises, after those before it are written."""
    if not structlog.is_configured():
        configure("warning")
    if isinstance(_logger, _EventLogger):
        _logger.write_lines(lines)
        return
    for name, fields in lines:  # structlog is as somebody else configured it
        with suppress(*_LOST):
            _logger.log(_level(name, fields), name.value, **_decoded(fields))


class _EventLogger(structlog.BoundLoggerBase):
    """structlog's logger of a level, and a method for several lines that leave together."""

    least: ClassVar[int]

    def write_lines(self, lines: Iterable[Line]) -> None:
        """As structlog's `log` for each line: the processors, then the method of the level. But the fields are not
        copied from call to call, and the method is called once, for the most severe of the lines."""
        rendered: list[bytes] = []
        worst = 0
        # Where our processor alone makes the line, fields that are JSON already need not become a dictionary.
        processors: Any = self._processors
        own = len(processors) == 1 and type(processors[0]) is JsonLine and not is_context_bound()
        direct: JsonLine | None = processors[0] if own else None
        time = now()
        try:
            for name, fields in lines:
                level = _level(name, fields)
                if level >= self.least:
                    try:
                        if direct is not None and type(fields) is str:
                            rendered.append(direct.of_text(time, _METHODS[level], name._value_, fields))
                        else:
                            rendered += self._process_event(_METHODS[level], name._value_, _decoded(fields))[0]
                    except (structlog.DropEvent, *_LOST):
                        continue
                    if level > worst:
                        worst = level
        finally:
            if rendered:
                with suppress(*_LOST):
                    getattr(self._logger, _METHODS[worst])(*rendered)


def _level(name: EventName, fields: dict[str, Any] | str) -> int:
    return logging.ERROR if type(fields) is dict and "alert" in fields else name.level


def _decoded(fields: dict[str, Any] | str) -> dict[str, Any]:
    return fields if isinstance(fields, dict) else json_text.decoded(fields)


@contextmanager
def capture(level: str = "debug") -> Iterator[list[dict[str, Any]]]:
    """For tests: the records logged meanwhile, as they would have been rendered, each with its `event` and `level`."""
    records: list[dict[str, Any]] = []

    def keep(_logger: object, _method: str, record: Record) -> Record:
        records.append(dict(record))
        raise structlog.DropEvent

    was_configured, old = structlog.is_configured(), structlog.get_config()
    root = logging.getLogger()
    handlers, root_level = root.handlers[:], root.level
    whole = LEVELS[level] <= logging.DEBUG
    kept_addresses = json_text.keep_addresses(whole)
    _apply(LEVELS[level], [fitting(whole), keep], structlog.ReturnLoggerFactory())
    try:
        yield records
    finally:
        root.handlers[:] = handlers
        root.setLevel(root_level)
        json_text.keep_addresses(kept_addresses)
        structlog.configure(**old) if was_configured else structlog.reset_defaults()
        _bind()


def _bind() -> None:
    """Kept, for structlog makes a logger anew for each line."""
    global _logger
    _logger = structlog.get_logger().bind()


def _apply(level: int, processors: list[Processor], factory: Any) -> None:
    wrapper = type("EventLogger", (_EventLogger, structlog.make_filtering_bound_logger(level)), {"least": level})
    structlog.configure(
        processors=processors,
        wrapper_class=wrapper,
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
