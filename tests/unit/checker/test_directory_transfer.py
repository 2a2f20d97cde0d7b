"""The directory on its way to a worker: whole or not at all, and no longer than somebody names it."""

from typing import Any

import pytest

from relay.checker.directory_transfer import PART, ReceivedDirectories, SentDirectories, SentDirectory
from relay.checker.frames import LENGTH, header_of
from relay.routing.directory import Directory
from relay.routing.policy import Addresses, Client, Firm, Origins, Terms


def directory(clients: int) -> Directory:
    made = [
        Client(
            "cabinet",
            f"{number:04d}",
            addresses=Addresses("a@agiris.example"),
            recipients=(f"c{number}@export.example",),
            origins=Origins("firms/cabinet.yaml", number, "dossier:0"),
        )
        for number in range(clients)
    ]
    firms = {"cabinet": Firm("cabinet", "Cabinet", "operator@cabinet.example")}
    return Directory(
        Terms("relay.example", ("*@export.example",), clients={each.key: each for each in made}, firms=firms)
    )


def requests(sent: SentDirectory) -> list[dict[str, Any]]:
    return [header_of(part[LENGTH.size :])["requests"][0] for part in sent.parts]


@pytest.mark.parametrize("clients", [0, 1, PART, PART + 1, 3 * PART - 1])
def test_a_directory_arrives_as_it_was_sent(clients: int) -> None:
    given = directory(clients)
    sent, received = SentDirectory.of(given), ReceivedDirectories()
    for request in requests(sent):
        received.take(request)
    found = received[sent.number]
    assert list(found.terms.clients) == list(given.terms.clients)
    for client in given.terms.clients.values():
        (same,) = found.by_recipient(client.recipients[0])
        assert (same.key, same.addresses) == (client.key, client.addresses)


def test_a_worker_is_not_told_what_no_decision_asks_for() -> None:
    text = b"".join(SentDirectory.of(directory(2)).parts)
    assert b"operator@cabinet.example" not in text and b"cabinet.yaml" not in text


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_a_directory_of_which_a_part_is_lost_is_none(lost: int) -> None:
    sent, received = SentDirectory.of(directory(2 * PART)), ReceivedDirectories()
    parts = [part for number, part in enumerate(requests(sent)) if number != lost]
    if lost < 3:
        with pytest.raises(ValueError, match="not whole"):
            for part in parts:
                received.take(part)
    else:
        for part in parts:
            received.take(part)
    with pytest.raises(KeyError):
        received[sent.number]


def test_a_directory_begun_anew_replaces_the_one_on_its_way() -> None:
    first, second, received = (
        SentDirectory.of(directory(2 * PART)),
        SentDirectory.of(directory(3)),
        ReceivedDirectories(),
    )
    for request in [*requests(first)[:-1], *requests(second)]:
        received.take(request)
    assert len(received[second.number].terms.clients) == 3


def test_a_worker_forgets_what_no_request_will_name() -> None:
    received = ReceivedDirectories()
    numbers = []
    for clients in range(3):
        sent = SentDirectory.of(directory(clients))
        numbers.append(sent.number)
        for request in requests(sent):
            received.take(request)
    received.keep(numbers[1])
    assert [received[number].terms.hostname for number in numbers[1:]] == ["relay.example"] * 2
    with pytest.raises(KeyError):
        received[numbers[0]]


def test_a_directory_is_kept_while_a_request_names_it_or_it_is_in_force_or_on_its_way() -> None:
    directories = SentDirectories()
    old, new, newest = (directory(number) for number in range(3))
    directories.add(SentDirectory.of(old))
    directories.use(old)
    with directories.in_use(old) as named:
        directories.add(SentDirectory.of(new))
        with directories.in_use(old) as again:
            assert again is named, "in force, with or without a request, it keeps its number"
        directories.use(new)
        assert directories.oldest == named.number
    directories.add(SentDirectory.of(newest))
    with directories.in_use(new) as in_force:
        assert directories.oldest == in_force.number
    assert directories.newest is not None and directories.newest.directory is newest
