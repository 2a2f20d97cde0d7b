"""As a new user would: each command of the pages, copied from them, on the configuration that the repository ships."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.sample_pdf import facturx_pdf
from relay.demo.samples import invoice_xml
from relay.demo.stage import Stage, free_port
from tests.e2e.test_broken_situations import submission

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "config/README.md",
    "config/grafana/README.md",
    "config/prometheus/README.md",
    "systemd/README.md",
    "tests/README.md",
    "tests/bench/README.md",
    "tests/bench/RESULTS.md",
    "tests/dialogs/README.md",
)
SECTIONS = (
    ("config/README.md", "The platform's screens and the keys"),
    ("config/README.md", "Reload"),
    ("systemd/README.md", "Commands of the day"),
)
FIRST_CLIENT = "From nothing to the first client, in ten minutes"
MARTIN = "732829320"


def section(page: str, title: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8").split(f"## {title}\n", 1)[1]
    return re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]


def blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Lines of the sections' blocks, and the agiris-relay commands inside their sentences."""
    listed = []
    for page, title in SECTIONS:
        text = section(page, title)
        listed += [line for block in blocks(text) for line in block.splitlines() if line.strip()]
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        listed += [" ".join(command.split()) for command in re.findall(r"`(agiris-relay [^`]+)`", prose)]
    introduction = (ROOT / "config" / "README.md").read_text(encoding="utf-8").split("\n## ", 1)[0]
    return listed + re.findall(r"`(agiris-relay [^`]+)`", introduction)


@dataclass
class Shipped(Stage):
    """The daemon on a copy of config/, as it is but for its ports and the place of its spool."""

    def prepare(self) -> None:
        self.smtp, self.http = free_port(), free_port()
        shutil.copytree(ROOT / "config", self.config)
        path = self.config / "relay.yaml"
        text = path.read_text(encoding="utf-8")
        for old, new in (
            ("127.0.0.1:2525", f"127.0.0.1:{self.smtp}"),
            ("port: 2526", f"port: {self.receiver}"),
            ("127.0.0.1:9525", f"127.0.0.1:{self.http}"),
            ("sqlite:///var/lib/agiris-relay/spool.db", "sqlite:spool.db"),
            ("format: auto", "format: json"),
        ):
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
async def shipped(stages: Callable[..., Stage], receiver: Receiver, tmp_path: Path) -> Shipped:
    stage = Shipped(tmp_path, receiver.port)
    stage.prepare()
    assert await stage.start(), stage.log.read_text(encoding="utf-8")
    return stage


def prepare_files(folder: Path) -> dict[str, str]:
    """The files that the pages speak of, and a shell that finds the command; its environment."""
    pdf = facturx_pdf(invoice_xml(number="R-1", seller_siren="542051180", buyer_siren=MARTIN), text="R-1")
    (folder / "invoice.pdf").write_bytes(pdf)
    (folder / "mail.eml").write_bytes(submission("R-2"))
    (folder / "bin").mkdir()
    script = folder / "bin" / "agiris-relay"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m relay.cli "$@"\n')
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


async def test_every_command_of_the_pages_succeeds(shipped: Shipped, receiver: Receiver) -> None:
    environment = prepare_files(shipped.folder)
    listed = commands()
    assert sum(line.startswith("agiris-relay ") for line in listed) >= 6
    assert any(line.startswith(("swaks", "curl")) for line in listed)
    first = await asyncio.to_thread(shipped.submit, "martin@export.relay.example", submission("F-2026-117"))
    again = await asyncio.to_thread(shipped.submit, "martin@export.relay.example", _resent("F-2026-117"))
    assert (first.code, again.code) == (250, 250)
    assert await receiver.wait_relayed(1, 30)
    arrived = 1
    for line in listed:
        command = re.sub(r"\bID\b", again.text, line).replace("127.0.0.1:2525", f"127.0.0.1:{shipped.smtp}")
        if "--keep" in command or shutil.which(command.split()[0], path=environment["PATH"]) is None:
            continue
        done = await asyncio.to_thread(
            subprocess.run, command, shell=True, cwd=shipped.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        if command.startswith(("swaks", "curl")):
            arrived += 1
            assert await receiver.wait_relayed(arrived, 30), line
    assert await shipped.stop() == 0


@dataclass
class Trial(Stage):
    """The folder that config/README.md has its reader make; ports are others where it names those of config/."""

    def prepare(self) -> None:
        self.smtp, self.http = free_port(), free_port()

    def with_ports(self, text: str) -> str:
        return text.replace("127.0.0.1:2525", f"127.0.0.1:{self.smtp}").replace(":9525", f":{self.http}")


async def test_the_steps_to_the_first_client_deliver_a_message(receiver: Receiver, tmp_path: Path) -> None:
    trial = Trial(tmp_path / "trial", free_port())
    trial.prepare()
    environment = prepare_files(tmp_path)
    (tmp_path / "clone").mkdir()
    shutil.copytree(ROOT / "config", tmp_path / "clone" / "config")
    make, explain, submit = blocks(section("config/README.md", FIRST_CLIENT))

    async def shell(block: str, folder: Path) -> str:
        done = await asyncio.to_thread(
            subprocess.run, ["bash", "-e"], input=trial.with_ports(block), cwd=folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    output = await shell(make, tmp_path / "clone")
    assert "sound: 1 firm, 1 client, 0 warnings" in output
    assert "agiris_address: 00054321@agiris.example" in output
    relay_yaml = trial.config / "relay.yaml"
    relay_yaml.write_text(
        trial.with_ports(relay_yaml.read_text("utf-8")).replace("format: auto", "format: json"), "utf-8"
    )
    shutil.copy(tmp_path / "mail.eml", trial.folder)
    assert "message 1 to 00054321@agiris.example: relayed" in await shell(explain, trial.folder)
    assert await trial.start(), trial.log.read_text(encoding="utf-8")
    try:
        await shell(submit, trial.folder)
        await trial.logged("deferred")
        (row,) = await trial.command("queue", "list")
        assert (row["client"], row["state"]) == ("00054321", "deferred")
        relay_yaml.write_text(relay_yaml.read_text("utf-8").replace("port: 2526", f"port: {receiver.port}"), "utf-8")
        trial.send_signal(signal.SIGHUP)
        await trial.logged("reloaded")
        await trial.command("queue", "retry", row["queue_id"])
        assert await receiver.wait(1, 30)
        assert receiver.arrivals[0].recipient == "00054321@agiris.example"
    finally:
        assert await trial.stop() == 0


def _resent(number: str) -> bytes:
    """The same invoice in another message: it is held, for it was sent already."""
    return submission(number).replace(b"\r\n\r\n", b"\r\nX-Again: yes\r\n\r\n", 1)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_commands_is_valid_shell(page: str) -> None:
    for block in blocks((ROOT / page).read_text(encoding="utf-8")):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_file_and_heading_exists(page: str) -> None:
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        assert (path.parent / target).exists(), target
        if anchor:
            assert anchor in anchors(path.parent / target if target else path), anchor
    for block in blocks(text):
        created = re.findall(r"> (\S+)", block)
        for name in re.findall(r"(?<![\w/.])((?:config|systemd)/[\w./*-]+)", block):
            assert name in created or list(ROOT.glob(name)), name


def test_the_readme_opens_with_two_commands_and_ci_runs_the_second() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    demo, tests = blocks(text)[:2]
    assert demo.startswith("python3 -m venv .venv && ") and demo.endswith("agiris-relay demo\n")
    assert text.index("<!-- tests -->\n```sh\n" + tests) < text.index("\n## ")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    extract = next(line for line in ci.splitlines() if line.startswith("command=$("))
    done = subprocess.run(
        ["bash", "-c", f'{extract}; echo "$command"'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == tests


def test_the_tree_of_the_readme_is_the_tree_of_the_package() -> None:
    (tree,) = re.findall(r"(?ms)^```\nrelay/\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"))
    names = [name for line in tree.splitlines() for name in re.findall(r"[a-z_]+(?:/|\.py)", line[:28])]
    existing = {f"{path.name}/" for path in (ROOT / "relay").iterdir() if (path / "__init__.py").exists()}
    existing |= {path.name for path in (ROOT / "relay").glob("*.py")} - {"__init__.py"}
    assert sorted(names) == sorted(existing)
