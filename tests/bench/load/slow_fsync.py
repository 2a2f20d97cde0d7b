"""A disk whose fsync takes longer: a shim for LD_PRELOAD, made with gcc, that sleeps after each fsync and fdatasync.

strace could do the same without a compiler, but stops the process at each of its system calls: it would measure itself.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

SOURCE = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static int slow(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(fd);
    struct timespec pause = {0, %d * 1000L};
    nanosleep(&pause, 0);
    return result;
}
int fsync(int fd) { return slow("fsync", fd); }
int fdatasync(int fd) { return slow("fdatasync", fd); }
"""
PROBE = """\
import os, tempfile, time
with tempfile.TemporaryFile() as file:
    began = time.monotonic()
    os.fdatasync(file.fileno())
    print(time.monotonic() - began)
"""


def missing() -> str | None:
    """Why it cannot be had here."""
    return None if shutil.which("gcc") else "no gcc: apt-get install gcc libc6-dev"


@contextmanager
def shim(milliseconds: float) -> Iterator[str]:
    """The path of the library, readable by every user. Raises RuntimeError when it has no effect."""
    with TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        library = Path(folder, "slow.so")
        done = subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O2", "-x", "c", "-", "-o", str(library), "-ldl"],
            input=SOURCE % round(1000 * milliseconds),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        library.chmod(0o755)
        took = subprocess.run(
            [sys.executable, "-c", PROBE],
            env={**os.environ, "LD_PRELOAD": str(library)},
            capture_output=True,
            text=True,
            check=True,
        )
        if 1000 * float(took.stdout) < milliseconds:
            raise RuntimeError("the shim does not slow fdatasync down")
        yield str(library)
