"""The fast rules find what the published ones find, in their order: in our invoices, short and long, right, wrong and
mutated, and in the corpus."""

import itertools
import os
import random
import re

import pytest
from lxml import etree

from relay.demo import samples
from relay.facturx import pdf, schematron, stylesheet
from relay.facturx import xml as facturx_xml
from relay.facturx.invoice import BY_NAME, EXTENDED_CTC_FR, FRENCH_RULES, PROFILES, Profile, read
from relay.facturx.xml import parse
from relay.mime.file_type import is_pdf
from tests.support import corpus, long_invoices, published_rules

MUTATIONS = int(os.environ.get("RELAY_MUTATIONS", "40"))
"""Documents for each profile and type code, ten of these; RELAY_MUTATIONS=240 is the long run."""


@pytest.fixture(scope="module")
def engine() -> schematron.Engine:
    return schematron.Engine()


def mutations(root: etree._Element, profile: Profile, seed: int) -> list[etree._Element]:
    """Copies with one or two elements dropped, doubled, emptied or changed, that the XSD still accepts."""
    chance, found = random.Random(seed), []
    text = etree.tostring(root)
    values = [
        "0",
        "-1",
        "1000.001",
        "XX",
        "S",
        "E",
        "AE",
        "K",
        "FR",
        "DE",
        "EUR",
        "USD",
        "381",
        "751",
        "19.6",
        "20261102",
    ]
    for _ in range(MUTATIONS * 6):
        copy = etree.fromstring(text)
        for _ in range(chance.choice((1, 1, 2))):
            node = chance.choice(list(copy.iter(etree.Element))[1:])
            parent = node.getparent()
            act = chance.choice(("drop", "double", "value", "value", "value", "attribute"))
            if act == "drop":
                parent.remove(node)
            elif act == "double":
                parent.insert(parent.index(node), etree.fromstring(etree.tostring(node)))
            elif act == "attribute" and node.attrib:
                node.set(chance.choice(list(node.attrib)), chance.choice(values))
            elif not len(node):
                node.text = chance.choice(values)
        if not facturx_xml.xsd(copy, profile):
            found.append(copy)
    return found[:MUTATIONS]


def disagreements(engine: schematron.Engine, root: etree._Element, profile: Profile) -> list[str]:
    """Where the relay's findings are not those of the published stylesheets; these fail on some dates that are none."""
    text = etree.tostring(root, encoding="unicode")
    node, found = engine.parse(text), list[str]()
    for path in (profile.schematron, FRENCH_RULES):
        published, fast = published_rules.findings(path, text), engine.fast(path, node, "rules")
        if published is None:
            with pytest.raises(schematron.EngineError):
                engine.run(path, node, "rules")
        elif fast is None or not published_rules.agree(fast, published):
            found.append(f"{path}: {fast} instead of {published}")
    return found


LINE = "IncludedSupplyChainTradeLineItem"
JUDGED = (*PROFILES, EXTENDED_CTC_FR)
NAMES = {each.schematron: each.name for each in PROFILES} | {EXTENDED_CTC_FR.schematron: "extended-ctc-fr"}


@pytest.mark.parametrize("profile", JUDGED, ids=lambda each: NAMES[each.schematron])
def test_the_rewriting_knows_every_stylesheet(engine: schematron.Engine, profile: Profile) -> None:
    for path in (profile.schematron, FRENCH_RULES):
        text = stylesheet.fast(path).text
        assert "fired-rule" not in text
        assert "document(" not in text
        assert "$codedb/codedb" not in text  # every look-up is of the map
        assert not re.search("failed-assert|successful-report|schematron-output", text)
        if path != EXTENDED_CTC_FR.schematron:  # its rules match paths that the walk by names does not know
            # No document is walked as a whole.
            assert not re.search('mode="M[0-9]+" select="/"|select="/" mode="M', text)


@pytest.mark.parametrize(
    ("profile", "type_code"),
    list(itertools.product(JUDGED, ("380", "381"))),
    ids=lambda each: each if isinstance(each, str) else NAMES[each.schematron],
)
def test_fast_and_published_rules_agree_on_mutated_invoices(
    engine: schematron.Engine, profile: Profile, type_code: str
) -> None:
    root = etree.fromstring(samples.invoice_xml(profile=profile.name, type_code=type_code))
    root.find(".//{*}GuidelineSpecifiedDocumentContextParameter/{*}ID").text = profile.urn
    cases = [root, *mutations(root, profile, seed=len(profile.name) * int(type_code))]
    assert len(cases) > MUTATIONS // 2
    assert [each for case in cases for each in disagreements(engine, case, profile)] == []
    printed = (etree.tostring(case, encoding="unicode") for case in cases)
    faulty = [text for text in printed if published_rules.findings(profile.schematron, text)]
    assert len(faulty) > 3  # else the comparison compares nothing


LONG = [BY_NAME[name] for name in ("basic", "en16931", "extended")] + [EXTENDED_CTC_FR]


def long_invoice(profile: Profile, lines: int, process: str = "B1") -> bytes:
    detailed = profile.name != "basic"
    xml = long_invoices.long_invoice(lines, profile.name, detailed=detailed, process=process)
    return xml.replace(BY_NAME[profile.name].urn.encode(), profile.urn.encode())


# M8: the rules of an invoice for several sellers compare every line with all others.
@pytest.mark.parametrize(("lines", "process"), [(21, "B1"), (9, "M8")])
@pytest.mark.parametrize("profile", LONG, ids=lambda each: NAMES[each.schematron])
def test_fast_and_published_rules_agree_on_invoices_of_many_lines(
    engine: schematron.Engine, profile: Profile, lines: int, process: str
) -> None:
    right = long_invoice(profile, lines, process)
    assert disagreements(engine, etree.fromstring(right), profile) == []
    for name, change in long_invoices.WRONG.items():
        root = etree.fromstring(change(right))
        assert facturx_xml.xsd(root, profile) == []
        assert disagreements(engine, root, profile) == [], name


@pytest.mark.parametrize("profile", LONG, ids=lambda each: NAMES[each.schematron])
def test_fast_and_published_rules_agree_on_mutated_invoices_of_many_lines(
    engine: schematron.Engine, profile: Profile
) -> None:
    root = etree.fromstring(long_invoice(profile, 9, "M8"))
    cases = mutations(root, profile, seed=len(profile.urn))[: MUTATIONS // 2]
    assert len(cases) == MUTATIONS // 2
    assert [each for case in cases for each in disagreements(engine, case, profile)] == []


@pytest.mark.parametrize("profile", JUDGED, ids=lambda each: NAMES[each.schematron])
def test_no_rule_of_a_line_searches_all_lines(profile: Profile) -> None:
    for path in (profile.schematron, FRENCH_RULES):
        root = etree.fromstring(stylesheet.fast(path).text.encode())
        of_lines = [each for each in root if LINE in (each.get("match") or "") and each.get("mode")]
        asked = [node.get("test") or node.get("select") or "" for each in of_lines for node in each.iter()]
        assert [text for text in asked if LINE in text or "preceding" in text] == []


@pytest.mark.parametrize("profile", ["en16931", "extended"])
def test_a_wrong_invoice_of_a_thousand_lines_names_its_rule(engine: schematron.Engine, profile: str) -> None:
    wrong = long_invoices.WRONG["unknown parent" if profile == "extended" else "line"](
        long_invoices.long_invoice(1000, profile, detailed=True)
    )
    found = engine.fast(BY_NAME[profile].schematron, engine.parse(wrong.decode()), "rules")
    expected = {"extended": ["BR-FXEXT-08", "BR-FXEXT-11"], "en16931": ["BR-S-08", "BR-DEC-23", "BR-CO-10"]}
    assert found is not None
    assert [each.rule for each in found] == expected[profile]


@corpus.needed
@pytest.mark.parametrize("row", corpus.rows(), ids=lambda row: row["file"])
def test_fast_and_published_rules_agree_on_the_corpus(engine: schematron.Engine, row: dict[str, str]) -> None:
    data = (corpus.FOLDER / row["file"]).read_bytes()
    opened = pdf.read(data) if is_pdf(data) else None
    contents = (
        [each.content for each in opened.attachments if each.content] if isinstance(opened, pdf.Container) else [data]
    )
    for content in contents:
        root = parse(content)
        profile = read(root, b"").profile if isinstance(root, etree._Element) else None
        if profile is None or facturx_xml.xsd(root, profile):
            continue
        seed = sum(row["file"].encode())
        cases = [root, *mutations(root, profile, seed)[:10]]
        assert [each for case in cases for each in disagreements(engine, case, profile)] == []


def test_messages_hold_nothing_of_the_invoice(engine: schematron.Engine) -> None:
    secret = "Client-Secret"
    xml = samples.invoice_xml().replace(b">B1<", f">{secret}<".encode()).replace(b">20.00<", f">{'7' * 9}<".encode(), 1)
    node = engine.parse(xml.decode())
    for findings in (engine.official(FRENCH_RULES, node, "rules"), engine.fast(FRENCH_RULES, node, "rules")):
        assert findings is not None
        assert {"BR-FR-08", "BR-FR-16"} <= {finding.rule for finding in findings}
        assert not re.search(f"{secret}|{'7' * 9}", " ".join(finding.text for finding in findings))


def test_a_stylesheet_of_another_shape_falls_back_to_the_official_rules(
    engine: schematron.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(path: str) -> str:
        raise ValueError("another shape")

    monkeypatch.setattr(stylesheet, "fast", unknown)
    fresh = schematron.Engine()
    good, wrong = (fresh.parse(samples.invoice_xml(wrong_total=each).decode()) for each in (False, True))
    path = PROFILES[3].schematron
    assert fresh.run(path, good, "rules") == []
    assert [finding.rule for finding in fresh.run(path, wrong, "rules")] == ["BR-CO-15"]


def test_a_date_that_is_none_is_found_whatever_was_checked_before(engine: schematron.Engine) -> None:
    good = samples.invoice_xml().decode()
    node, wrong = engine.parse(good), engine.parse(good.replace(">20261102<", ">FR<", 1))
    for _ in range(50):  # Saxon has learned from 20
        assert engine.fast(FRENCH_RULES, node, "french-rules") == []
    found = engine.fast(FRENCH_RULES, wrong, "french-rules")
    assert found is not None
    assert [each.rule for each in found] == ["BR-FR-03", "BR-FR-CO-07"]
