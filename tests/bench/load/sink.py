"""The next hop of every contender: one process, non-blocking sockets, the same cheap answers for all.

It notes when each token's mail was complete and keeps the content; what it holds is judged after the run, so that no
digest is computed while the clock runs. Commands come over a pipe: `begin`, `end`, `stop`.
"""

import gc
import re
import select
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.connection import Connection

import pybase64

from tests.bench.load.template import TOKEN, Template

EHLO = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 104857600\r\n"
REPLIES = {b"EHLO": EHLO, b"DATA": b"354 go\r\n", b"QUIT": b"221 2.0.0 bye\r\n"}
END = b"\r\n.\r\n"
HEADER = 16384
KEPT_OCTETS = 1 << 30
"""Beyond it contents are judged as they come."""

PDF = re.compile(rb"\r\n\r\n(JVBERi0[A-Za-z0-9+/=\r\n]*)")


@dataclass(frozen=True)
class Order:
    """A run to come. templates: mail `serial` is made of `templates[serial % len]`. documents: how many of them arrive.

    many: report once so many tokens have arrived.
    """

    run: str
    many: int
    templates: Sequence[Template]
    documents: int | None


@dataclass
class Found:
    """What arrived of a run. times: serial to monotonic seconds. damaged: serials whose documents are not as sent."""

    times: dict[int, float] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    doubled: int = 0
    damaged: list[int] = field(default_factory=list)
    foreign: int = 0
    cpu: float = 0.0


def documents(content: bytes | bytearray) -> tuple[bytes, ...]:
    """sha256 of each PDF in a message, whoever wrote its base64."""
    found = []
    for match in PDF.finditer(content):
        found.append(sha256(pybase64.b64decode(match.group(1))).digest())
    return tuple(found)


class Book:
    """The arrivals of the run under way."""

    def __init__(self, order: Order) -> None:
        self.order, self.found = order, Found()
        self._waiting: list[tuple[int, bytes, bytearray]] = []
        self._octets = 0

    def note(self, content: bytearray, at: float) -> None:
        match = TOKEN.search(content, 0, HEADER)
        if match is None or match[1][1:7] != self.order.run.encode():
            self.found.foreign += 1
            return
        serial = int(match[1][8:])
        if serial in self.found.times:
            self.found.doubled += 1
            return
        self.found.times[serial], self.found.sizes[serial] = at, len(content)
        if self._octets < KEPT_OCTETS:
            self._waiting.append((serial, match[1], content))
            self._octets += len(content)
        else:
            self._judge(serial, match[1], content)

    def close(self) -> Found:
        for each in self._waiting:
            self._judge(*each)
        self._waiting = []
        return self.found

    def _judge(self, serial: int, name: bytes, content: bytearray) -> None:
        template = self.order.templates[serial % len(self.order.templates)]
        if documents(content) != template.digests(name)[: self.order.documents]:
            self.found.damaged.append(serial)


class Session:
    """One connection. `feed` takes octets and returns what is to be answered."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._octets = bytearray()
        self._content = False

    def feed(self, octets: memoryview, book: Book | None) -> bytes:
        before = len(self._octets)
        self._octets += octets
        answer = b""
        while True:
            if self._content:
                end = self._octets.find(END, max(0, before - len(END)))
                if end < 0:
                    return answer
                rest = self._octets[end + len(END) :]
                del self._octets[end + 2 :]
                if book is not None:
                    book.note(self._octets, time.monotonic())
                answer += b"250 2.0.0 taken\r\n"
                self._octets, self._content = rest, False
            else:
                line, found, rest = self._octets.partition(b"\n")
                if not found:
                    return answer
                verb = bytes(line[:4]).upper()
                answer += REPLIES.get(verb, b"250 2.0.0 ok\r\n")
                self._octets, self._content = rest, verb == b"DATA"
            before = 0


class Sink:
    """The loop. control: where orders come from and reports go to."""

    def __init__(self, control: Connection) -> None:
        self._control = control
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._listener.setblocking(False)
        self._poll = select.epoll()
        for each in (self._listener, control):
            self._poll.register(each.fileno(), select.EPOLLIN)
        self._sessions: dict[int, Session] = {}
        self._buffer = bytearray(1 << 18)
        self._book: Book | None = None
        self._cpu = 0.0
        self._told = True

    def run(self) -> None:
        self._control.send(self._listener.getsockname()[1])
        running = True
        while running:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor == self._control.fileno():
                    running = self._obey()
                else:
                    self._read(descriptor)
            book = self._book
            if book is not None and not self._told and len(book.found.times) >= book.order.many:
                self._control.send("all")
                self._told = True

    def _obey(self) -> bool:
        try:
            order = self._control.recv()
        except EOFError:
            return False
        if isinstance(order, Order):
            self._book, self._told, self._cpu = Book(order), False, time.process_time()
            self._control.send("ready")
        elif order == "count":
            self._control.send(len(self._book.found.times) if self._book is not None else 0)
        elif order == "end" and self._book is not None:
            cpu = time.process_time() - self._cpu
            found = self._book.close()
            found.cpu = cpu
            self._book = None
            self._control.send(found)
        else:
            return False
        return True

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sessions[connection.fileno()] = Session(connection)
            self._poll.register(connection.fileno(), select.EPOLLIN)
            connection.send(b"220 sink ESMTP\r\n")

    def _read(self, descriptor: int) -> None:
        session = self._sessions[descriptor]
        try:
            count = session.connection.recv_into(self._buffer)
            if count and (answer := session.feed(memoryview(self._buffer)[:count], self._book)):
                session.connection.send(answer)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._poll.unregister(descriptor)
            self._sessions.pop(descriptor).connection.close()


def main(control: Connection) -> None:
    """Serve until `stop` or the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    Sink(control).run()
