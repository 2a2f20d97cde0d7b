"""`python -m tests.support.as_user USER WORD…`: `agiris-relay WORD…` as another user; started by root.

What Python itself has is imported first: it may be installed where USER cannot read. The relay and its libraries read
more as they run; `needs_checkout_open_to_all` is for those who would meet that.
"""

import _strptime  # noqa: F401
import codecs
import importlib
import importlib.readers
import os
import pwd
import sys
from itertools import chain
from pathlib import Path

import pytest

from relay import cli

_PLACES = (Path(__file__).resolve().parents[2], Path(sys.prefix).resolve())

needs_checkout_open_to_all = pytest.mark.skipif(
    os.geteuid() == 0
    and any(not each.stat().st_mode & 0o001 for each in chain(_PLACES, *(place.parents for place in _PLACES))),
    reason="the checkout or its .venv is in a folder that other users cannot enter",
)


def main() -> None:
    for module, _, _ in cli.COMMANDS.values():
        importlib.import_module(module)
    for encoding in ("ascii", "latin-1", "utf-8-sig", "idna"):
        codecs.lookup(encoding)
    user = pwd.getpwnam(sys.argv[1])
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.chdir("/")
    sys.argv = ["agiris-relay", *sys.argv[2:]]
    cli.main()


if __name__ == "__main__":
    main()
