"""Large mails give their memory back to the system at once, where the C library is glibc."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGE = 1024 * 1024
_TRIM = 16 * 1024 * 1024  # less, and a mail of 600 KB has its pages fetched anew: half a millisecond


def keep_large_blocks_apart() -> bool:
    """Blocks over 1 MiB get pages of their own; False: the C library has no such setting.

    By itself glibc, once a block of 25 MB was freed, takes the next such blocks from the heap, where a small one behind
    keeps them from being given back: under 20 mails of 25 MB the process grew to 350 MB where 235 MB were in use.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE)) and bool(mallopt(_M_TRIM_THRESHOLD, _TRIM))
