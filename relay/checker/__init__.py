"""The pool of limited processes in which PDF, XML and MIME are parsed: untrusted content is read in a sandbox."""

from relay.checker.evaluation import Evaluation, EvaluationRequest
from relay.checker.pool import CheckerPool
from relay.checker.requests import CheckerOverloaded, CheckFailed
from relay.checker.verification import FalseAnswer

__all__ = ["CheckFailed", "CheckerOverloaded", "CheckerPool", "Evaluation", "EvaluationRequest", "FalseAnswer"]
