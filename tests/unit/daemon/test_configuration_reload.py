"""A reload is atomic: all files of the configuration are read and sound, or none of them comes into force."""

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay.daemon.configuration import Configuration
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.routing.directory import Directory
from relay.smtpd import SmtpServer
from tests.support.certificates import make_pair
from tests.support.memory_spool import MemorySpool
from tests.support.whole_config import FILES, FIRM, SPOILED, write_whole


async def nothing(directory: Directory) -> None:
    """Sent to no worker."""


class Daemon:
    """The parts of a daemon that a reload touches; nothing listens."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.metrics = folder, Metrics()
        self.configuration = Configuration(folder, Observer(self.metrics).observe, self.metrics.internal_error)
        self.pool: Any = SimpleNamespace(configure=lambda size, timeout: None, load=nothing, use=lambda directory: None)

    async def start(self) -> "Daemon":
        settings = await self.configuration.first()
        none: Any = None
        self.door = SmtpServer(settings.listen, lambda: settings.accept, none, "relay.test.example", none)
        self.door.reload()
        return self

    async def reload(self) -> bool:
        return await self.configuration.reload(MemorySpool(), self.pool, self.door)

    def in_force(self) -> list[object]:
        """What a session or a delivery would get now."""
        configuration, posts = self.configuration, self.door._listeners
        listeners = [value for post in posts for value in (post.context, dict(post.users))]
        address = configuration.settings.terms.clients["a/1"].addresses
        return [configuration.settings, configuration.in_force.directory, address, *listeners]

    def succeeded(self) -> bool:
        return b"agiris_relay_config_last_reload_success 1.0" in self.metrics.exposition()[0]


@pytest.fixture
async def daemon(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Daemon:
    caplog.set_level(logging.INFO)
    return await Daemon(write_whole(tmp_path / "config")).start()


def move_the_client(folder: Path) -> None:
    (folder / "firms" / "a.yaml").write_text(FIRM.replace("a1@agiris.example", "moved@agiris.example"))


async def test_a_sound_reload_puts_everything_in_force(daemon: Daemon) -> None:
    before = daemon.in_force()
    move_the_client(daemon.folder)
    make_pair(daemon.folder / "tls1")
    assert await daemon.reload()
    after = daemon.in_force()
    assert daemon.configuration.settings.terms.clients["a/1"].addresses.sales == "moved@agiris.example"
    assert after[0] is not before[0]
    assert after[3] is not before[3]
    assert daemon.succeeded()


@pytest.mark.parametrize("condition", [each for each in SPOILED if each != "unreadable"])
@pytest.mark.parametrize("kind", FILES)
async def test_a_spoiled_file_at_reload_changes_nothing(daemon: Daemon, kind: str, condition: str) -> None:
    before = daemon.in_force()
    move_the_client(daemon.folder)
    make_pair(daemon.folder / "tls1")  # of the first listener, and sound: it must not come into force alone
    SPOILED[condition](daemon.folder / FILES[kind])
    assert not await daemon.reload()
    assert daemon.in_force() == before
    assert not daemon.succeeded()
    assert daemon.configuration.config_error is not None


@pytest.mark.parametrize("condition", ["missing", "garbage", "a directory", "a pipe", "empty"])
@pytest.mark.parametrize("kind", ["users file", "certificate", "private key"])
async def test_what_only_the_listener_sees_changes_nothing_either(daemon: Daemon, kind: str, condition: str) -> None:
    """The file is replaced after the check of the YAML: here relay.yaml does not name it any more."""
    text = (daemon.folder / "relay.yaml").read_text()
    second = text.index("  - {address: 127.0.0.1:12526")
    (daemon.folder / "relay.yaml").write_text(text[:second] + text[text.index("smarthosts:") :])
    before = daemon.in_force()
    move_the_client(daemon.folder)
    make_pair(daemon.folder / "tls1")
    SPOILED[condition](daemon.folder / FILES[kind])
    assert not await daemon.reload()
    assert daemon.in_force() == before
    assert not daemon.succeeded()


async def test_after_the_file_is_sound_again_the_reload_is_whole(daemon: Daemon) -> None:
    users = daemon.folder / "users"
    sound = users.read_bytes()
    users.write_bytes(b"jefacture:plain\n")
    move_the_client(daemon.folder)
    assert not await daemon.reload()
    users.write_bytes(sound)
    assert await daemon.reload()
    assert daemon.configuration.settings.terms.clients["a/1"].addresses.sales == "moved@agiris.example"
    assert daemon.configuration.config_error is None


async def test_two_reloads_at_once_come_one_after_the_other(daemon: Daemon) -> None:
    move_the_client(daemon.folder)
    assert await asyncio.gather(daemon.reload(), daemon.reload()) == [True, True]
