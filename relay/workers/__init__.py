"""The pool of limited processes in which PDFs are looked at (DESIGN rule 11: never trust a PDF)."""

from relay.workers.pool import Pool, PoolBusy

__all__ = ["Pool", "PoolBusy"]
