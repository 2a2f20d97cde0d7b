"""Which user runs a command, which user the service runs as, and what to do when the two differ."""

import errno
import grp
import os
import pwd
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

SERVICE_USER = "agiris-relay"
"""`User=` of the unit."""

DENIED = os.strerror(errno.EACCES)
"""How a fault of the configuration says that a file is closed to the user who reads it."""


def current_user() -> str:
    """Name of the user whose permissions are in force, or the number when it has no name."""
    return _name(os.geteuid())


def assumed_user(wanted: str | None) -> str:
    """As whom `config check` reads: `wanted`; for root the service's user if there is one; else the current user."""
    if wanted is not None:
        return wanted
    return SERVICE_USER if os.geteuid() == 0 and _exists(SERVICE_USER) else current_user()


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Have the permissions of user `name` for a while. Raises LookupError, and PermissionError unless root."""
    if name == current_user():
        yield
        return
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise LookupError(f"there is no user {name} on this machine") from None
    groups, group, uid = os.getgroups(), os.getegid(), os.geteuid()
    os.setgroups(sorted({user.pw_gid, *(each.gr_gid for each in grp.getgrall() if name in each.gr_mem)}))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(group)
        os.setgroups(groups)


def denied(path: str | Path) -> str:
    """What to tell the current user who may not use `path`: who owns it, and the command that works."""
    owner = owner_of(Path(path))
    what = f"permission denied for user {current_user()}: {path}"
    if owner == current_user():
        return f"{what}. Fix: give {owner} the right to it with chmod or chown, and to enter its folder"
    command = f"sudo runuser -u {owner} -- {shlex.join(['agiris-relay', *sys.argv[1:]])}"
    return f"{what} (it belongs to user {owner}). Fix: {command}"


def denied_configuration(faults: Iterable[str], path: Path) -> str | None:
    """What to add to `faults` of the configuration at `path` when they come of another user's files; else None."""
    if not any(DENIED in fault for fault in faults) or owner_of(path) == current_user():
        return None
    return denied(path)


def owner_of(path: Path) -> str:
    """The owner of `path`, or of the nearest folder above it that can be seen; for root's the service's user."""
    for each in (path.absolute(), *path.absolute().parents):
        try:
            uid = each.stat().st_uid
        except OSError:
            continue
        return SERVICE_USER if uid == 0 and _exists(SERVICE_USER) else _name(uid)
    return SERVICE_USER


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
