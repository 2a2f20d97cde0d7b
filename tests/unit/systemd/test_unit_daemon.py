"""The real daemon under its unit's system call rules, a test socket in the place of systemd: what systemd hears."""

import asyncio
import ctypes.util
import json
import os
import shutil
import signal
import smtplib
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from relay.demo.scenes import FIRM_YAML
from relay.demo.stage import Stage, free_port

ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.skipif(
        shutil.which("systemd-analyze") is None, reason="systemd-analyze expands the sets of the filter"
    ),
    pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="libseccomp is not installed"),
]


class Manager:
    """Starts the daemon as systemd would and reads its notifications."""

    def __init__(self, folder):
        self.stage = Stage(folder, receiver=free_port())
        self.stage.prepare()
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(str(folder / "notify"))
        self.channel.setblocking(False)
        self.environ = os.environ | {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "2000000"}

    async def __aenter__(self):
        self.log = self.stage.log.open("wb")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.systemd_sandbox",
            *self.stage.command_line("run"),
            cwd=ROOT, env=self.environ, stderr=self.log,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self.log.close()
        self.channel.close()

    async def hear(self, *wanted):
        """The next message that holds one of `wanted`; fails when the daemon ends before it."""
        loop = asyncio.get_running_loop()
        ended = asyncio.create_task(self.process.wait())
        try:
            while True:
                message = asyncio.create_task(loop.sock_recv(self.channel, 4096))
                done, _ = await asyncio.wait({message, ended}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
                if message not in done:
                    message.cancel()
                    raise AssertionError(f"{wanted} not heard; the log:\n{self.stage.log.read_text()}")
                fields = dict(line.split("=", 1) for line in message.result().decode().split("\n"))
                if any(each in fields for each in wanted):
                    return fields
        finally:
            ended.cancel()

    def page(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.stage.http}{path}", timeout=30) as answer:
            return answer.read().decode()

    def events(self):
        return [json.loads(line)["event"] for line in self.stage.log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture
async def manager(tmp_path):
    async with Manager(tmp_path) as manager:
        yield manager


async def test_start_watchdog_reload_bad_reload_and_stop(manager):
    ready = await manager.hear("READY")
    assert ready["READY"] == "1" and f"127.0.0.1:{manager.stage.smtp}" in ready["STATUS"]
    await manager.hear("WATCHDOG")

    page = await asyncio.to_thread(manager.page, "/metrics")
    for line in (
        "self_test_success 1.0",
        "config_last_reload_success 1.0",
        "spool_writable 1.0",
        "internal_errors_total 0.0",
    ):
        assert f"agiris_relay_{line}\n" in page
    assert "process_resident_memory_bytes" in page
    assert json.loads(await asyncio.to_thread(manager.page, "/readyz"))["ready"] is True
    assert await asyncio.to_thread(manager.page, "/healthz") == "ok\n"

    manager.process.send_signal(signal.SIGHUP)
    assert (await manager.hear("RELOADING"))["MONOTONIC_USEC"].isdecimal()
    await manager.hear("READY")

    firm = next((manager.stage.config / "firms").iterdir())
    firm.write_text("clients: {\n")
    manager.process.send_signal(signal.SIGHUP)
    await manager.hear("RELOADING")
    assert "fault" in (await manager.hear("READY"))["STATUS"]
    assert "agiris_relay_config_last_reload_success 0.0\n" in await asyncio.to_thread(manager.page, "/metrics")
    firm.write_text(FIRM_YAML)

    manager.process.send_signal(signal.SIGTERM)
    await manager.hear("STOPPING")
    assert await asyncio.wait_for(manager.process.wait(), 60) == 0
    events = manager.events()
    assert events[-1] == "stopped" and {"started", "reloaded", "reload_failed", "stopping"} <= set(events)
    assert "internal_error" not in events


async def test_the_smtp_server_answers_under_the_rules(manager):
    await manager.hear("READY")

    def dialog():
        with smtplib.SMTP("127.0.0.1", manager.stage.smtp, timeout=30) as client:
            return client.ehlo()[0], client.mail("a@platform.example")[0], client.rcpt("b@elsewhere.example")[0]

    assert await asyncio.to_thread(dialog) == (250, 250, 550)


async def test_a_faulty_configuration_ends_with_78_which_the_unit_does_not_start_again(tmp_path):
    manager = Manager(tmp_path)
    (manager.stage.config / "relay.yaml").write_text("hostname: [\n")
    async with manager:
        assert await asyncio.wait_for(manager.process.wait(), 60) == 78
    assert "relay.yaml:" in manager.stage.log.read_text()


async def test_the_whole_demo_is_right_under_the_rules():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.systemd_sandbox", sys.executable, "-m", "relay.cli", "demo",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, output.decode()
