"""Broken situations: what systemd, the log, the metrics and the exit code say is one and the same story."""

import asyncio
import json
import os
import signal
import smtplib
import socket
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from relay.demo.receiver import Receiver
from relay.demo.sample_pdf import facturx_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import BAKERY, FIRM_YAML, SUPPLIER, Attached, Scene
from relay.demo.stage import Stage

MARTIN = "martin@export.relay.example"
Stages = Callable[..., Stage]


def submission(number: str) -> bytes:
    pdf = facturx_pdf(invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=BAKERY), text=number)
    return Scene("", MARTIN, (Attached("x.pdf", pdf),), None).mail()


class Manager:
    """Stands for systemd: hears what the daemons say by sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.said: list[str] = []

    async def hears(self, words: str, seconds: float = 60) -> None:
        """Wait until a message holds `words`. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            while not any(words in each for each in self.said):
                self.said.append((await loop.sock_recv(self._socket, 4096)).decode())

    def everything(self) -> str:
        while True:
            try:
                self.said.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return "\n".join(self.said)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
async def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Manager]:
    made = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def edit(stage: Stage, old: str, new: str) -> None:
    path = stage.config / "relay.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def metric(stage: Stage, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{stage.http}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def ready(stage: Stage) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{stage.http}/readyz", timeout=10) as page:
            return page.status, json.load(page)["checks"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["checks"]


def log(stage: Stage) -> str:
    return stage.log.read_text(encoding="utf-8")


def answer(stage: Stage, number: str) -> tuple[int, str]:
    """Code and enhanced code of the first refusal, else of the final dot: a full spool may be told of at MAIL."""
    with smtplib.SMTP("127.0.0.1", stage.smtp, timeout=30) as client:
        client.ehlo("plateforme.jefacture.example")
        code, text = client.mail("noreply@jefacture.example")
        if code == 250:
            code, text = client.rcpt(MARTIN)
        if code == 250:
            code, text = client.data(submission(number))
    return code, text.decode().split()[0]


def records(stage: Stage, event: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in log(stage).splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == event]


# What cannot start: (what is broken, exit code, what must be said).


def no_certificate(stage: Stage) -> None:
    edit(stage, "listen:\n", "listen:\n  # TLS for the platform\n")
    edit(stage, f'"127.0.0.1:{stage.smtp}"\n', f'"127.0.0.1:{stage.smtp}"\n    tls: required\n')


def missing_certificate(stage: Stage) -> None:
    tls = "    tls: required\n    certificate: tls/chain.pem\n    private_key: tls/key.pem\n"
    edit(stage, f'"127.0.0.1:{stage.smtp}"\n', f'"127.0.0.1:{stage.smtp}"\n{tls}')


def garbage_certificate(stage: Stage) -> None:
    (stage.config / "chain.pem").write_text("this is no certificate")
    (stage.config / "key.pem").write_text("nor is this a key")
    (stage.config / "key.pem").chmod(0o600)
    tls = "    tls: required\n    certificate: chain.pem\n    private_key: key.pem\n"
    edit(stage, f'"127.0.0.1:{stage.smtp}"\n', f'"127.0.0.1:{stage.smtp}"\n{tls}')


def missing_secret(stage: Stage) -> None:
    edit(stage, "tls: none}", "tls: required, username: relay, password_file: password}")


def unreadable_secret(stage: Stage) -> None:
    (stage.config / "password").mkdir()
    missing_secret(stage)


def secret_for_all(stage: Stage) -> None:
    (stage.config / "password").write_text("hunter2")
    (stage.config / "password").chmod(0o644)
    missing_secret(stage)


def no_firm(stage: Stage) -> None:
    (stage.config / "firms" / "cabinet-demo.yaml").unlink()


def no_configuration(stage: Stage) -> None:
    (stage.config / "relay.yaml").unlink()


def spool_of_tomorrow(stage: Stage) -> None:
    with closing(sqlite3.connect(stage.folder / "spool.db")) as db:
        db.execute("PRAGMA user_version = 99")


def spool_in_a_file(stage: Stage) -> None:
    (stage.folder / "not-a-folder").write_text("")
    edit(stage, "/spool.db", "/not-a-folder/spool.db")


CANNOT_START = [
    (no_certificate, 78, ["relay.yaml:", ": error: ", "certificate", "Fix: "]),
    (missing_certificate, 78, ["relay.yaml:", "tls/chain.pem", "No such file", "Fix: "]),
    (garbage_certificate, 78, ["relay.yaml:", "chain.pem", "no certificate", "Fix: "]),
    (missing_secret, 78, ["relay.yaml:", "password", "No such file", "Fix: "]),
    (unreadable_secret, 78, ["relay.yaml:", "password", "Fix: "]),
    (secret_for_all, 78, ["relay.yaml:", "password", "Fix: chmod"]),
    (no_firm, 78, ["firms", "Fix: "]),
    (no_configuration, 78, ["relay.yaml", "Fix: "]),
    (spool_of_tomorrow, 78, ["spool.db", "schema 99", "newer agiris-relay"]),
    (spool_in_a_file, 75, ["not-a-folder", "cannot be made", "Fix: move away the file"]),
]


@pytest.mark.parametrize(("broken", "code", "words"), CANNOT_START, ids=lambda each: getattr(each, "__name__", None))
async def test_what_cannot_start_says_why_and_is_never_ready(
    stages: Stages, receiver: Receiver, manager: Manager, broken: Callable[[Stage], None], code: int, words: list[str]
) -> None:
    stage = stages(receiver.port)
    stage.expected_exits = (code,)
    broken(stage)
    assert not await stage.start()
    assert await stage.stop() == code
    for word in words:
        assert word in log(stage)
    assert "hunter2" not in log(stage)
    assert "READY=1" not in manager.everything()


@pytest.mark.parametrize("door", ["smtp", "http"])
async def test_a_port_in_use_is_named(stages: Stages, receiver: Receiver, manager: Manager, door: str) -> None:
    stage = stages(receiver.port)
    stage.expected_exits = (75,)
    with socket.create_server(("127.0.0.1", getattr(stage, door))):
        assert not await stage.start()
    assert await stage.stop() == 75
    address = f"127.0.0.1:{getattr(stage, door)}"
    key = {"smtp": "listen", "http": "http"}[door]
    (line,) = (each for each in log(stage).splitlines() if "cannot listen" in each)
    assert line.startswith(
        f"cannot listen on {address}: Address already in use. Fix: stop what holds the port (ss -ltnp"
    )
    assert line.endswith(f"or change {key} in relay.yaml")
    other = {"smtp": stage.http, "http": stage.smtp}[door]
    assert str(other) not in line
    said = manager.everything()
    assert f"STATUS={line}" in said and "READY=1" not in said


async def test_a_disk_full_at_start(stages: Stages, receiver: Receiver, small_disk: Path, manager: Manager) -> None:
    stage = stages(receiver.port)
    stage.expected_exits = (75,)
    edit(stage, f"{stage.folder.resolve()}/spool.db", f"{small_disk}/spool.db")
    fill(small_disk / "neighbour", 0)
    assert not await stage.start()
    assert await stage.stop() == 75
    assert str(small_disk) in log(stage)
    assert "No space left on device. Fix: free room on that file system" in log(stage)
    assert "READY=1" not in manager.everything()


async def test_a_disk_that_fills_up_puts_messages_off_and_takes_them_again(
    stages: Stages, receiver: Receiver, small_disk: Path, manager: Manager
) -> None:
    stage = stages(receiver.port)
    edit(stage, f"{stage.folder.resolve()}/spool.db", f"{small_disk}/spool.db")
    assert await stage.start(), log(stage)
    await manager.hears("READY=1")
    assert (await asyncio.to_thread(stage.submit, MARTIN, submission("B-1"))).code == 250
    assert await receiver.wait(1, 30)
    fill(small_disk / "neighbour", 4)
    assert await asyncio.to_thread(answer, stage, "B-2") == (452, "4.3.1")
    assert await asyncio.to_thread(metric, stage, "agiris_relay_spool_writable") == 0
    code, checks = await asyncio.to_thread(ready, stage)
    assert code == 503
    assert "octets are free" in checks["spool"]
    await stage.logged("spool_full")
    (small_disk / "neighbour").unlink()
    while (await asyncio.to_thread(answer, stage, "B-3"))[0] != 250:
        await asyncio.sleep(0.5)  # "a moment ago" is over by itself
    assert await receiver.wait(2, 30)
    assert await asyncio.to_thread(metric, stage, "agiris_relay_spool_writable") == 1
    assert await stage.stop() == 0


def fill(path: Path, left: int) -> None:
    """Take all room but `left` MiB."""
    found = os.statvfs(path.parent)
    size = found.f_bavail * found.f_frsize - left * 1024 * 1024
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


@pytest.mark.parametrize("damage", ["garbage", "folder"])
async def test_a_corrupt_spool_is_kept_reported_and_served_around(
    stages: Stages, receiver: Receiver, manager: Manager, damage: str
) -> None:
    stage = stages(receiver.port)
    path = stage.folder / "spool.db"
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"this was a spool " * 4096)
    assert await stage.start(), log(stage)
    await manager.hears("READY=1")
    (record,) = records(stage, "message_corrupt")
    assert record["level"] == "error"
    assert "is kept in" in record["text"]
    assert await asyncio.to_thread(metric, stage, "agiris_relay_spool_corrupt_messages") == 1
    assert len(list((stage.folder / "corrupt").iterdir())) == 1
    assert (await asyncio.to_thread(stage.submit, MARTIN, submission("C-1"))).code == 250
    assert await receiver.wait(1, 30)
    assert await stage.stop() == 0


async def test_a_broken_reload_under_load_disturbs_no_message(
    stages: Stages, receiver: Receiver, manager: Manager
) -> None:
    # The default of 60 messages a minute would make the messages after them wait for the next one.
    stage = stages(receiver.port, more="destinations: {agiris: {max_mails_per_minute: 100000}}\n")
    assert await stage.start(), log(stage)
    stop = asyncio.Event()
    codes: list[int] = []

    async def load(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            reply = await asyncio.to_thread(stage.submit, MARTIN, submission(f"L-{name}-{number}"))
            codes.append(reply.code)

    loading = [asyncio.create_task(load(name)) for name in "ab"]
    path = stage.config / "firms" / "cabinet-demo.yaml"
    path.write_text(FIRM_YAML.replace("connection: silent", "connection: silnet"))
    stage.send_signal(signal.SIGHUP)
    await stage.logged("reload_failed")
    assert await asyncio.to_thread(metric, stage, "agiris_relay_config_last_reload_success") == 0
    faults = [record for record in records(stage, "reload_failed") if "fault" in record]
    assert "cabinet-demo.yaml:" in faults[0]["fault"] and "Fix: " in faults[0]["fault"]
    path.write_text(FIRM_YAML)
    stage.send_signal(signal.SIGHUP)
    await stage.logged("reloaded")
    assert await asyncio.to_thread(metric, stage, "agiris_relay_config_last_reload_success") == 1
    stop.set()
    await asyncio.gather(*loading)
    assert set(codes) == {250}
    assert await receiver.wait(len(codes), 60)
    assert len(receiver.arrivals) == len(codes)


async def test_a_broken_reload_is_reported_to_systemd(stages: Stages, receiver: Receiver, manager: Manager) -> None:
    stage = stages(receiver.port)
    assert await stage.start(), log(stage)
    await manager.hears("STATUS=listening on ")
    (stage.config / "relay.yaml").write_text("hostname: [\n")
    stage.send_signal(signal.SIGHUP)
    await manager.hears("RELOADING=1")
    await manager.hears("STATUS=running with the old configuration: the new one has faults")
    assert await stage.stop() == 0
    assert "STOPPING=1" in manager.everything()


async def test_a_next_hop_that_is_down_is_reported_everywhere(stages: Stages, manager: Manager) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but nobody listens: the connection is refused
        stage = stages(nobody.getsockname()[1])
        assert await stage.start(), log(stage)
        assert (await asyncio.to_thread(stage.submit, MARTIN, submission("N-1"))).code == 250
        await stage.logged("deferred")
        assert await asyncio.to_thread(metric, stage, 'agiris_relay_deliveries{state="deferred"}') == 1
        (row,) = await stage.command("queue", "list", "--state", "deferred")
        assert "451 4.4.1" in row["last_reply"] and "no connection to the next hop" in row["last_reply"]
        assert await stage.stop() == 0
