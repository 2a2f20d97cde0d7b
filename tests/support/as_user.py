"""`python -m tests.support.as_user USER WORD…`: `agiris-relay WORD…` as another user; started by root.

Everything is imported first: the interpreter may lie where USER cannot read.
"""

import _strptime  # noqa: F401
import codecs
import importlib
import importlib.readers
import os
import pwd
import sys

from relay import cli


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
