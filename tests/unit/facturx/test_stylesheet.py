"""A pattern of many rules, walked by names: the same rules are met as by the traversal, and what is unknown stays."""

import random

import pytest
from lxml import etree
from saxonche import PySaxonProcessor

from relay.facturx import stylesheet as facturx_stylesheet

CII = "urn:cii"
RAM = "urn:ram"
HEAD = f'version="2.0" xmlns:xsl="{facturx_stylesheet.XSL}" xmlns:rsm="{CII}" xmlns:ram="{RAM}"'
REST = (
    '<xsl:template match="text()" mode="M1" priority="-1"/>'
    '<xsl:template match="@*|node()" mode="M1" priority="-2"><xsl:apply-templates select="@*|*" mode="M1"/>'
    "</xsl:template>"
)
START = '<xsl:output method="text"/><xsl:template match="/"><xsl:apply-templates select="/" mode="M1"/></xsl:template>'
DOCUMENT = "/rsm:CrossIndustryInvoice"
MATCHES = (
    f"{DOCUMENT}/ram:A",
    f"{DOCUMENT}/ram:A/ram:B[ram:C='1']/ram:C",
    f"{DOCUMENT}/ram:A/ram:B[../ram:C]",
    f"{DOCUMENT}/ram:A/ram:B | {DOCUMENT}/ram:B",
    f"{DOCUMENT}/ram:A/ram:B/ram:C",
    f"{DOCUMENT}/ram:A[2]/ram:C/ram:A",
    "rsm:CrossIndustryInvoice/ram:C/ram:C[.='1' or .='2|/']",
    f"{DOCUMENT}/ram:C[@k='1'][not(ram:A[ram:B])]/ram:B/ram:A",
)


def stylesheet(*matches: str, goes_on: str = "@*|*") -> etree._Element:
    """Each rule writes its number and the place of the element it met."""
    rules = "".join(
        f'<xsl:template match="{match}" mode="M1" priority="{1000 - number}">{number}'
        '<xsl:for-each select="ancestor-or-self::*">.<xsl:value-of select="1 + count(preceding-sibling::*)"/>'
        f'</xsl:for-each>;<xsl:apply-templates select="{goes_on}" mode="M1"/></xsl:template>'
        for number, match in enumerate(matches)
    )
    return etree.fromstring(f"<xsl:stylesheet {HEAD}>{START}{rules}{REST}</xsl:stylesheet>")


def rewritten(root: etree._Element) -> bool:
    templates = [each for each in root if each.get("mode") == "M1"]
    (start,) = (each for each in root.iter(f"{{{facturx_stylesheet.XSL}}}apply-templates") if each.get("select") == "/")
    return facturx_stylesheet.by_names(root, "M1", templates, start)


def document(chance: random.Random) -> str:
    def element(depth: int) -> str:
        name, attribute = chance.choice("ABC"), chance.choice(("", " k='1'"))
        inner = "".join(element(depth - 1) for _ in range(chance.randrange(4))) if depth else chance.choice("123")
        return f"<ram:{name}{attribute}>{inner}</ram:{name}>"

    inner = "".join(element(3) for _ in range(4))
    return f'<rsm:CrossIndustryInvoice xmlns:rsm="{CII}" xmlns:ram="{RAM}">{inner}</rsm:CrossIndustryInvoice>'


def test_the_same_rules_meet_the_same_elements() -> None:
    published, walked = stylesheet(*MATCHES), stylesheet(*MATCHES)
    assert rewritten(walked)
    saxon = PySaxonProcessor(license=False)
    compiler = saxon.new_xslt30_processor()
    before, after = (
        compiler.compile_stylesheet(stylesheet_text=etree.tostring(each, encoding="unicode"))
        for each in (published, walked)
    )
    chance, met = random.Random(7), set[str]()
    for _ in range(200):
        node = saxon.parse_xml(xml_text=document(chance))
        reported = [each.transform_to_string(xdm_node=node) or "" for each in (before, after)]
        assert reported[0] == reported[1]
        met |= {line.partition(".")[0] for line in reported[0].split(";")}
    assert met >= set(map(str, range(len(MATCHES))))  # else the comparison compares nothing


@pytest.mark.parametrize(
    "match",
    [
        f"{DOCUMENT}//ram:A",
        "ram:A",
        "//ram:A",
        f"{DOCUMENT}/ram:A/@k",
        f"{DOCUMENT}/*",
        f"{DOCUMENT}/unknown:A",
        f"{DOCUMENT}/ram:A[.='[']",
        "/",
    ],
)
def test_a_pattern_that_is_more_than_names_stays_as_it_was(match: str) -> None:
    root = stylesheet(f"{DOCUMENT}/ram:A", match)
    before = etree.tostring(root)
    assert not rewritten(root)
    assert etree.tostring(root) == before


def test_rules_without_a_priority_or_that_go_on_elsewhere_stay_as_they_were() -> None:
    elsewhere, bare = stylesheet(f"{DOCUMENT}/ram:A", goes_on="ram:B"), stylesheet(f"{DOCUMENT}/ram:A")
    bare[2].attrib.pop("priority")
    assert not rewritten(elsewhere)
    assert not rewritten(bare)


def test_two_prefixes_of_one_namespace_are_not_distinguished_by_name() -> None:
    root = stylesheet(f"{DOCUMENT}/ram:A", f"{DOCUMENT}/twin:A")
    text = etree.tostring(root, encoding="unicode").replace("<xsl:stylesheet", f'<xsl:stylesheet xmlns:twin="{RAM}"', 1)
    assert not rewritten(etree.fromstring(text))
