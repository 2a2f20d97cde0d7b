"""The octets of a document behind its Content-Transfer-Encoding. Light: the daemon itself imports it."""

from relay.inspection import Candidate, Finding, Severity
from relay.mime.transfer_decoder import Problem, decode

FINDINGS = {
    Problem.DAMAGED: ("ENCODING-DAMAGED", "the transfer encoding of the document is damaged"),
    Problem.MISLABELED: ("ENCODING-MISLABELED", "the octets of the document contradict its Content-Transfer-Encoding"),
    Problem.AMBIGUOUS: ("ENCODING-AMBIGUOUS", "the document can be decoded in two ways"),
    Problem.UNKNOWN: ("ENCODING-UNKNOWN", "the document has an unknown Content-Transfer-Encoding"),
}


def decode_document(candidate: Candidate) -> tuple[bytes, Finding | None]:
    """The document decoded as mail programs do (rfc2045#6.8), and a warning when its encoding has a problem."""
    octets, problem = decode(candidate.content, candidate.encoding)
    if problem is None:
        return octets, None
    rule, words = FINDINGS[problem]
    return octets, Finding(rule, Severity.WARNING, "pdf", words)
