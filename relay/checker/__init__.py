"""The pool of limited processes in which PDF, XML and MIME are parsed: untrusted content is read in a sandbox."""

from relay.checker.pool import CheckerOverloaded, CheckerPool

__all__ = ["CheckerOverloaded", "CheckerPool"]
