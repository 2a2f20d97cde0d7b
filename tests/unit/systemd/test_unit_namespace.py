"""The program in the unit's whole house: read-only system, no home, own /tmp and /dev, no foreign process, no rights.

What systemd does by mounts, users and limits is laid on by tests.support.systemd_namespace, on top of the unit's system
call rules; it takes root.
"""

import asyncio
import ctypes.util
import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.sample_pdf import facturx_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import BAKERY, SUPPLIER, Attached, Scene
from relay.demo.stage import Stage
from tests.support import systemd_namespace, systemd_sandbox

ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.skipif(
        shutil.which("systemd-analyze") is None, reason="systemd-analyze expands the sets of the filter"
    ),
    pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="libseccomp is not installed"),
    pytest.mark.skipif(not systemd_namespace.can_be_tried(), reason="mounts and namespaces take root"),
]
MARTIN = "martin@export.relay.example"
WRAPPER = [sys.executable, "-m", "tests.support.systemd_namespace"]


async def under_the_unit(*command, write=(), seconds=120):
    folders = [word for folder in write for word in ("--write", str(folder))]
    process = await asyncio.create_subprocess_exec(
        *WRAPPER, *folders, *command,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), seconds)
    assert process.returncode == 0, output.decode()
    return output.decode()


LAID_ON = {
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateIPC": "yes",
    "PrivateUsers": "yes",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "LimitCORE": "0",
}


def test_the_sandbox_is_the_units():
    assert {name: " ".join(systemd_sandbox.settings(name)) for name in LAID_ON} == LAID_ON


async def test_the_sandbox_isolates(tmp_path):
    code = """
import errno, os, re, sys

def errno_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "fine"

status = open("/proc/self/status").read()
print("user", os.getuid(), os.getgroups(), re.search("CapEff:.*?([1-9a-f]?)$", status, re.M)[1] or "none")
print("bounding", int(re.search(r"CapBnd:\\s*(\\w+)", status)[1], 16))
print("no new privileges", re.search(r"NoNewPrivs:\\s*(\\d)", status)[1])
for path in ("/etc/x", "/usr/x", "/var/x", "/dev/x", "/root/x", sys.prefix + "/x", os.getcwd() + "/x"):
    print("write", path, errno_of(open, path, "w"))
print("state", errno_of(open, sys.argv[1] + "/x", "w"), "tmp", errno_of(open, "/tmp/x", "w"))
print("home", os.listdir("/home"), "passwords", errno_of(open, "/etc/shadow"))
print("process", *(os.path.exists("/proc/" + name) for name in ("1", "sys", "self/statm")))
print("disks", [name for name in os.listdir("/dev") if re.match("sd|vd|nvme|loop|kmsg|mem", name)])
"""
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "neighbour").write_text("")
    said = (await under_the_unit(sys.executable, "-c", code, str(state), write=[state])).splitlines()
    assert said[:3] == [f"user {systemd_namespace.USER} [] none", "bounding 0", "no new privileges 1"]
    assert {line.split()[-1] for line in said[3:10]} == {"EROFS"}
    assert said[10:] == ["state fine tmp fine", "home [] passwords EACCES", "process False False True", "disks []"]


async def test_the_whole_demo_is_right_in_there():
    """Workers, XSLT engine, pikepdf, spool and both ends of SMTP."""
    said = await under_the_unit(sys.executable, "-m", "relay.cli", "demo", "--json")
    *scenes, whole = map(json.loads, said.splitlines())
    assert scenes and all(each["right"] and not each["faults"] for each in scenes)
    assert whole["mails"] == len(scenes) and whole["right"] is True


class Housed(Stage):
    """A stage whose daemon lives in the unit's house; the commands stay outside."""

    def command_line(self, *words):
        inside = [*WRAPPER, "--write", str(self.folder)] if words[0] == "run" else []
        return [*inside, *super().command_line(*words)]


def tasks(pid):
    """Threads of the process and of all below it."""
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    below = [int(child) for each in threads for child in (each / "children").read_text().split()]
    return len(threads) + sum(map(tasks, below))


async def test_the_daemon_checks_relays_reloads_and_stops_in_there(tmp_path):
    agiris = Receiver()
    await agiris.start()
    (tmp_path / "state").mkdir()
    stage = Housed(tmp_path / "state", agiris.port)
    stage.prepare()
    try:
        assert await stage.start(), stage.log.read_text()
        pdf = facturx_pdf(invoice_xml(number="H-1", seller_siren=SUPPLIER, buyer_siren=BAKERY), text="H-1")
        mail = Scene("", MARTIN, (Attached("x.pdf", pdf),), None).mail()
        assert (await asyncio.to_thread(stage.submit, MARTIN, mail)).code == 250
        assert await agiris.wait(1, 60)
        stage.send_signal(signal.SIGHUP)
        await stage.logged("reloaded")
        assert "'valid'" in str(await stage.command("trace", "H-1"))
        assert tasks(stage.pid) < int(systemd_sandbox.settings("TasksMax")[0]) / 2
    finally:
        code = await stage.stop()
        await agiris.close()
    assert code == 0, stage.log.read_text()
    assert "EPERM" not in stage.log.read_text() and '"event": "internal_error"' not in stage.log.read_text()
