"""The French catalogue: complete, compiled, nothing unused; the same names in both languages; plurals; typography."""

import re
import subprocess
import sys
from collections.abc import Iterator
from gettext import GNUTranslations
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo

from relay.locale.catalogue import DOMAIN, FOLDER, decimal, french_spacing, marked, plural, translate, translate_in
from tests.support.catalogue import MESSAGES, entries, forms, sources, written

KEYWORDS = {
    "translate": None,
    "translate_in": ((1, "c"), 2),
    "plural": (1, 2),
    "marked": None,
    "marked_in": ((1, "c"), 2),
}
"""As the command at the top of the catalogue gives them with -k."""

Key = tuple[str | None, str | tuple[str, ...]]


def key(message: Message) -> Key:
    return message.context, tuple(message.id) if isinstance(message.id, list) else message.id


def in_the_code() -> Iterator[Key]:
    for _, _, text, _, context in extract_from_dir(FOLDER.parent, [("**.py", "python")], keywords=KEYWORDS):
        yield context, text


def test_every_sentence_of_the_code_is_in_the_catalogue_and_no_other() -> None:
    code, catalogue = set(in_the_code()), {key(message) for message in entries()}
    assert code - catalogue == set(), "renew the catalogue: see the commands at the top of the .po"
    assert catalogue - code == set(), "unused: see the commands at the top of the .po"
    assert not written().obsolete


def test_every_sentence_has_a_french_translation() -> None:
    for message in entries():
        assert all(forms(message)) and not message.fuzzy, message.id


def test_the_compiled_catalogue_is_that_of_the_written_one() -> None:
    with (MESSAGES / f"{DOMAIN}.mo").open("rb") as file:
        compiled = {key(message): forms(message) for message in read_mo(file) if message.id}
    assert compiled == {key(message): forms(message) for message in entries()}, "pybabel compile"


def test_a_translation_holds_the_names_of_its_source() -> None:
    for message in entries():
        names = {frozenset(re.findall(r"\{(\w*)\}", text)) for text in (*sources(message), *forms(message))}
        assert len(names) == 1 and "" not in names.pop(), message.id
        assert all(text.count("{") == text.count("}") for text in (*sources(message), *forms(message)))


def test_the_commands_in_backquotes_are_the_same_in_both_languages() -> None:
    for message in entries():
        for text in forms(message) if message.context != "detail" else ():
            assert re.findall("`[^`]*`", text) == re.findall("`[^`]*`", sources(message)[0]), message.id


def test_a_translation_begins_and_ends_with_the_blanks_of_its_source() -> None:
    for message in entries():
        for text in forms(message):
            margin = [len(text) - len(text.lstrip()), len(text) - len(text.rstrip())]
            source = sources(message)[0]
            if not source.startswith(":"):
                assert margin == [len(source) - len(source.lstrip()), len(source) - len(source.rstrip())], message.id


@pytest.mark.parametrize(
    ("count", "english", "french"),
    [
        (0, "0 older (--limit)", "0 envoi plus ancien (--limit)"),
        (1, "1 older (--limit)", "1 envoi plus ancien (--limit)"),
        (2, "2 older (--limit)", "2 envois plus anciens (--limit)"),
    ],
)
def test_zero_is_singular_in_french_alone(count: int, english: str, french: str) -> None:
    shown = [plural("{count} older (--limit)", "{count} older (--limit)", count, each) for each in ("en", "fr")]
    assert shown == [english, french]
    assert plural("message accepted", "messages accepted", count, "en") == f"message{'s' * (count != 1)} accepted"


def test_every_plural_has_its_two_french_forms() -> None:
    assert written().num_plurals == 2
    for message in entries():
        if isinstance(message.id, (tuple, list)):
            singular, many = (plural(*message.id, count, "fr", **values(message)) for count in (1, 2))
            assert singular == plural(*message.id, 0, "fr", **values(message)).replace("0", "1")
            assert "{" not in singular + many


def values(message: Message) -> dict[str, str]:
    return {name: "x" for name in re.findall(r"\{(\w+)\}", sources(message)[0]) if name != "count"}


def test_what_is_put_in_is_not_read_as_a_sentence() -> None:
    assert translate("nothing in the queue is known by {term}", "fr", term="{a} : b") == (
        "rien dans la file ne répond à {a} : b"
    )


def test_a_word_is_translated_where_it_stands() -> None:
    assert (translate_in("queue", "unknown", "fr"), translate_in("explain", "unknown", "fr")) == (
        "rôle inconnu",
        "inconnu",
    )
    assert translate_in("queue", "unknown", "en") == "unknown"


def test_amounts_have_the_sign_of_the_language() -> None:
    assert (decimal(1234.56, "en"), decimal(1234.56, "fr")) == ("1234.6", "1234,6")


def test_the_spaces_of_french_are_put_once() -> None:
    for message in entries():
        for text in forms(message):
            assert french_spacing(french_spacing(text)) == french_spacing(text)
            assert text == text.replace("\u00a0", " ").replace("\u202f", " "), f"write ordinary spaces: {text}"


def test_a_sentence_without_translation_is_shown_in_english() -> None:
    text = "nobody has translated" + marked(" this")
    assert translate(text, "fr") == text


def test_english_reads_no_catalogue_and_french_no_babel() -> None:
    """The data path speaks English, and a notice in French must not load what only amounts need."""
    script = (
        "import sys\n"
        "from relay.reasons import Reason, fix, sentence\n"
        "sentence(Reason.TOO_LARGE, '9'), fix(Reason.LOOP)\n"
        "assert 'gettext' not in sys.modules and 'babel' not in sys.modules\n"
        "assert sentence(Reason.LOOP, 'x', 'fr') != sentence(Reason.LOOP, 'x')\n"
        "assert 'babel' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])


def test_the_standard_library_reads_the_compiled_catalogue() -> None:
    with (MESSAGES / f"{DOMAIN}.mo").open("rb") as file:
        french = GNUTranslations(file)
    assert french.gettext("held by an operator{detail}") == "retenu par un opérateur{detail}"
