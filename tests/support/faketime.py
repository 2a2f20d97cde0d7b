"""A clock that a test moves under a running daemon, by libfaketime."""

from pathlib import Path

import pytest

LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)


def faketime(clock: Path) -> dict[str, str]:
    """The environment of a daemon whose clock is moved by what `clock` holds ("+6d"); its monotonic clock is not.

    Skips the test where libfaketime is missing.
    """
    library = next((each for each in LIBRARIES if Path(each).exists()), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
