"""Every dialogue of this folder, against the SMTP server in its own process. `run.py` plays them with other servers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.smtpd import make_user_line
from tests.dialogs.run import answer, run
from tests.dialogs.script import LISTENERS, Script, play, read
from tests.support.smtp_server import self_signed

HERE = Path(__file__).parent
SCRIPTS = [read(path) for path in sorted(HERE.glob("**/*.dlg"))]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, int]]]:
    folder = tmp_path_factory.mktemp("server")
    certificate, key = self_signed(folder)
    users = folder / "users"
    users.write_text(make_user_line("jefacture", "correct horse") + "\n")
    command = [sys.executable, "-m", "tests.support.smtp_server", "--certificate", certificate]
    command += ["--private-key", key, "--users-file", str(users)]
    with (folder / "stderr").open("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=HERE.parent.parent)
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())["ready"]
            yield {name: (host, port) for name, (host, port) in zip(LISTENERS, ready, strict=True)}
        finally:
            process.terminate()
            process.wait(timeout=20)
        errors.seek(0)
        assert "Traceback" not in errors.read()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_dialog(script: Script, addresses: dict[str, tuple[str, int]]) -> None:
    play(script, addresses[script.listener])


def test_the_runner_for_other_servers_finds_no_difference_here(addresses: dict[str, tuple[str, int]]) -> None:
    found = run(addresses["plain"])
    assert len(found) > 100
    assert [said for said in found.values() if said != "same"] == []


def test_the_runner_tells_what_differs(addresses: dict[str, tuple[str, int]]) -> None:
    script = read(HERE / "a-message-is-accepted.dlg")
    said = answer(script, addresses["outside"])
    assert said.startswith("a-message-is-accepted.dlg:") and "got '530 " in said
