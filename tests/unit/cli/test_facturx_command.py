"""`facturx check`: exit codes and the keys of its JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from relay.demo import samples

KEYS = {"file", "sha256", "verdict", "kind", "profile", "type_code", "number", "seller", "buyer", "findings", "ms"}


def run(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [
        sys.executable,
        "-m",
        "relay.cli",
        "facturx",
        "check",
        "--config",
        str(folder / "none"),
        "--workers",
        "1",
    ]
    return subprocess.run([*command, *arguments], input=stdin, capture_output=True, timeout=60, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "good.pdf").write_bytes(samples.facturx_pdf(samples.invoice_xml("F-1")))
    (tmp_path / "sub" / "bad.PDF").write_bytes(samples.facturx_pdf(samples.invoice_xml("F-2", wrong_total=True)))
    (tmp_path / "sub" / "note.txt").write_bytes(b"not looked at")
    return tmp_path


def test_a_valid_file_ends_0_with_the_keys_of_the_contract(folder: Path) -> None:
    done = run(folder, "--json", str(folder / "good.pdf"))
    assert (done.returncode, done.stderr) == (0, b"")
    (line,) = (json.loads(line) for line in done.stdout.splitlines())
    assert line.keys() >= KEYS
    assert (line["file"], line["verdict"], line["number"]) == (str(folder / "good.pdf"), "valid", "F-1")
    assert line["seller"]["siren"] == samples.CLIENT_SIREN


def test_a_folder_is_searched_and_an_invalid_file_ends_1(folder: Path) -> None:
    done = run(folder, "--json", str(folder))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [(Path(line["file"]).name, line["verdict"]) for line in lines] == [
        ("good.pdf", "valid"),
        ("bad.PDF", "invalid"),
    ]
    (finding,) = lines[1]["findings"]
    assert (finding["rule"], finding["severity"], finding["where"]) == ("BR-CO-15", "error", "rules")


def test_standard_input_and_text_for_people(folder: Path) -> None:
    done = run(folder, "-", stdin=(folder / "sub" / "bad.PDF").read_bytes())
    text = done.stdout.decode()
    assert done.returncode == 1
    assert "-: invalid (factur-x en16931 · 380 F-2 · 732829320 → 356000000)" in text
    assert "error   BR-CO-15 [rules]" in text
    assert "\x1b" not in text  # no colours into a pipe


def test_level_structure_leaves_the_rules_out(folder: Path) -> None:
    assert run(folder, "--level", "structure", str(folder / "sub" / "bad.PDF")).returncode == 0


def test_a_file_that_cannot_be_read_ends_2_and_the_rest_is_checked(folder: Path) -> None:
    done = run(folder, "--json", str(folder / "nothing.pdf"), str(folder / "good.pdf"))
    assert done.returncode == 2
    assert b"nothing.pdf: No such file or directory" in done.stderr
    assert json.loads(done.stdout)["verdict"] == "valid"


def test_a_name_in_an_invoice_cannot_drive_the_terminal(folder: Path) -> None:
    hostile = samples.invoice_xml("F\u009b31m-3")
    done = run(folder, "-", stdin=samples.facturx_pdf(hostile))
    assert "\u009b" not in done.stdout.decode()


def test_an_empty_folder_ends_1(tmp_path: Path) -> None:
    done = run(tmp_path, str(tmp_path))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr
