"""The platform under load: one process, `sessions` connections, non-blocking sockets; a 4xx is tried again.

Closed loop: each session hands over the next message once it is free. Open loop (`rate`): mail k belongs to the instant
k / rate, and its times count from there, however late a session was free for it (no coordinated omission).
"""

import errno
import gc
import heapq
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from tests.bench.load.template import SENDER, Template, token

AGAIN_SECONDS = 0.2
TRIES = 50


@dataclass(frozen=True)
class Task:
    """What to send where. each: messages a connection. seconds: the sender gives up then. first: number of the
    first."""

    port: int
    run: str
    count: int
    sessions: int
    templates: Sequence[Template]
    rate: float = 0.0
    each: int = 1
    seconds: float = 300.0
    first: int = 0


@dataclass
class Sent:
    """began: serial to the monotonic second of its connect (or MAIL, or due time). accepted: of its 250."""

    began: dict[int, float] = field(default_factory=dict)
    accepted: dict[int, float] = field(default_factory=dict)
    later: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    cpu: float = 0.0


class Session:
    """One connection and the message it is at."""

    def __init__(self, serial: int, left: int) -> None:
        self.connection = socket.socket()
        self.connection.setblocking(False)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.serial: int | None = serial
        self.left = left
        self.stage = "greeting"
        self.heard = b""
        self.mail = bytearray()
        self.content: memoryview | None = None

    def reply(self, octets: bytes) -> bytes | None:
        """The last line of a reply that is complete."""
        self.heard += octets
        if not self.heard.endswith(b"\r\n"):
            return None
        last = self.heard[:-2].rpartition(b"\r\n")[2]
        if last[3:4] == b"-":
            return None
        self.heard = b""
        return last


class Sender:
    """One run."""

    def __init__(self, task: Task) -> None:
        self._task, self.sent = task, Sent()
        self._poll = select.epoll()
        self._sessions: dict[int, Session] = {}
        self._next = 0
        self._done = 0
        self._again: list[tuple[float, int]] = []
        self._tries: Counter[int] = Counter()

    def run(self) -> Sent:
        start = time.monotonic()
        end = start + self._task.seconds
        while self._done < self._task.count and (now := time.monotonic()) < end:
            pause = self._open(now, start)
            for descriptor, event in self._poll.poll(pause):
                session = self._sessions.get(descriptor)
                if session is not None:
                    self._turn(session, event)
        for session in tuple(self._sessions.values()):
            self._close(session)
        self.sent.cpu = time.process_time()
        return self.sent

    def _open(self, now: float, start: float) -> float:
        """Open the connections that are due; seconds until it is worth looking again."""
        task, pause = self._task, 0.5
        while len(self._sessions) < task.sessions:
            if self._again and self._again[0][0] <= now:
                self._connect(heapq.heappop(self._again)[1])
            elif self._next < task.count:
                due = start + self._next / task.rate if task.rate else now
                if due > now:
                    pause = due - now
                    break
                serial = task.first + self._next
                self._next += 1
                self.sent.began[serial] = due
                self._connect(serial)
            else:
                break
        if self._again:
            pause = min(pause, max(0.0, self._again[0][0] - now))
        return max(0.0005, min(pause, 0.5))

    def _connect(self, serial: int) -> None:
        session = Session(serial, self._task.each)
        session.connection.connect_ex(("127.0.0.1", self._task.port))
        self._sessions[session.connection.fileno()] = session
        self._poll.register(session.connection.fileno(), select.EPOLLIN)

    def _turn(self, session: Session, event: int) -> None:
        try:
            if event & select.EPOLLOUT and session.content is not None:
                self._push(session)
            if not event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                return
            octets = session.connection.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(session, errno.errorcode.get(error.errno or 0, "?"), later=True)
            return
        if not octets:
            self._failed(session, "closed", later=True)
        elif (line := session.reply(octets)) is not None:
            self._answer(session, line)

    def _answer(self, session: Session, line: bytes) -> None:
        if line[:1] not in b"23":
            self._failed(session, line[:60].decode("latin-1"), later=line[:1] == b"4")
            return
        stage, send = session.stage, session.connection.send
        if stage == "greeting":
            session.stage = "ehlo"
            send(b"EHLO plateforme.jefacture.example\r\n")
        elif stage == "ehlo":
            self._mail(session)
        elif stage == "mail":
            session.stage = "rcpt"
            send(f"RCPT TO:<{self._template(session).recipient}>\r\n".encode())
        elif stage == "rcpt":
            session.stage = "data"
            send(b"DATA\r\n")
        elif stage == "data":
            session.stage = "content"
            session.content = memoryview(session.mail)
            self._push(session)
        elif stage == "content":
            self._accepted(session)
        else:
            self._close(session)

    def _mail(self, session: Session) -> None:
        assert session.serial is not None
        session.stage = "mail"
        session.mail = self._template(session).mail(token(self._task.run, session.serial))
        session.mail += b"" if session.mail.endswith(b"\r\n") else b"\r\n"
        session.connection.send(f"MAIL FROM:<{SENDER}> SIZE={len(session.mail)}\r\n".encode())
        session.mail += b".\r\n"

    def _template(self, session: Session) -> Template:
        assert session.serial is not None
        return self._task.templates[session.serial % len(self._task.templates)]

    def _push(self, session: Session) -> None:
        assert session.content is not None
        while session.content:
            try:
                session.content = session.content[session.connection.send(session.content) :]
            except BlockingIOError:
                self._poll.modify(session.connection.fileno(), select.EPOLLIN | select.EPOLLOUT)
                return
        session.content = None
        self._poll.modify(session.connection.fileno(), select.EPOLLIN)

    def _accepted(self, session: Session) -> None:
        assert session.serial is not None
        now = time.monotonic()
        self.sent.accepted[session.serial] = now
        self._done += 1
        session.left -= 1
        if session.left > 0 and not self._task.rate and self._next < self._task.count:
            session.serial = self._task.first + self._next
            self._next += 1
            self.sent.began[session.serial] = now
            self._mail(session)
            return
        session.serial, session.stage = None, "quit"
        session.connection.send(b"QUIT\r\n")

    def _failed(self, session: Session, why: str, later: bool) -> None:
        serial = session.serial
        if serial is not None:
            self._tries[serial] += 1
            again = later and self._tries[serial] < TRIES
            (self.sent.later if again else self.sent.refused)[f"{session.stage}: {why}"] += 1
            if again:
                heapq.heappush(self._again, (time.monotonic() + AGAIN_SECONDS, serial))
            else:
                self._done += 1
        self._close(session)

    def _close(self, session: Session) -> None:
        self._poll.unregister(session.connection.fileno())
        self._sessions.pop(session.connection.fileno()).connection.close()


def main(control: Connection, task: Task) -> None:
    """Wait for the word, run, report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    for each in task.templates:
        each.mail(token(task.run, 0))
    sender = Sender(task)
    control.send("ready")
    control.recv()
    control.send(sender.run())
