"""Directory: what the door accepts, and clients found by any way."""

from dataclasses import replace

import pytest

from relay.routing.directory import Directory, split_tag
from relay.routing.policy import Addresses, Client, Terms
from tests.support.decisions import CLIENTS, terms

ACCEPTED = [
    "martin@export.test",
    "MARTIN@Export.Test",
    "anything@export.test",
    "any+tag@export.test",
    "exact@other.test",
    "listed@client.test",
    "Listed+tag@client.test",
    "bounces@back.test",
    "bounces+Q1.1@back.test",
    "postmaster",
    "Postmaster@client.test",
    "postmaster@relay.test",
]
REFUSED = [
    "martin@agiris.example",
    "x@sub.export.test",
    "x@export.test.evil.example",
    "x@evil.example@other.test",
    "other@other.test",
    "bouncesx@back.test",
    "postmaster@evil.example",
    "export.test",
    "@evil.example",
    "",
]


@pytest.fixture
def directory() -> Directory:
    base = terms({})
    listed = replace(CLIENTS["solo"], recipients=("listed@client.test",))
    return Directory(
        replace(
            base,
            recipients=("*@export.test", "exact@other.test"),
            clients={**base.clients, listed.key: listed},
            return_path="bounces@back.test",
        )
    )


@pytest.mark.parametrize("address", ACCEPTED)
def test_accepts(directory: Directory, address: str) -> None:
    assert directory.accepts(address)


@pytest.mark.parametrize("address", REFUSED)
def test_is_no_open_relay(directory: Directory, address: str) -> None:
    assert not directory.accepts(address)


def test_a_pattern_with_a_star_elsewhere() -> None:
    directory = Directory(replace(terms({}), recipients=("export-*@firm.test",)))
    assert directory.accepts("export-12@firm.test")
    assert not directory.accepts("import-12@firm.test")


def test_an_exact_local_part_wins_over_a_folded_one() -> None:
    base = terms({})
    one = Client("f", "1", recipients=("Dupont@x.test",))
    two = Client("f", "2", recipients=("dupont@x.test",))
    directory = Directory(replace(base, clients={one.key: one, two.key: two}))
    assert directory.by_recipient("Dupont@X.TEST") == (one,)
    assert directory.by_recipient("dupont@x.test") == (two,)
    assert directory.by_recipient("DUPONT@x.test") == (one, two)


def test_one_client_listed_twice_is_one_client() -> None:
    one = Client("f", "1", recipients=("a@x.test", "A@x.test", "A@X.test"))
    directory = Directory(replace(terms({}), clients={one.key: one}))
    assert directory.by_recipient("a@x.test") == (one,)


def test_unicode_forms_of_an_address_are_one() -> None:
    one = Client("f", "1", recipients=("caf\u00e9@x.test",))
    directory = Directory(replace(terms({}), clients={one.key: one}))
    assert directory.by_recipient("cafe\u0301@x.test") == (one,)


def test_siren_ignores_spaces_and_is_read_from_a_siret() -> None:
    directory = Directory(terms({}))
    assert directory.by_siren("732829320") == (CLIENTS["martin"],)
    assert directory.by_siren("732 829 320") == (CLIENTS["martin"],)
    assert directory.by_siren(None, "73282932000074") == (CLIENTS["martin"],)
    assert directory.by_siren(None) == ()
    assert len(directory.by_siren("552100554")) == 2
    assert directory.by_siren("552100554", "552 100 554 00021") == (CLIENTS["sud"],)
    assert len(directory.by_siren("552100554", "55210055400099")) == 2


@pytest.mark.parametrize(
    ("address", "base", "tag"),
    [
        ("a+b@x", "a@x", "b"),
        ("a+b+c@x", "a@x", "b+c"),
        ("a@x", "a@x", ""),
        ("a+@x", "a+@x", ""),
        ("+b@x", "@x", "b"),
    ],
)
def test_split_tag(address: str, base: str, tag: str) -> None:
    assert split_tag(address) == (base, tag)


def test_no_return_path_takes_no_message() -> None:
    directory = Directory(Terms(hostname="h.test", recipients=()))
    assert not directory.is_return_path("+x@")
    assert not directory.accepts("a@b.test")
    assert not directory.accepts("")


def test_build_incrementally_gives_the_same_directory_in_slices() -> None:
    clients = {
        f"f/{number}": Client("f", str(number), siren=f"{number:09}", recipients=(f"c{number}@x.test",))
        for number in range(1000)
    }
    wanted = replace(terms({}), clients=clients)
    building, slices = Directory.build_incrementally(wanted, size=100), 0
    while True:
        try:
            next(building)
        except StopIteration as end:
            directory = end.value
            break
        slices += 1
    assert slices == 10
    assert directory.by_recipient("c999@x.test") == Directory(wanted).by_recipient("c999@x.test") != ()


def test_a_client_without_address_is_known_all_the_same() -> None:
    one = Client("f", "1", addresses=Addresses(), recipients=("a@x.test",))
    assert Directory(replace(terms({}), clients={one.key: one})).by_recipient("a@x.test") == (one,)
