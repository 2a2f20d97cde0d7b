"""The dialogues against the whole relay: the real daemon in its own process, with intake, spool and workers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.demo.scenes import FIRM_YAML
from relay.demo.stage import Stage, free_port
from tests.dialogs.script import Script, play, read
from tests.support.smtp_server import six_listeners

HERE = Path(__file__).parent
SCRIPTS = [read(path) for path in sorted(HERE.glob("**/*.dlg"))]
ACCEPT = "  max_mail_size: 100000 B\n  max_recipients: 5\n"

OTHERWISE = {
    "an-internal-error-at-rcpt-is-451-and-in-step": "the recording intake fails on purpose",
    "an-empty-message-ends-at-once": "the intake has no use for a mail without a header: 554 5.6.0",
    "an-internal-error-is-451-and-reveals-nothing": "the recording intake fails on purpose",
    "a-451-of-the-intake-is-passed-on": "the recording intake is busy on purpose",
}
"""Scripts that need the recording intake of tests.support.smtp_server."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def addresses(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, tuple[str, int]]]:
    folder = tmp_path_factory.mktemp("daemon")
    firm = FIRM_YAML.replace("martin@export.relay.example", "c@export.example")
    firm = firm.replace("@export.relay.example", "@export.example")
    stage = Stage(folder, free_port(), firms={"cabinet-demo": firm})
    stage.prepare()
    found = six_listeners(stage, folder, {"jefacture": "correct horse"}, ACCEPT)
    path = stage.config / "relay.yaml"
    text = path.read_text(encoding="utf-8")
    text = text.replace("relay.demo.example", "mx.example").replace("export.relay.example", "export.example")
    path.write_text(text, encoding="utf-8")
    try:
        assert await stage.start(), stage.log.read_text(encoding="utf-8")
        yield found
    finally:
        code = await stage.stop()
    log = stage.log.read_text(encoding="utf-8")
    assert code == 0 and "Traceback" not in log and '"event": "internal_error"' not in log


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
async def test_dialog(script: Script, addresses: dict[str, tuple[str, int]]) -> None:
    if script.name in OTHERWISE:
        pytest.skip(OTHERWISE[script.name])
    await asyncio.to_thread(play, script, addresses[script.listener], receipts=False)
