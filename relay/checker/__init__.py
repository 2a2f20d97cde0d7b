"""The pool of limited processes that read untrusted content: never the main process."""

from relay.checker.pool import CheckerOverloaded, CheckerPool

__all__ = ["CheckerOverloaded", "CheckerPool"]
