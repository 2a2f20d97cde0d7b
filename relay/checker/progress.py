"""At which message and document a worker is: a page of memory that it writes and the daemon reads when it must.

It costs the worker no system call, and still says where it was when it is dead."""

import mmap
import os
import struct
from typing import NamedTuple

_PLACE = struct.Struct("<III")


class Place(NamedTuple):
    """frame: its number. message: index in the frame. document: index in the message; -1 outside of any."""

    frame: int
    message: int
    document: int


class ProgressPage:
    """One page shared by both sides. descriptor: what the other side is given."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._page = mmap.mmap(descriptor, mmap.PAGESIZE)
        self._frame = 0

    @classmethod
    def create(cls) -> "ProgressPage":
        """Raises OSError."""
        descriptor = os.memfd_create("progress")
        try:
            os.ftruncate(descriptor, mmap.PAGESIZE)
            return cls(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def begin(self, frame: int) -> None:
        """The work on a frame begins, with its first message."""
        self._frame = frame
        self.write(0)

    def write(self, message: int, document: int = -1) -> None:
        """The work on this message, or document, of the frame begins."""
        _PLACE.pack_into(self._page, 0, self._frame, message, document + 1)

    def read(self) -> Place:
        """What was written last. A worker that was taken over may write anything."""
        frame, message, document = _PLACE.unpack_from(self._page, 0)
        return Place(frame, message, document - 1)

    def close(self) -> None:
        """Let go of the page and its descriptor."""
        self._page.close()
        os.close(self.descriptor)
