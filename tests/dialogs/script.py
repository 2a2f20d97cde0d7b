"""Dialogue scripts: what a client says and what a server must answer, line by line.

    # comment
    @ plain                which listener: plain (default) | starttls | required | implicit | outside | proxy
    C: EHLO client         send the line and CRLF; escapes as in Python: \\r \\n \\0 \\xff \\\\
    C- text                send without CRLF
    C* 30: NOOP            send the line 30 times, in one go
    C+: MAIL …             gather: sent together with the next C line (PIPELINING)
    S: 250-*               one line of the reply must match this glob
    S...                   the rest of a reply of several lines, whatever it is
    S* 30: 250 *           30 lines that match
    TLS                    handshake, as a client
    CLOSE                  the server must hang up now (and say nothing more)
    EOF                    the client half-closes
"""

import fnmatch
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

LISTENERS = ("plain", "starttls", "required", "implicit", "outside", "proxy")
SECONDS = 15.0
RECEIPT = re.compile(r"250 2\.0\.0 .*(sha256|size \d).*")


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    verb: str
    text: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    listener: str
    steps: tuple[Step, ...]


class Mismatch(AssertionError):
    """The server answered otherwise."""


def read(path: Path) -> Script:
    """A script of a `.dlg` file. Raises ValueError for a line that is none."""
    listener, steps = "plain", []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not raw.strip() or raw.startswith("#"):
            continue
        if raw.startswith("@"):
            listener = raw[1:].strip()
            if listener not in LISTENERS:
                raise ValueError(f"{path}:{number}: unknown listener {listener}")
            continue
        steps.append(_step(path, number, raw))
    return Script(path.stem, listener, tuple(steps))


def _step(path: Path, number: int, raw: str) -> Step:
    if raw in ("TLS", "CLOSE", "EOF", "S..."):
        return Step(number, raw)
    if raw.startswith("C- "):
        return Step(number, "C-", raw[3:])
    if raw.startswith("C+: "):
        return Step(number, "C+", raw[4:])
    for verb in ("C", "S"):
        if raw.startswith(f"{verb}* "):
            times, _, text = raw[3:].partition(": ")
            return Step(number, verb, text, int(times))
        if raw == f"{verb}:" or raw.startswith(f"{verb}: "):
            return Step(number, verb, raw[3:])
    raise ValueError(f"{path}:{number}: not a step: {raw}")


def play(script: Script, address: tuple[str, int], *, receipts: bool = True) -> None:
    """Hold the dialogue with the server at `address`. Raises Mismatch.

    receipts: the server tells size and digest of a message it took, as the recording intake of
    tests.support.smtp_server does.
    """
    with socket.create_connection(address, timeout=SECONDS) as plain:
        if script.listener == "implicit":
            plain = _secure(plain)
        Player(plain, receipts).play(script)


def _secure(plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain)


class Player:
    """One connection, read by lines."""

    def __init__(self, connection: socket.socket, receipts: bool = True) -> None:
        self._connection = connection
        self._receipts = receipts
        self._buffer = b""
        self._gathered = b""

    def play(self, script: Script) -> None:
        for step in script.steps:
            try:
                self._take(step)
            except TimeoutError as error:
                raise Mismatch(f"{script.name}.dlg:{step.number}: no answer to expect {step.text!r}") from error
            except Mismatch as error:
                raise Mismatch(f"{script.name}.dlg:{step.number}: {error}") from None

    def _take(self, step: Step) -> None:
        match step.verb:
            case "C":
                self._send((octets(step.text) + b"\r\n") * step.times)
            case "C-":
                self._send(octets(step.text) * step.times)
            case "C+":
                self._gathered += octets(step.text) + b"\r\n"
            case "S":
                for _ in range(step.times):
                    self._expect(step.text)
            case "S...":
                while self._line()[3:4] == "-":
                    pass
            case "TLS":
                self._connection = _secure(self._connection)
                self._buffer = b""
            case "EOF":
                self._connection.shutdown(socket.SHUT_WR)
            case "CLOSE":
                self._closed()

    def _send(self, data: bytes) -> None:
        data, self._gathered = self._gathered + data, b""
        try:
            self._connection.sendall(data)
        except ConnectionError as error:
            raise Mismatch(f"the server hung up: {error}") from error

    def _line(self) -> str:
        while b"\r\n" not in self._buffer:
            try:
                data = self._connection.recv(65536)
            except ConnectionError as error:
                raise Mismatch(f"the server hung up: {error}") from error
            if not data:
                raise Mismatch(f"the server hung up; last: {self._buffer!r}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode("utf-8", "backslashreplace")

    def _expect(self, pattern: str) -> None:
        line = self._line()
        if not self._receipts and RECEIPT.fullmatch(pattern):
            pattern = "250 2.0.0 *"
        if not fnmatch.fnmatchcase(line, pattern.replace("[", "[[]")):
            raise Mismatch(f"expected {pattern!r}, got {line!r}")

    def _closed(self) -> None:
        rest = self._buffer
        try:
            while data := self._connection.recv(65536):
                rest += data
        except (ConnectionError, ssl.SSLError):
            pass
        if rest:
            raise Mismatch(f"expected the end, got {rest!r}")


def octets(text: str) -> bytes:
    """The text as sent: UTF-8, with the escapes of Python."""
    return (
        text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")
        if ("\\" in text)
        else text.encode("utf-8")
    )
