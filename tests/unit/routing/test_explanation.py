"""explain: the keys of its JSON, and lines for a person in either language."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.locale.catalogue import translate
from relay.reasons import SENTENCES as REASONS
from relay.reasons import Reason
from relay.routing.explanation import as_json, lines
from relay.routing.trace_steps import SENTENCES, Step
from tests.support.decisions import setting

PAIR = [{"facturx": {"name": "f.pdf", "number": "F-1"}}, {"pdf": {"name": "o.pdf", "mentions": ["F-1"]}}]


def explained(row: dict[str, Any], language: str = "en") -> dict[str, Any]:
    case = setting(row)
    values = as_json(case.decide(), case.directory, language)
    assert json.loads(json.dumps(values)) == values
    return values


def test_explain_as_json_has_the_keys_of_its_contract() -> None:
    values = explained({"mail": {"parts": PAIR}})
    assert values["client"] == {"firm": "durand", "dossier": "100", "by": "recipient", "name": "Boulangerie Martin"}
    assert (values["disposition"], values["reason"]) == ("relay", None)
    (mail,) = values["mails"]
    assert (mail["to"], mail["role"]) == (["martin@agiris.example"], "purchase")
    facturx, original = mail["documents"]
    assert {"filename", "part", "action", "verdict", "sha256"} <= facturx.keys()
    assert (facturx["filename"], facturx["part"], facturx["action"]) == ("f.pdf", "facturx", "keep")
    assert (original["filename"], original["part"], original["action"]) == ("o.pdf", "original", "remove")
    assert [step["step"] for step in values["steps"]][:1] == ["paired_by_content"]


def test_a_held_message_is_explained_with_its_fix() -> None:
    values = explained({"mail": {"to": ["box@export.test"], "parts": [{"pdf": {"name": "a.pdf"}}]}}, "fr")
    assert (values["client"], values["disposition"], values["reason"]) == (None, "hold", "unknown_client")
    assert "box@export.test" in values["text"]
    assert "replan" in values["mend"]


def test_a_rejected_message_has_the_disposition_refuse() -> None:
    values = explained({"mail": {"parts": [{"pdf": {}}]}, "settings": {"check": {"on_missing": "refuse"}}})
    assert (values["disposition"], values["reason"]) == ("refuse", "no_facturx")


def test_of_several_messages_the_gravest_disposition_is_shown() -> None:
    parts = [{"facturx": {"name": "f.pdf"}}, {"file": {"name": "z.zip", "media_type": "application/zip"}}]
    values = explained({"mail": {"parts": parts}})
    assert (values["disposition"], values["reason"]) == ("hold", "attachment_type")
    assert [mail["disposition"] for mail in values["mails"]] == ["relay", "hold"]


@pytest.mark.parametrize(("language", "words"), [("en", ["Factur-X, kept", "removed"]), ("fr", ["conservé", "retiré"])])
def test_the_lines_for_a_person_name_client_address_and_actions(language: str, words: list[str]) -> None:
    case = setting({"mail": {"parts": PAIR}})
    text = "\n".join(lines(case.decide(), case.directory, language))
    assert "durand/100 Boulangerie Martin" in text
    assert "martin@agiris.example" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("fields", "en", "fr"),
    [
        (
            {},
            "states the invoice number, the date, the seller and the amounts",
            "indique le numéro de facture, la date",
        ),
        ({"like": 0.97, "lacks": ["seller"]}, "own pages, with the same figures: 2 → 1 (97 %)", "les mêmes chiffres"),
        ({"lacks": ["vat"], "only": True}, "nothing that the invoice does not: 2 → 1", "rien d'autre que la facture"),
    ],
)
def test_the_evidence_for_a_removed_document_is_shown_in_both_languages(
    fields: dict[str, object], en: str, fr: str
) -> None:
    original = {"pdf": {"name": "o.pdf", "mentions": ["F-1"], **fields}}
    case = setting({"mail": {"parts": [PAIR[0], original]}})
    for language, words in (("en", en), ("fr", fr)):
        assert words in "\n".join(lines(case.decide(), case.directory, language))


def test_every_step_and_reason_has_a_sentence_in_both_languages() -> None:
    for code in SENTENCES:
        english, french = Step(code, "x").text("en"), Step(code, "x").text("fr")
        assert english and french and english != french, code
        assert "{" not in english + french
    assert set(REASONS) == set(Reason)
    for reason, source in REASONS.items():
        assert ("{detail}" in source.text) == ("{detail}" in translate(source.text, "fr")), reason
        assert source.fix and translate(source.fix, "fr") != source.fix


def test_every_step_and_reason_is_used() -> None:
    relay = Path(__file__).parents[3] / "relay"
    code = "".join(
        file.read_text("utf-8") for file in relay.rglob("*.py") if file.name not in ("reasons.py", "trace_steps.py")
    )
    for step in SENTENCES:
        assert f'"{step}"' in code or step.startswith("identified_by_"), step
    for reason in Reason:
        assert f"Reason.{reason.name}" in code, reason


def test_no_detail_holds_a_file_name() -> None:
    """`detail` goes to logs and replies: attachments are named by their place."""
    rows = yaml.safe_load(
        """
        - [facturx: {name: SECRET.pdf}, file: {name: SECRET.zip, media_type: application/zip}]
        - [facturx: {name: SECRET.pdf, xml: one}, facturx: {name: SECRET2.pdf, xml: two}]
        - [encrypted: {name: SECRET.pdf}, xml: {name: SECRET.xml}]
        """
    )
    for parts in rows:
        decision = setting({"mail": {"parts": parts}}).decide()
        values = [plan.detail for plan in decision.plans] + [step.detail for step in decision.steps]
        assert not [each for each in values if "SECRET" in each]


ENGLISH = re.compile(
    r"\b(recipient|header|siren|purchases?|sales?|credit_notes?|statements?|unknown|any|valid|invalid|undetermined"
    r"|the|is|of|not|kept|removed|held|role: (?!achat|vente|relevé|inconnu))\b"
)


@pytest.mark.parametrize(
    "table", sorted((Path(__file__).parent / "decisions").glob("*.yaml")), ids=lambda each: each.stem
)
def test_french_lines_hold_no_english_word(table: Path) -> None:
    for row in yaml.safe_load(table.read_text("utf-8")):
        case = setting(row)
        decision = case.decide()
        names = {document.filename for plan in decision.plans for document in plan.documents if document.filename}
        for line in lines(decision, case.directory, "fr"):
            for name in names:
                line = line.replace(name, "")
            bare = re.sub(r"`[^`]*`|\S+@\S+|[\w.+-]+/[\w.+-]+", "", line)
            assert not ENGLISH.search(bare), f"{row['claim']}: {line}"
