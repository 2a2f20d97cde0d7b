"""The directory of the spool: its lock, permissions and file system, durable names, setting a database aside."""

import contextlib
import errno
import fcntl
import os
import pwd
import time
import weakref
from pathlib import Path

from relay.spool.port import SpoolBusy, SpoolError

_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "9p", "glusterfs", "lustre", "ncpfs"})


_FIXES = {
    errno.ENOSPC: "free room on that file system",
    errno.EDQUOT: "free room, or raise the quota of the daemon's user",
    errno.EACCES: "give the folder and what is in it to the daemon's user (chown -R)",
    errno.EPERM: "give the folder and what is in it to the daemon's user (chown -R)",
    errno.EROFS: "mount that file system for writing",
    errno.EISDIR: "move away the directory that stands where a file belongs",
    errno.ENOTDIR: "move away the file that stands where a directory belongs",
    errno.EEXIST: "move away the file that stands where a directory belongs",
}


def describe_os_error(error: OSError) -> str:
    """What the system says of a spool's file or folder, and the fix."""
    fix = _FIXES.get(error.errno or 0, "name another place under `spool` in relay.yaml")
    return f"{error.strerror or error}. Fix: {fix}"


class Lock:
    """The daemon's hold on its spool: an flock, so it ends with the process, however that ends.

    Raises SpoolBusy, naming the pid, when another process has it.
    """

    def __init__(self, path: Path) -> None:
        self._fd: int | None = _locked(path)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        _close_in_children(self)

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _locked(path: Path) -> int:
    """A descriptor of the file at `path`, locked. The lock of one replaced meanwhile would keep nobody away."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return fd
        except BlockingIOError:
            pid = os.pread(fd, 32, 0).strip().decode("ascii", "replace")
            named = pid if pid.isdecimal() else "unknown"
            os.close(fd)
            raise SpoolBusy(f"spool {path.with_suffix('')} is used by pid {named}: stop that daemon first") from None
        os.close(fd)


def _close_in_children(lock: Lock) -> None:
    """A forked worker shares the open file, and would hold the spool after the daemon's death."""
    held = weakref.ref(lock)

    def close() -> None:
        if (kept := held()) is not None:
            kept.release()

    os.register_at_fork(after_in_child=close)


def make_private(folder: Path) -> None:
    """Make `folder` (0700) and its parents where they are missing, their names durable. Raises SpoolError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in reversed(missing):
            sync_folder(each.parent)
    except OSError as error:
        raise SpoolError(f"the spool's folder {folder} cannot be made: {describe_os_error(error)}") from error


def refuse_unusable(path: Path) -> None:
    """Raise SpoolError, naming it, for a file of the database at `path` that this user may not read and write, or in
    whose place stands a directory: SQLite says of either only that it is unable to open the database."""
    companions = [path.with_name(f"{path.name}{each}") for each in ("-wal", "-shm", ".lock")]
    for each in (*companions, damage_mark(path)):
        if each.is_dir():
            raise SpoolError(f"{each} is a directory. Fix: move it away")
    for each in (path, *companions, path.with_name(f"{path.name}.segments")):
        if each.exists() and not os.access(each, os.R_OK | os.W_OK, effective_ids=True):
            fix = f"give {path.parent} and what is in it to the daemon's user (chown -R)"
            raise SpoolError(f"{each} cannot be read and written by user {_user()}. Fix: {fix}")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def refuse_remote(folder: Path) -> None:
    """Raise SpoolError on a network or FUSE file system: neither locks nor fsync can be relied on there."""
    kind = filesystem(folder)
    if kind in _REMOTE or (kind.startswith("fuse") and kind != "fuseblk"):
        raise SpoolError(f"{folder} is on a network file system ({kind}): put the spool on a local disk")


def filesystem(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system that holds `folder`; "" when it is unknown."""
    place, best, kind = folder.resolve(), -1, ""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    for fields in (line.split() for line in lines):
        point = Path(fields[1].replace("\\040", " "))
        if len(point.parts) >= best and place.is_relative_to(point):
            best, kind = len(point.parts), fields[2]
    return kind


def sync_folder(folder: Path) -> None:
    """Make new names in `folder` durable: without this a power cut can take the file itself."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def set_aside(path: Path, where: str = "corrupt") -> Path:
    """Move a damaged or replaced database, with its log and its segments, to a folder beside it; where it is now."""
    target = path.parent / where / f"{path.name}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.{os.getpid()}"
    target.mkdir(mode=0o700, parents=True)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}.segments"):
        if (path.parent / name).exists():
            (path.parent / name).rename(target / name)
    for each in (target, target.parent, path.parent):
        sync_folder(each)
    return target


def damage_mark(path: Path) -> Path:
    """The mark that a daemon left beside the database when it met damage: the next start looks all of it through."""
    return path.with_name(f"{path.name}.suspect")
