"""A configuration file to text: readable, small enough, UTF-8."""

import errno
import os
import pwd
import re
import stat
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from relay.setting_parsers import INVISIBLE
from relay.settings.issues import MOST, TOP, ConfigIssues, Position

MAX_SIZE = 16 * 1024 * 1024
_TAB = re.compile(r"^[ ]*(\t)[^\S\n]*(?=\S)", re.MULTILINE)
_ODD_INDENT = re.compile(rf"^[ ]*([{INVISIBLE}])", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f]|\r(?!\n)")


def decode(octets: bytes, file: str, faults: ConfigIssues) -> str | None:
    """The text of a file's octets, or None with its faults reported. `file`: its name in the faults."""
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
    """The octets of `path`, or None with its faults reported; the warnings on its mode are reported too."""
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
