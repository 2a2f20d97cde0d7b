"""A configuration file to text: readable, small enough, UTF-8; and what libyaml says, in words a person can act on."""

import errno
import os
import pwd
import re
import stat
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from relay.setting_parsers import INVISIBLE
from relay.settings.issues import MOST, TOP, ConfigIssues, Position

_NO_SPACE = re.compile(r"^\s*(?:- )?[\w.-]+:(?=[^\s/])")
_CANNOT_START = "@%`&*!|>"


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[Position, str, str]:
    """Place, what and fix of a syntax error."""
    problem, context = error.problem or "", error.context or ""
    here, opened = _position(error.problem_mark), _position(error.context_mark)
    lines = text.splitlines()
    if "quoted scalar" in context:
        return opened, "the quote opened here is never closed", "close it on the same line"
    if "flow sequence" in context or "flow mapping" in context:
        return _bracket(problem, here, opened, lines)
    if "cannot start any token" in problem:
        return here, f'a value cannot begin with "{_char(lines, here)}"', 'put the value in quotes: "…"'
    if "mapping values are not allowed" in problem:
        return _colon(here, lines)
    if "could not find expected ':'" in problem:
        return _simple_key(opened, lines)
    if "did not find expected" in problem and "block" in context:
        return _block(here, opened, lines)
    if "block sequence entries are not allowed" in problem:
        return here, '"- " begins a list item, but no list can stand here', "put the list on the lines below its key"
    return here, f"not YAML: {problem}", _value_in_quotes(lines, here)


def _bracket(problem: str, here: Position, opened: Position, lines: list[str]) -> tuple[Position, str, str]:
    bracket = _char(lines, opened) or "["
    return opened, f'"{bracket}" opened here is never closed', f'close it with "{"]" if bracket == "[" else "}"}"'


def _colon(here: Position, lines: list[str]) -> tuple[Position, str, str]:
    line = _line(lines, here)
    previous = _line(lines, Position(here.line - 1, 1))
    indent, before = _indent(line), _indent(previous)
    if line.count(": ") + line.endswith(":") < 2 and indent > before:
        what = f"this line does not line up with line {here.line - 1} ({before} spaces)"
        return Position(here.line, indent + 1), what, "give both lines the same indentation"
    return here, 'a second ":" stands in the value', 'put the value in quotes: title: "Facture: 2025"'


def _simple_key(opened: Position, lines: list[str]) -> tuple[Position, str, str]:
    line = _line(lines, opened)
    if (match := _NO_SPACE.match(line)) is not None:
        return Position(opened.line, match.end()), 'a space is missing after ":"', f'write "{match[0].strip()} …"'
    return opened, 'this line is not "key: value"', 'put a ":" and a space after the key'


def _block(here: Position, opened: Position, lines: list[str]) -> tuple[Position, str, str]:
    line = _line(lines, here)
    if here.line > opened.line and here.column == _indent(line) + 1:
        before = here.line - 1
        while before > 1 and not _line(lines, Position(before, 1)).strip():
            before -= 1
        spaces = _indent(_line(lines, Position(before, 1)))
        what = f"this line does not line up with line {before} ({spaces} spaces)"
        if opened.column - 1 != spaces:
            what += f" nor with line {opened.line} ({opened.column - 1})"
        return here, what, "give the lines of one block the same indentation"
    return here, "unexpected text after the value", 'put the whole value in quotes: "…"'


def _value_in_quotes(lines: list[str], here: Position) -> str:
    return 'put the value in quotes: "…"' if _char(lines, here) in _CANNOT_START else "correct the line"


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)


def _line(lines: list[str], at: Position) -> str:
    return lines[at.line - 1] if 0 < at.line <= len(lines) else ""


def _char(lines: list[str], at: Position) -> str:
    return _line(lines, at)[at.column - 1 : at.column]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


MAX_SIZE = 16 * 1024 * 1024
_TAB = re.compile(r"^[ ]*(\t)[^\S\n]*(?=\S)", re.MULTILINE)
_ODD_INDENT = re.compile(rf"^[ ]*([{INVISIBLE}])", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f]|\r(?!\n)")


def decode(octets: bytes, file: str, faults: ConfigIssues) -> str | None:
    """The text of a file's octets, or None with the faults told. `file`: its name in the faults."""
    text = _decode(octets, file, faults)
    if text is None:
        return None
    if not text.strip():
        faults.error(file, TOP, "the file is empty", "put the settings back; an empty file never means nothing")
        return None
    if not _clean(text, file, faults):
        return None
    if not text.endswith("\n"):
        at = position(text, len(text))
        faults.warning(
            file, at, "the last line has no line end: the file may be half written", "end it with a line break"
        )
    return text


def signature(path: Path) -> tuple[int, ...]:
    """What changes when the file does; empty when there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def open_regular(path: Path) -> BinaryIO:
    """`path` open for reading. Raises OSError, also for what is no regular file (a pipe would block)."""
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open("rb")


def octets(path: Path, file: str, faults: ConfigIssues) -> bytes | None:
    """The octets of `path`, or None with the faults told; what is said of its mode is told too."""
    try:
        with open_regular(path) as stream:
            if os.fstat(stream.fileno()).st_mode & stat.S_IWOTH:
                what = "anyone on this machine can write this file, and so redirect invoices"
                faults.warning(file, TOP, what, f"chmod o-w {path}")
            content = stream.read(MAX_SIZE + 1)
    except OSError as error:
        faults.error(file, TOP, *unreadable(error))
        return None
    if len(content) > MAX_SIZE:
        faults.error(file, TOP, "the file is larger than 16 MiB", "split it into one file for each firm")
        return None
    return content


def is_file(path: Path) -> bool:
    """Is there a regular file that this user may know of? Never raises, as Path.is_file does without permission."""
    try:
        return path.is_file()
    except OSError:
        return False


class Changed(OSError):
    """A file was written while it was read: half of it may be the old one."""


def read_whole(path: Path) -> bytes:
    """The octets of a small regular file, all of one version of it.

    Raises OSError, also for what is no regular file or larger than `MAX_SIZE`; Changed when it was written meanwhile.
    """
    before = signature(path)
    with open_regular(path) as stream:
        content = stream.read(MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    if signature(path) != before:
        raise Changed("the file changed while it was read")
    return content


def user() -> str:
    """Who this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def unreadable(error: OSError) -> tuple[str, str]:
    """What and fix for a file that cannot be opened."""
    what = f"cannot read as user {user()}: {os.strerror(error.errno) if error.errno else error}"
    if isinstance(error, Changed):
        return str(error), "try again once it is saved"
    if isinstance(error, FileNotFoundError):
        return what, "create the file, or correct its path"
    if isinstance(error, IsADirectoryError | NotADirectoryError) or error.errno == errno.EINVAL:
        return what, "a regular file is expected here"
    return what, "give the user the right to read it with chown or chmod, and to enter its folder"


def _decode(octets: bytes, file: str, faults: ConfigIssues) -> str | None:
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        faults.error(file, TOP, "the file is UTF-16, not UTF-8", "save it as UTF-8")
        return None
    try:
        return octets.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = octets[: error.start].decode("utf-8").removeprefix("\ufeff")
        at = position(before, len(before))
        faults.error(file, at, f"not UTF-8 (octet 0x{octets[error.start]:02X})", "save the file as UTF-8")
        return None


def _clean(text: str, file: str, faults: ConfigIssues) -> bool:
    found = False
    for match in islice(_CONTROL.finditer(text), MOST):
        name = f"U+{ord(match[0]):04X}"
        faults.error(file, position(text, match.start()), f"control character {name}", "remove it")
        found = True
    for match in islice(_ODD_INDENT.finditer(text), MOST):
        name = f"U+{ord(match[1]):04X}"
        at = position(text, match.start(1))
        faults.error(file, at, f"invisible character {name} in the indentation", "type the spaces again")
        found = True
    for match in islice(_TAB.finditer(text), MOST):
        at = position(text, match.start(1))
        what = "the line is indented with a tab; YAML allows spaces only"
        faults.error(file, at, what, "replace the tab by 2 spaces")
        found = True
    return not found


def position(text: str, offset: int) -> Position:
    """Line and column of `offset`."""
    return Position(text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1)
