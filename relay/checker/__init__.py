"""The pool of limited processes in which PDFs are looked at (DESIGN rule 11: never trust a PDF)."""

from relay.checker.pool import CheckerOverloaded, CheckerPool

__all__ = ["CheckerOverloaded", "CheckerPool"]
