"""The daemon finds its next hop as resolv.conf says: it runs in a mount namespace of its own, with another one."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.stage import Stage
from tests.e2e.test_interop import MARTIN, arrived, good_mail
from tests.support.dns_server import Names

NAMES = "127.0.0.77"
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")


class Elsewhere(Stage):
    """A stage whose commands see `resolv.conf` of its folder as /etc/resolv.conf."""

    def command_line(self, *words: str) -> list[str]:
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ["unshare", "-m", "sh", "-c", mount, str(self.folder / "resolv.conf"), *super().command_line(*words)]


async def test_the_exchangers_of_a_domain_take_the_message(receiver: Receiver, tmp_path: Path) -> None:
    zone = {
        "hop.example MX": ["10 down.hop.example.", "20 up.hop.example."],
        "down.hop.example A": ["127.0.0.9"],
        "up.hop.example A": ["127.0.0.1"],
    }
    async with Names(zone, (NAMES, 53)) as names:
        stage = Elsewhere(tmp_path, receiver.port)
        stage.prepare()
        (tmp_path / "resolv.conf").write_text(f"nameserver {NAMES}\n")
        path = stage.config / "relay.yaml"
        text = path.read_text(encoding="utf-8").replace("host: 127.0.0.1", "host: hop.example, mx: true")
        path.write_text(text, encoding="utf-8")
        try:
            assert await stage.start(), stage.log.read_text(encoding="utf-8")
            assert (await asyncio.to_thread(stage.submit, MARTIN, good_mail("MX-1"))).code == 250
            await arrived(receiver)
            assert names.asked[0] == "hop.example MX"
            assert {"down.hop.example A", "up.hop.example A"} <= set(names.asked)
        finally:
            assert await stage.stop() == 0
    assert "Traceback" not in stage.log.read_text(encoding="utf-8")
