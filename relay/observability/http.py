"""A small HTTP/1.1 server for what watches us: /metrics, /healthz, /readyz. GET and HEAD only, everything bounded.

RFC 9112. No framework: three pages, none of which takes input."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from relay.observability.events import InternalError, Observe
from relay.observability.metrics import Metrics

HEAD_LIMIT = 8 * 1024  # octets of request line and headers
REQUEST_TIMEOUT = 5.0  # seconds for a request to arrive, and for an answer to be taken
IDLE_TIMEOUT = 75.0  # seconds between two requests of a connection; longer than the usual scrape interval
CONNECTIONS = 32
REFRESH_TIMEOUT = 3.0  # seconds; then the figures of before are shown

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: str = _TEXT


class Http:
    """The pages of one daemon.

    address: "host:port" ("[::1]:9525", port 0 for any). healthy: reasons why no progress is made, empty when all is
    well. ready: name of each check -> "ok" or why not. refresh: brings figures up to date before each /metrics.
    """

    def __init__(
        self,
        address: str,
        metrics: Metrics,
        healthy: Callable[[], list[str]],
        ready: Callable[[], dict[str, str]],
        observe: Observe,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._wanted, self._observe = address, observe
        self._metrics, self._healthy, self._ready, self._refresh = metrics, healthy, ready, refresh
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken, ValueError when it is none."""
        host, _, port = self._wanted.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"{self._wanted!r} is not host:port")
        self._server = await asyncio.start_server(self._connected, host.strip("[]"), int(port), limit=HEAD_LIMIT)

    @property
    def address(self) -> str:
        """Where it listens, with the port the system chose; what was asked for before `start`."""
        if self._server is None or not self._server.sockets:
            return self._wanted
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the peer is gone or slow, or we stop: nothing is owed
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        timeout = REQUEST_TIMEOUT
        while True:
            request = await _read(reader, timeout)
            if request is None:
                return
            answer = request if isinstance(request, _Answer) else await self._answer(request)
            keep_alive = isinstance(request, _Request) and request.keep_alive
            writer.write(_rendered(answer, keep_alive, head=isinstance(request, _Request) and request.method == "HEAD"))
            async with asyncio.timeout(REQUEST_TIMEOUT):  # not wait_for: until Python 3.12 it may swallow `close`
                await writer.drain()
            if not keep_alive:
                return
            timeout = IDLE_TIMEOUT

    async def _answer(self, request: _Request) -> _Answer:
        pages = {"/metrics": self._metrics_page, "/healthz": self._health_page, "/readyz": self._ready_page}
        page = pages.get(request.path)
        if page is None:
            return _Answer(404, b"try /metrics, /healthz or /readyz\n")
        if request.method not in ("GET", "HEAD"):
            return _Answer(405, b"only GET and HEAD\n")
        try:
            return await page(request)
        except Exception as error:
            self._observe(InternalError(request.path, error))
            return _Answer(503, b"a fault of the relay: see its log\n")

    async def _metrics_page(self, request: _Request) -> _Answer:
        if self._refresh is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_TIMEOUT):
                    await self._refresh()
        body, content_type = self._metrics.exposition(request.headers.get("accept", ""))
        return _Answer(200, body, content_type)

    async def _health_page(self, _request: _Request) -> _Answer:
        reasons = self._healthy()
        return _Answer(503, "".join(f"{reason}\n" for reason in reasons).encode()) if reasons else _Answer(200, b"ok\n")

    async def _ready_page(self, _request: _Request) -> _Answer:
        checks = self._ready()
        ready = all(text == "ok" for text in checks.values())
        body = json.dumps({"ready": ready, "checks": checks}, ensure_ascii=False).encode() + b"\n"
        return _Answer(200 if ready else 503, body, "application/json")


async def _read(reader: asyncio.StreamReader, timeout: float) -> _Request | _Answer | None:
    """The next request, the answer to what is none, or None when the peer has hung up or stays silent."""
    try:
        # Leading CRLF of a clumsy client are not skipped: RFC 9112 §2.2 only asks it of tolerant servers.
        async with asyncio.timeout(timeout):
            head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        return _Answer(431, b"the request is too long\n")
    except TimeoutError:
        return _Answer(408, b"no request came\n") if timeout == REQUEST_TIMEOUT else None
    return _parsed(head.decode("latin-1"))


def _parsed(head: str) -> _Request | _Answer:
    line, _, rest = head[:-4].partition("\r\n")
    words = line.split(" ")
    if len(words) != 3 or not words[1].startswith("/"):
        return _Answer(400, b"not an HTTP request\n")
    method, target, version = words
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        return _Answer(505, b"HTTP/1.1 only\n")
    headers: dict[str, str] = {}
    for field in rest.split("\r\n") if rest else ():
        name, colon, value = field.partition(":")
        if not colon or not name or name != name.strip():
            return _Answer(400, b"not an HTTP header\n")
        headers[name.lower()] = value.strip()
    # A body is not read, so the connection cannot be used again: its octets would pass for a request.
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    wishes_to_close = headers.get("connection", "").lower() == "close"
    keep_alive = version == "HTTP/1.1" and not has_body and not wishes_to_close
    return _Request(method, target.partition("?")[0], headers, keep_alive)


def _rendered(answer: _Answer, keep_alive: bool, *, head: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(["Allow: GET, HEAD"] if answer.status == 405 else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if head else answer.body)
