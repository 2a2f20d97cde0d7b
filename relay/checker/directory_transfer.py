"""The directory on its way to the workers: in parts of a few milliseconds each, so that nobody waits for the whole.

A message is evaluated by one directory, that which was in force when it came; a request names it by its number."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import Any

from relay import serialization
from relay.checker import frames
from relay.routing.directory import Directory
from relay.routing.policy import Client, Origins, Terms

PART = 100
"""Clients a part."""

_numbers = count(1)
_NO_ORIGINS = Origins()


@dataclass(eq=False, slots=True)
class SentDirectory:
    """A directory as workers get it. users: requests under way that name it."""

    directory: Directory
    number: int = field(default_factory=lambda: next(_numbers))
    parts: list[bytes] = field(default_factory=list)
    users: int = 0

    @classmethod
    def of(cls, directory: Directory) -> "SentDirectory":
        """With all its parts, at once."""
        made = cls(directory)
        made.parts.extend(made._parts())
        return made

    @classmethod
    async def prepare(cls, directory: Directory) -> "SentDirectory":
        """As `of`, with the event loop free between two parts."""
        made = cls(directory)
        for part in made._parts():
            made.parts.append(part)
            await asyncio.sleep(0)
        return made

    def _parts(self) -> Iterator[bytes]:
        terms = self.directory.terms
        yield self._part("terms", replace(terms, clients={}, firms={}))
        clients = iter(terms.clients.values())
        while some := list(islice(clients, PART)):
            yield self._part("clients", [_as_sent(client) for client in some])
        yield self._part("end", len(terms.clients))

    def _part(self, part: str, value: object) -> bytes:
        request = {"op": "directory", "number": self.number, "part": part, "value": value}
        return frames.frame({"requests": [request]})


def _as_sent(client: Client) -> Client:
    """Without what no decision asks for: where its settings stand in the files."""
    return replace(client, origins=_NO_ORIGINS)


class SentDirectories:
    """The directories that requests may name: that in force, a newer one on its way, older ones still in use."""

    def __init__(self) -> None:
        self.newest: SentDirectory | None = None
        self._in_force: SentDirectory | None = None
        self._sent: dict[Directory, SentDirectory] = {}

    @property
    def oldest(self) -> int:
        """Number of the oldest; workers may forget those before it."""
        return min((sent.number for sent in self._sent.values()), default=0)

    def add(self, sent: SentDirectory) -> None:
        """It is to be sent to all workers."""
        self.newest = self._sent[sent.directory] = sent

    def use(self, directory: Directory) -> None:
        """No new request names any other than `directory`."""
        self.newest = self._in_force = self._find(directory)
        self._forget()

    @contextmanager
    def in_use(self, directory: Directory) -> Iterator[SentDirectory]:
        """A request that names `directory` is under way."""
        sent = self._find(directory)
        sent.users += 1
        try:
            yield sent
        finally:
            sent.users -= 1
            if not sent.users and sent is not self._in_force:
                self._forget()

    def _find(self, directory: Directory) -> SentDirectory:
        if directory not in self._sent:
            self._sent[directory] = SentDirectory.of(directory)
        return self._sent[directory]

    def _forget(self) -> None:
        kept = (self.newest, self._in_force)
        for sent in [each for each in self._sent.values() if each not in kept and not each.users]:
            del self._sent[sent.directory]


class ReceivedDirectories:
    """A worker's side: the directories that it has whole, by number."""

    def __init__(self) -> None:
        self._whole: dict[int, Directory] = {}
        self._number = 0
        self._terms: Terms | None = None
        self._clients: dict[str, Client] = {}

    def __getitem__(self, number: int) -> Directory:
        return self._whole[number]

    def take(self, header: dict[str, Any]) -> None:
        """Take one part. Raises ValueError for one that does not follow those before it."""
        value = header["value"]
        match header["part"]:
            case "terms":
                self._number, self._terms, self._clients = header["number"], serialization.build(Terms, value), {}
            case "clients":
                for client in serialization.build(tuple[Client, ...], value):
                    self._clients[client.key] = client
            case _:
                self._complete(header["number"], value)

    def _complete(self, number: int, clients: int) -> None:
        if self._terms is None or number != self._number or clients != len(self._clients):
            raise ValueError("a directory that is not whole")
        self._whole[number] = Directory(replace(self._terms, clients=self._clients))
        self._terms, self._clients = None, {}

    def keep(self, oldest: int) -> None:
        """Forget those before `oldest`: no request will name them."""
        for number in [each for each in self._whole if each < oldest]:
            del self._whole[number]
