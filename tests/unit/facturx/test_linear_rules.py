"""What is rewritten says the same; what looks alike and is not the same stays as it was."""

import random

import pytest
from lxml import etree
from saxonche import PySaxonProcessor

from relay.facturx.linear_rules import Key, by_keys, is_constant, is_text, make_linear, tokens

NAMESPACES = 'xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:r="urn:r"'
TESTS = (
    "some $p in //r:L/r:I satisfies normalize-space($p) = normalize-space(r:P)",
    "count(//r:L[r:P = $id and r:K = 'G']) = 1",
    "count(/r:D/r:L[r:P = $id and r:K != $id]/r:K) = 1",
    "count(../r:L[r:P = $id]) = 2",
    "not(//r:L[normalize-space(r:P) = normalize-space($line/r:I)]/r:K = 'G')",
    "for $x in r:I, $n in count(//r:L[r:P = $x]) return $n = 1",
    "every $i in //r:L[r:K = 'G'] satisfies count(//r:L[normalize-space(r:P) = normalize-space($i/r:I)]) = 2",
    "not(//r:K = 'G') or count(//r:L) > 4",
    "r:K[. = preceding::r:K]",
)


def stylesheet() -> etree._Element:
    """Each test writes its number of the lines for which it holds."""
    asked = "".join(f'<xsl:if test="{test}">{number}</xsl:if>' for number, test in enumerate(TESTS))
    return etree.fromstring(
        f'<xsl:stylesheet version="2.0" {NAMESPACES}><xsl:output method="text"/>'
        '<xsl:template match="/"><xsl:apply-templates select="//r:L" mode="M1"/></xsl:template>'
        '<xsl:template match="r:L" mode="M1"><xsl:variable name="id" select="normalize-space(r:I)"/>'
        f'<xsl:variable name="line" select="."/>{asked};</xsl:template></xsl:stylesheet>'
    )


def document(chance: random.Random) -> str:
    def line() -> str:
        parent = f"<r:P>{chance.choice(('1', ' 2', '3', ''))}</r:P>" if chance.random() < 0.7 else ""
        kind = f"<r:K>{chance.choice('GD1')}</r:K>" if chance.random() < 0.7 else ""
        return f"<r:L><r:I>{chance.choice(('1', '2 ', '3'))}</r:I>{parent}{kind}</r:L>"

    return f'<r:D xmlns:r="urn:r">{"".join(line() for _ in range(chance.randrange(1, 7)))}</r:D>'


def test_the_rewritten_tests_hold_of_the_same_lines() -> None:
    published, rewritten = stylesheet(), stylesheet()
    make_linear(rewritten)
    changed = [(a.get("test"), b.get("test")) for a, b in zip(published.iter(), rewritten.iter(), strict=False)]
    assert all(before != after for before, after in changed if before)
    assert "//" not in "".join(node.get("test") or "" for node in rewritten.iter())
    saxon = PySaxonProcessor(license=False)
    compiler = saxon.new_xslt30_processor()
    before, after = (
        compiler.compile_stylesheet(stylesheet_text=etree.tostring(each, encoding="unicode"))
        for each in (published, rewritten)
    )
    chance, met = random.Random(3), set[str]()
    for _ in range(300):
        node = saxon.parse_xml(xml_text=document(chance))
        reported = [each.transform_to_string(xdm_node=node) or "" for each in (before, after)]
        assert reported[0] == reported[1]
        met |= set(reported[0])
    assert met >= set(map(str, range(len(TESTS))))  # else the comparison compares nothing


@pytest.mark.parametrize(
    "test",
    [
        "//r:L[r:P = $id or r:K = 'G']",  # the or is of all
        "//r:L[r:P = $id and r:K = 'G' or r:K]",
        "//r:L[r:P = $id and position() = 1]",  # the place among all
        "//r:L[r:P = $id and r:K = current()/r:K]",
        "//r:L[r:P = $number]",  # compared as a number
        "//r:L[r:P != $id]",
        "//r:L[r:P = r:I]",
        "$line/r:L[r:P = $id]",  # not of the whole document
        "//r:A[r:K]/r:L[r:P = $id]",
        "r:L[r:P = $id]",
        "../../r:L[r:P = $id]",
        "some $p in //r:I satisfies normalize-space($p) = normalize-space(r:P) or r:K",
        "some $p in r:L satisfies normalize-space($p) = normalize-space(r:P)",
        "r:I[. = preceding::r:K]",
    ],
)
def test_what_no_key_can_answer_stays_as_it_was(test: str) -> None:
    keys: dict[Key, str] = {}
    assert by_keys(tokens(test), {"id"}, keys) == tokens(test)
    assert keys == {}


@pytest.mark.parametrize(
    "test",
    [
        "//r:L",
        "not(/r:D/r:L[r:K != 'O'])",
        "count(//r:L/r:K[. = 'G']) + 1 >= 2 or exists(//r:L/@k)",
        "every $i in //r:L, $j in //r:K satisfies number($i/r:K) = round(sum($j)) * -1",
        "custom:known(/r:D) and $global = 'x' and //r:L[r:K = ../r:I]/(r:A | r:B)",
        "//r:L/xs:decimal(r:K) = (1, 2) and true()",
    ],
)
def test_what_the_document_alone_tells_is_constant(test: str) -> None:
    assert is_constant(tokens(test), {"global"}, {"custom:known"})


@pytest.mark.parametrize(
    "test",
    [
        "r:K",
        "//r:L and r:K",
        "//r:L = .",
        "//r:L = ../r:K",
        "//r:L = @k",
        "//r:L = *",
        "//r:L[r:K = current()/r:K]",
        "//r:L[r:K = $local]",
        "//r:L = child::r:K",
        "//r:L and normalize-space()",
        "//r:L and position() = 1",
        "//r:L and unknown(//r:K)",
        "//r:L and (: a comment :) true()",
        "some $local in //r:L satisfies $local",
        "1 = 1",  # nothing is gained
    ],
)
def test_what_the_tested_element_tells_is_not_constant(test: str) -> None:
    assert not is_constant(tokens(test), {"global"}, {"custom:known"}, {"local"})


def test_only_paths_and_normalized_texts_are_compared_as_texts() -> None:
    texts = ("r:A", "./r:A/r:B", "normalize-space(r:A)", "normalize-space(./r:A/r:B)")
    others = ("", "count(r:A)", "r:A + 1", "number(r:A)", "r:A[1]", "'x'", "xs:decimal(r:A)")
    assert all(is_text(tokens(each)) for each in texts)
    assert not any(is_text(tokens(each)) for each in others)
