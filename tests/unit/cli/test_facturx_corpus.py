"""Every document of the corpus gets the verdict that independent oracles gave it, at both levels."""

import json
import re
import subprocess
import sys
from functools import cache

import pytest

from tests.support import corpus

KINDS = {
    "xrechnung-hybrid": "xrechnung",
    "plain-pdf": "pdf",
    "xml-cii": "cii",
    "xml-ubl": "ubl",
    "factur-x-claimed": "factur-x",
}

UNKNOWN_GUIDELINE = {"fnfe2018-avoir-380-basic.pdf"}
"""The manifest's tool took the profile from the end of the URN; by the exact table the one of 2018 is unknown."""

GERMAN_SELLER = {name for name in (row["file"] for row in corpus.rows()) if name.startswith("ferd")}
"""The manifest's tool ran BR-FR over every invoice; they bind French sellers only."""

pytestmark = corpus.needed


@cache
def reports(level: str, french: str) -> dict[str, dict]:
    command = [
        sys.executable,
        "-m",
        "relay.cli",
        "facturx",
        "check",
        "--json",
        "--level",
        level,
        "--french-rules",
        french,
    ]
    done = subprocess.run(
        [*command, "--config", str(corpus.FOLDER), str(corpus.FOLDER)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr  # some are not valid
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["file"].rpartition("/")[2]: line for line in lines}


def expected(row: dict[str, str], french: str) -> str:
    said = row["expected"]
    if said.startswith("not "):
        return "not-factur-x"
    if said.startswith("valid Factur-X; invalid under BR-FR"):
        return "invalid" if french == "error" and row["file"] not in GERMAN_SELLER else "valid"
    return said


def case(name: str) -> dict[str, str]:
    return next(row for row in corpus.rows() if row["file"] == name)


NAMES = [row["file"] for row in corpus.rows()]


@pytest.mark.parametrize("french", ["warning", "error"])
@pytest.mark.parametrize("name", NAMES)
def test_the_verdict_on_a_file_of_the_corpus_at_level_full(name: str, french: str) -> None:
    row, report = case(name), reports("full", french)[name]
    assert report["verdict"] == expected(row, french), report["findings"]
    assert report["kind"] == KINDS.get(row["kind"], row["kind"])
    assert report["sha256"] == row["sha256"]
    if report["kind"] == "factur-x" and row["invoice_no"]:
        profile = None if name in UNKNOWN_GUIDELINE else row["profile"]
        assert (report["profile"], report["type_code"], report["number"]) == (
            profile,
            row["type_code"],
            row["invoice_no"],
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_rules_broken_are_those_of_the_oracles(name: str) -> None:
    row, report = case(name), reports("full", "warning")[name]
    if report["kind"] != "factur-x" or name in UNKNOWN_GUIDELINE:
        pytest.skip("no business rule applies")
    found = {(each["where"], each["severity"]): set() for each in report["findings"]}
    for each in report["findings"]:
        found[each["where"], each["severity"]].add(each["rule"])
    assert found.get(("rules", "error"), set()) == set(row["schematron_fatal"].split())
    assert found.get(("rules", "warning"), set()) == set(row["schematron_warning"].split())
    french = set() if name in GERMAN_SELLER or row["br_fr"] == "n/a" else set(row["br_fr"].split())
    assert found.get(("french-rules", "warning"), set()) == french
    for said in re.findall(r"[A-Z][A-Z0-9-]+(?=\(|,|$| )", row["container"]):
        if said in (
            "FX-XML-NAME",
            "FX-AFRELATIONSHIP-MISSING",
            "XMP-LEVEL-MISMATCH",
            "FX-LEVEL-UNKNOWN",
            "FX-MULTIPLE-XML",
        ):
            assert said in {each["rule"] for each in report["findings"]}


@pytest.mark.parametrize("name", NAMES)
def test_level_structure_checks_all_but_the_business_rules(name: str) -> None:
    row, report = case(name), reports("structure", "warning")[name]
    only_rules = row["schematron_fatal"] and not row["container"] and name not in UNKNOWN_GUIDELINE
    wanted = expected(row, "warning")
    assert report["verdict"] == ("valid" if only_rules and wanted == "invalid" else wanted)
    assert not [each for each in report["findings"] if each["where"] in ("rules", "french-rules")]
