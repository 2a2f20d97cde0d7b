"""/metrics, /healthz, /readyz over real sockets: right, bounded, and never in the way."""

import asyncio
import json

import pytest

from relay.observability import http
from relay.observability.http import Http
from relay.observability.log import capture
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer

observe = Observer(Metrics()).observe


class Pages:
    def __init__(self):
        self.reasons, self.checks, self.metrics = [], {"spool": "ok"}, Metrics()
        self.server = None

    async def start(self, refresh=None):
        self.server = Http("127.0.0.1:0", self.metrics, lambda: self.reasons, lambda: self.checks, observe, refresh)
        await self.server.start()
        return self.server

    async def ask(self, text, *, last=True):
        """Octets answered to `text` until the server closes."""
        host, port = self.server.address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(text.encode("latin-1") if isinstance(text, str) else text)
        if last:
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer

    async def get(self, path, method="GET", headers=""):
        answer = await self.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode(), body


@pytest.fixture
async def pages():
    pages = Pages()
    await pages.start()
    yield pages
    await pages.server.close()


async def test_metrics_in_text_form(pages):
    status, head, body = await pages.get("/metrics")
    assert status == 200 and "text/plain" in head
    assert b"agiris_relay_build_info{" in body and f"Content-Length: {len(body)}" in head


async def test_metrics_in_openmetrics_form(pages):
    status, head, body = await pages.get("/metrics", headers="Accept: application/openmetrics-text; version=1.0.0\r\n")
    assert status == 200 and "application/openmetrics-text" in head and body.endswith(b"# EOF\n")


async def test_figures_are_refreshed_before_each_scrape():
    pages = Pages()

    async def refresh():
        pages.metrics.spool({}, {}, None, 4711, None)

    await pages.start(refresh)
    try:
        assert b"agiris_relay_spool_bytes 4711.0" in (await pages.get("/metrics"))[2]
    finally:
        await pages.server.close()


async def test_a_refresh_that_hangs_does_not_cost_the_page(monkeypatch):
    monkeypatch.setattr(http, "REFRESH_TIMEOUT", 0.01)
    pages = Pages()
    await pages.start(lambda: asyncio.Event().wait())
    try:
        assert (await pages.get("/metrics"))[0] == 200
    finally:
        await pages.server.close()


async def test_healthz_tells_the_reason(pages):
    assert (await pages.get("/healthz"))[::2] == (200, b"ok\n")
    pages.reasons = ["queue manager: no progress for 61 s"]
    assert (await pages.get("/healthz"))[::2] == (503, b"queue manager: no progress for 61 s\n")


async def test_readyz_names_each_check(pages):
    status, head, body = await pages.get("/readyz")
    assert status == 200 and "application/json" in head
    assert json.loads(body) == {"ready": True, "checks": {"spool": "ok"}}
    pages.checks = {"spool": "no space", "workers": "ok"}
    status, _, body = await pages.get("/readyz")
    assert status == 503 and json.loads(body)["ready"] is False


async def test_head_has_the_length_and_no_body(pages):
    status, head, body = await pages.get("/healthz", method="HEAD")
    assert (status, body) == (200, b"") and "Content-Length: 3" in head


async def test_a_query_is_no_part_of_the_path(pages):
    assert (await pages.get("/healthz?verbose=1"))[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /etc/passwd HTTP/1.1\r\n\r\n", 404),
        ("GET /../healthz HTTP/1.1\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("DELETE /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 405),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz HTTP/2.0\r\n\r\n", 505),
        ("EHLO relay.example\r\n\r\n", 400),
        ("GET  /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET http://x/healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nnonsense\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nX: " + "a" * http.HEAD_LIMIT + "\r\n\r\n", 431),
        ("GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
        (b"\xff\xfe /\x00 HTTP/1.1\r\n\r\n", 404),
    ],
)
async def test_one_answer_to(pages, request_, status):
    answer = await pages.ask(request_)
    assert int(answer.split()[1]) == status
    assert answer.count(b"Content-Length") == 1
    if status == 405:
        assert b"Allow: GET, HEAD" in answer


async def test_a_connection_is_kept_for_the_next_request(pages):
    first = "GET /healthz HTTP/1.1\r\n\r\n"
    answer = await pages.ask(first + first + first.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_a_silent_peer_is_answered_408_and_closed(pages, monkeypatch):
    monkeypatch.setattr(http, "REQUEST_TIMEOUT", 0.05)
    assert (await pages.ask("GET /heal", last=False)).startswith(b"HTTP/1.1 408")


async def test_more_connections_than_the_limit_are_closed(pages, monkeypatch):
    monkeypatch.setattr(http, "CONNECTIONS", 1)
    host, port = pages.server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"ok\n")
    assert await pages.ask("") == b""
    writer.close()


async def test_a_bug_in_a_check_is_503_and_says_nothing_to_the_peer(pages):
    def broken():
        raise RuntimeError("SECRET")

    pages.server._healthy = broken
    with capture() as records:
        status, _, body = await pages.get("/healthz")
    assert status == 503 and b"SECRET" not in body
    assert [(each["event"], each["error"]) for each in records] == [("internal_error", "RuntimeError")]


async def test_close_hangs_up_on_who_is_still_there(pages):
    host, port = pages.server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"ok\n")
    await asyncio.wait_for(pages.server.close(), 10)
    assert await reader.read() == b""
    writer.close()


async def test_ipv6_and_a_taken_address():
    pages = Pages()
    server = Http("[::1]:0", pages.metrics, list, dict, observe)
    try:
        await server.start()
    except OSError:
        pytest.skip("no ::1 here")
    assert server.address.startswith("[::1]:")
    with pytest.raises(OSError):
        await Http(server.address, pages.metrics, list, dict, observe).start()
    await server.close()


@pytest.mark.parametrize("address", ["", "9525", "localhost:", "localhost:http"])
async def test_what_is_no_address_is_said(address):
    with pytest.raises(ValueError, match="not host:port"):
        await Http(address, Metrics(), list, dict, observe).start()


@pytest.mark.parametrize("turns", range(6))
async def test_close_hangs_up_in_the_very_turn_in_which_an_answer_is_ready(turns):
    """A scrape comes again and again on its connection: a close that one of them swallows never ends."""
    asked, release = asyncio.Event(), asyncio.Event()

    async def refresh():
        asked.set()
        await release.wait()

    pages = Pages()
    await pages.start(refresh)
    host, port = pages.server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    await asked.wait()
    release.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(pages.server.close(), 10)
    await reader.read()
    writer.close()
