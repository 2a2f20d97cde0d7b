"""The unit files: verified and rated by systemd itself, and in step with the program."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SERVICE = ROOT / "systemd" / "agiris-relay.service"
DROP_IN = ROOT / "systemd" / "port-25.conf"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def unit(tmp_path):
    """The unit with a command that exists here: /opt/agiris-relay does not."""
    copy = tmp_path / SERVICE.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", SERVICE.read_text()))
    return copy


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def exposure(unit):
    _, text = analyze("security", "--offline=true", "--no-pager", unit)
    return float(re.search(r"Overall exposure level for \S+: (\S+)", text)[1])


def with_port_25(unit):
    folder = unit.with_name(unit.name + ".d")
    folder.mkdir()
    shutil.copy(DROP_IN, folder)
    return unit


@needs_systemd
def test_verify_is_clean(unit):
    assert analyze("verify", unit) == (0, "")


@needs_systemd
def test_verify_is_clean_with_port_25(unit):
    assert analyze("verify", with_port_25(unit)) == (0, "")


@needs_systemd
def test_exposure_is_at_most_1_3(unit):
    assert exposure(unit) <= 1.3


@needs_systemd
def test_exposure_with_port_25_is_at_most_1_6(unit):
    bare = exposure(unit)
    assert bare < exposure(with_port_25(unit)) <= 1.6


@needs_systemd
def test_the_rating_has_teeth(unit):
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(unit) > 9


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_the_user_file_is_understood(tmp_path):
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", str(ROOT / "systemd" / "agiris-relay.sysusers")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Creating user 'agiris-relay'" in done.stderr


def settings(path):
    pairs = [line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(pairs)


def test_the_unit_and_the_program_agree():
    unit = settings(SERVICE)
    assert unit["Type"] == "notify"
    assert unit["ExecStart"].endswith("agiris-relay run --config /etc/agiris-relay")
    assert unit["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert unit["Restart"] == "always" and unit["RestartPreventExitStatus"] == "78"
    assert unit["StateDirectory"] == unit["ConfigurationDirectory"] == unit["User"] == "agiris-relay"
    assert unit["UMask"] == "0077" and unit["StateDirectoryMode"] == "0700" and unit["LimitCORE"] == "0"


def test_what_the_readme_says_of_the_files_is_there():
    readme = (ROOT / "systemd" / "README.md").read_text()
    for name in ("agiris-relay.service", "port-25.conf", "agiris-relay.sysusers"):
        assert name in readme and (ROOT / "systemd" / name).exists()
    for title in ("Install", "Upgrade", "Port 25", "Backup", "Move"):
        assert re.search(rf"(?m)^## {title}", readme), title
