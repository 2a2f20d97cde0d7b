"""The fast rules differ in nothing from the official ones: over our invoices, their mutations and the corpus."""

import itertools
import os
import random
import re

import pytest
from lxml import etree

from relay.demo import samples
from relay.facturx import pdf, schematron, stylesheet
from relay.facturx import xml as facturx_xml
from relay.facturx.invoice import EXTENDED_CTC_FR, FRENCH_RULES, PROFILES, Profile, read
from relay.facturx.xml import parse
from relay.mime.file_type import is_pdf
from tests.support import corpus

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


def faults(engine: schematron.Engine, path: str, node: object) -> list[str]:
    """The rules broken by the official stylesheet; some documents make it fail (a date that is none): then that."""
    try:
        return [finding.rule for finding in engine.official(path, node, "rules")]
    except schematron.EngineError as error:
        return [str(error)]


def disagreements(engine: schematron.Engine, root: etree._Element, profile: Profile) -> list[str]:
    node = engine.parse(etree.tostring(root, encoding="unicode"))
    return [
        f"{path}: fast is {'silent' if silent else 'not silent'}, official says {official}"
        for path in (profile.schematron, FRENCH_RULES)
        if (silent := engine.silent(path, node)) == bool(official := faults(engine, path, node))
    ]


JUDGED = (*PROFILES, EXTENDED_CTC_FR)
NAMES = {each.schematron: each.name for each in PROFILES} | {EXTENDED_CTC_FR.schematron: "extended-ctc-fr"}


@pytest.mark.parametrize("profile", JUDGED, ids=lambda each: NAMES[each.schematron])
def test_the_rewriting_knows_every_stylesheet(engine: schematron.Engine, profile: Profile) -> None:
    for path in (profile.schematron, FRENCH_RULES):
        text = stylesheet.fast(path)
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
def test_fast_and_official_rules_agree_on_mutated_invoices(
    engine: schematron.Engine, profile: Profile, type_code: str
) -> None:
    root = etree.fromstring(samples.invoice_xml(profile=profile.name, type_code=type_code))
    root.find(".//{*}GuidelineSpecifiedDocumentContextParameter/{*}ID").text = profile.urn
    cases = [root, *mutations(root, profile, seed=len(profile.name) * int(type_code))]
    assert len(cases) > MUTATIONS // 2
    found = [each for case in cases for each in disagreements(engine, case, profile)]
    assert found == []
    printed = (etree.tostring(case, encoding="unicode") for case in cases)
    faulty = [text for text in printed if faults(engine, profile.schematron, engine.parse(text))]
    assert len(faulty) > 3  # else the comparison compares nothing


@corpus.needed
@pytest.mark.parametrize("row", corpus.rows(), ids=lambda row: row["file"])
def test_fast_and_official_rules_agree_on_the_corpus(engine: schematron.Engine, row: dict[str, str]) -> None:
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
    findings = engine.official(FRENCH_RULES, node, "french-rules")
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
