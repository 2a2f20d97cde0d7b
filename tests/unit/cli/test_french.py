"""`--language fr` says nothing in English: the words of the queue, of `explain`, and of what cannot be read."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.explain import explain
from relay.cli.queue_view import clean, code_word, not_moved, record_lines, table
from relay.inspection import Verdict
from relay.lifecycle import step
from relay.locale.catalogue import french_spacing, translate
from relay.mime.message import MalformedMail
from relay.mime.parser import parse
from relay.model import Action, Delivery, Disposition, DocumentPart, HistoryEntry, Retry, Role, State
from relay.reasons import (
    DAMAGED,
    PHRASES,
    Detail,
    Reason,
    copy_of,
    defect,
    describe,
    failure_fix,
    fix,
    reason_text,
    sentence,
    two_clients,
)
from relay.replies import Deferred, Reply, Stage
from relay.routing.opaque import _AMBIGUOUS
from relay.routing.trace_steps import SENTENCES as STEPS
from relay.routing.trace_steps import Step
from relay.spool.delivery_rules import ACTION_EVENTS
from relay.spool.port import Record
from tests.support.catalogue import entries, forms
from tests.support.config_faults import write
from tests.support.spool_messages import facturx, mail, plan

ENGLISH = re.compile(
    r"\b(the|is|are|of|to|by|for|no|not|and|than|more|with|held|kept|keep|remove|number|attempts?|history|mend|why|last"
    r"|answer|delivery|document|recipient|header|invalid|valid|purchase|sale|unknown|arrived|from|way|way)\b"
)
HISTORY = (
    "accepted",
    "bounce_received",
    "delivered",
    "deferred",
    "failed",
    "outcome_unknown",
    "attempt_unconfirmed",
    "notification_queued",
)


def delivery(**changes: object) -> Delivery:
    values: dict[str, object] = {
        "queue_id": "Q",
        "number": 1,
        "plan": 0,
        "recipient": "a@x",
        "arrived": 1.0,
        "next_attempt": None,
    }
    return Delivery(**{**values, "state": State.HELD, **changes})  # type: ignore[arg-type]


def record(reason: Reason, detail: str) -> Record:
    given = mail(
        plan("a@x", documents=(facturx("F-1"),), by="recipient"),
        plan(disposition=Disposition.HOLD, reason=reason, detail=detail),
    )
    deliveries = (
        delivery(state=State.DEFERRED, next_attempt=5.0, last_reply="451 4.3.0"),
        delivery(number=2, plan=1, recipient=None, reason=reason, detail=detail),
        delivery(number=3, state=State.FAILED, detail=gave_up()),
        delivery(number=4, reason=Reason.MALFORMED_MAIL, detail=DAMAGED),
    )
    history = [
        HistoryEntry(1.0, 2, "held", reason_text(reason, detail)),
        HistoryEntry(1.0, 0, "message_corrupt", DAMAGED),
        HistoryEntry(1.0, 2, "released", "", "anne"),
    ]
    history += [
        HistoryEntry(1.0, 1, what) for what in (*HISTORY, *ACTION_EVENTS.values(), "replanned", "withheld", "queued")
    ]
    return Record(given, deliveries, tuple(history))


def gave_up() -> str:
    """As the lifecycle writes it."""
    old = delivery(state=State.ACTIVE, attempts=900, reported=frozenset({"late"}))
    return step(old, Deferred(Reply(451, "4.3.0", ""), Stage.DATA), 10_000_000.0, Retry()).detail


def links(count: int) -> str:
    return str(Detail("links", {"count": count}))


def bare(text: str) -> str:
    """`text` without what is no language: commands and keys in backquotes, addresses, codes that are typed back."""
    text = re.sub(rf"--\w+|\b({'|'.join(State)})\b", "", text)
    text = re.sub(r"`[^`]*`|\([^)]*replan [^)]*\)|\S+@\S+|[\w.+-]+/[\w.+-]+|\bF-1\S*", "", text)
    return re.sub(r"\((release|drop)\)", "", text)


@pytest.mark.parametrize("reason", Reason)
def test_queue_show_in_french_has_no_english_word(reason: Reason) -> None:
    shown = record(reason, "multipart/mixed" if reason is Reason.MALFORMED_MAIL else "")
    for line in [*record_lines(shown, "fr"), *(table([each], "fr")[0] for each in shown.deliveries)]:
        assert not ENGLISH.search(bare(line)), line
    english = "\n".join(record_lines(shown, "en"))
    assert "history" in english and sentence(reason, shown.deliveries[1].detail) in english


def test_why_an_order_does_not_apply_has_no_english_word_in_french() -> None:
    for each, verb in (
        (delivery(recipient=None), "release"),
        (delivery(state=State.ACTIVE), "hold"),
        (delivery(state=State.DELIVERED), "retry"),
    ):
        assert not ENGLISH.search(bare(not_moved(each, verb, "fr"))), each
        assert not_moved(each, verb, "en") != not_moved(each, verb, "fr")


def test_every_code_that_is_shown_has_a_french_word() -> None:
    for closed in (Disposition, Role, DocumentPart, Action, Verdict):
        for code in closed:
            assert code_word(code.value, "fr") != code.value, code
            assert code_word(code.value, "en") == code.value
    for what in (*State, *HISTORY, *ACTION_EVENTS.values(), "replanned", "message_corrupt", "withheld", "held"):
        assert code_word(what, "fr") != what, what


def test_no_translation_holds_an_english_word() -> None:
    for message in entries():
        for text in forms(message) if not message.context else ():
            assert not ENGLISH.search(bare(re.sub(r"\{\w+\}|\bdocument\b", "", text))), text


def test_why_a_delivery_was_given_up_is_shown_in_french() -> None:
    assert (
        describe(gave_up(), "fr") == "abandonné après 900 tentatives en 2778 h\u202f; dernière réponse\u00a0: 451 4.3.0"
    )


MALFORMED = [
    b"",
    b"X: " + b"x" * 300_000 + b"\r\n\r\nx",
    (b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\n\r\n" * 5_000),
    b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(100)),
]


@pytest.mark.parametrize("raw", MALFORMED, ids=["empty", "long header", "many parts", "deep"])
def test_why_a_message_cannot_be_read_is_shown_in_both_languages(raw: bytes, tmp_path: Path) -> None:
    with pytest.raises(MalformedMail) as caught:
        parse(raw)
    error = caught.value
    assert str(error) == error.text("en") != error.text("fr")
    assert error.defect not in error.text("fr") and "{}" not in error.text("fr")
    assert not ENGLISH.search(error.text("fr"))
    (tmp_path / "mail.eml").write_bytes(raw)
    folder = str(write(tmp_path))
    result = CliRunner().invoke(
        explain,
        [str(tmp_path / "mail.eml"), "--recipient", "one@export.relay.example", "--config", folder, "--language", "fr"],
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert error.text("fr") in result.stderr and "Que faire" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("name", [*sorted(_AMBIGUOUS), DAMAGED, "multipart/mixed", "message/rfc822"])
def test_each_defect_that_holds_a_message_has_its_words(name: str) -> None:
    english, said = sentence(Reason.MALFORMED_MAIL, name), sentence(Reason.MALFORMED_MAIL, name, "fr")
    assert english.endswith(defect(name)) and said.endswith(defect(name, "fr"))
    assert defect(name, "fr") != name != "" and not ENGLISH.search(bare(said.replace("Content-", "")))


def test_links_are_counted_in_french() -> None:
    assert sentence(Reason.NO_DOCUMENT, links(2), "fr").endswith(" (liens\u00a0: 2)")


def test_a_firm_named_message_is_not_read_as_a_media_type() -> None:
    assert sentence(Reason.AMBIGUOUS_CLIENT, "message/1, message/2", "fr").endswith("message/1, message/2")


@given(st.sampled_from(list(Reason)), st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_reason_in_a_history_is_shown_as_its_sentence(reason: Reason, detail: str) -> None:
    for language in ("en", "fr"):
        assert describe(reason_text(reason, detail), language) == sentence(reason, detail, language)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("detail", ["", "7", "purchases", "a@x.example"])
def test_a_reason_with_a_usual_detail_is_shown_as_its_sentence(reason: Reason, detail: str) -> None:
    assert describe(reason_text(reason, detail), "fr") == sentence(reason, detail, "fr")


@pytest.mark.parametrize(
    "text",
    [
        "ask Mme Martin first",
        "550 5.1.1 no such user",
        "",
        "{",
        '{"id": ',
        '{"id": "sold"}',
        '{"id": "links", "values": {}}',
        '{"id": "links", "values": [1]}',
        '{"id": ["links"], "values": {}}',
        '{"id": "unknown_identifier", "values": {"count": 2}}',
        '{"id": "wrong_client", "values": {}}',
        '{"id": "wrong_client", "values": {"detail": 7}}',
        "gave up after 3 attempts in 9 h; the last answer was: 451 4.3.0",
        "the connection does not transmit documents",
    ],
)
def test_what_is_no_identifier_of_ours_stays_as_it_is(text: str) -> None:
    """An operator's words, a server's, a sentence of an earlier version, an identifier of a later one."""
    assert describe(text, "fr") == describe(text, "en") == text


def test_a_phrase_and_a_reason_have_different_identifiers() -> None:
    assert not PHRASES.keys() & set(Reason)


def test_quotes_braces_and_surrogates_in_a_detail_come_back() -> None:
    held = reason_text(Reason.UNKNOWN_CLIENT, 'a"\udce9{count}\\@x')
    assert describe(held).endswith('for a"\udce9{count}\\@x')


FILES = Path(__file__).parents[3]
BAD_SPACE = re.compile(r" [:;?!»](?!\S)|« ")
"""An ordinary space where French typography keeps two signs on one line (U+00A0, U+202F)."""


def french_texts() -> list[str]:
    """Every French sentence of the catalogue, and of what is rendered from it."""
    texts = [translate(message.id, "fr") for message in entries() if isinstance(message.id, str)]
    texts += [french_spacing(text) for message in entries() for text in forms(message)]
    texts += [sentence(reason, "x", "fr") for reason in Reason] + [fix(reason, "fr") for reason in Reason]
    texts += [Step(code, "x").text("fr") for code in STEPS]
    texts += [defect(name, "fr", "9") for name in [*sorted(_AMBIGUOUS), DAMAGED, "empty", "multipart/mixed"]]
    texts += [describe(each, "fr") for each in (links(2), gave_up(), two_clients("X-Dossier", "a/1", "siren", None))]
    texts += [failure_fix(reply, "fr") for reply in ("550 5.1.1 x", "554 5.7.1 x")]
    texts += [line for reason in Reason for line in record_lines(record(reason, ""), "fr")]
    return texts


def test_every_french_sentence_has_the_spaces_of_its_typography() -> None:
    for text in french_texts():
        assert not BAD_SPACE.search(text), text
    assert any("\u00a0:" in text for text in french_texts()) and any("\u202f;" in text for text in french_texts())


@pytest.mark.parametrize("page", ["README.md", "config/README.md"])
def test_the_french_of_a_page_has_the_spaces_of_its_typography(page: str) -> None:
    text = (FILES / page).read_text(encoding="utf-8")
    found = BAD_SPACE.search(text)
    assert found is None, (
        f"write U+00A0 before : and inside « », U+202F before ; ? ! near {text[found.start() - 40 :][:60]!r}"
    )


@pytest.mark.parametrize(
    ("text", "spaced"),
    [
        ("un : deux ; trois ? quatre !", "un\u00a0: deux\u202f; trois\u202f? quatre\u202f!"),
        ("« Remis »", "«\u00a0Remis\u00a0»"),
        ("`share_with_firm: true`, 10:30", "`share_with_firm: true`, 10:30"),
    ],
)
def test_french_spacing_replaces_the_spaces_that_must_not_break(text: str, spaced: str) -> None:
    assert french_spacing(text) == french_spacing(spaced) == spaced


@pytest.mark.parametrize(
    "old",
    [
        "a besoin de vous",
        "ne sera plus présenté",
        "Il est représenté",
        "est à un autre client",
        "se contredisent",
        "ne peuvent être",
        "faites-le renvoyer",
        "enfermées dans winmail",
        "dites-le",
        "auto-facturée",
        "redécidé",
        "sans certitude",
        "bouton est éteint",
        "PDF original",
        "supprim",
    ],
)
def test_replaced_french_wording_is_not_used_again(old: str) -> None:
    texts = [
        *french_texts(),
        *((FILES / page).read_text(encoding="utf-8") for page in ("README.md", "config/README.md")),
    ]
    assert not [text for text in texts if old in text]


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        (
            two_clients("recipient", "durand/100", "siren", None),
            "l'adresse désigne le dossier durand/100, le SIREN de la facture un autre dossier",
        ),
        (
            two_clients("X-Dossier", "durand/100", "tag", "durand/200"),
            "le champ X-Dossier désigne le dossier durand/100, le suffixe de l'adresse le dossier durand/200",
        ),
        (
            two_clients("message", "durand/100", "siren", "durand/200, durand/300"),
            "le message désigne le dossier durand/100, le SIREN de la facture le dossier durand/200, durand/300",
        ),
    ],
)
def test_a_contradiction_is_shown_in_french(detail: str, said: str) -> None:
    assert sentence(Reason.CONTRADICTION, detail, "fr").endswith(said)
    kept = reason_text(Reason.CONTRADICTION, detail)
    assert describe(kept, "fr") == sentence(Reason.CONTRADICTION, detail, "fr")


def test_clean_keeps_the_spaces_of_french_and_drops_control_characters() -> None:
    assert clean("a\u00a0: b\u202f; c\x07") == "a\u00a0: b\u202f; c?"


def test_a_copy_says_in_french_what_it_shares_with_the_first() -> None:
    texts = [sentence(Reason.DUPLICATE_DOCUMENT, copy_of("Q1", each), "fr") for each in ("document", "xml", "number")]
    assert [each.partition("\u00a0: ")[2] for each in texts] == [
        "Q1",
        "Q1 (la même facture dans un autre PDF)",
        "Q1 (une facture de même numéro et de même vendeur, au contenu différent)",
    ]


def test_the_identifier_behind_a_role_is_shown_in_french() -> None:
    given = mail(plan("a@x", role_by="elimination"), plan("b@x", role_by="BT-47 (0002)"))
    shown = [*record_lines(Record(given, (delivery(), delivery(number=2, plan=1)), ()), "fr")]
    assert "  rôle d'après élimination (aucun identifiant du client dans la facture)" in shown
    assert "  rôle d'après BT-47 (0002)" in shown
