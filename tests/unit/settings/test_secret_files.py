"""Files as they are found on a disk: missing, empty, in another encoding, too large, with a secret open to others."""

from pathlib import Path

import pytest

from relay.inspection import Severity
from relay.settings import yaml_file
from relay.settings.issues import ConfigIssues
from relay.settings.load import load
from relay.settings.users_file import make_user_line
from tests.support.config_faults import FIRM, RELAY, lines, reported, write

WITH_PASSWORD = RELAY.replace("tls: none", "username: relay, password_file: password")


def test_missing_folder_tells_both_missing_files(tmp_path: Path) -> None:
    found = [str(fault) for fault in load(tmp_path / "nowhere").faults]
    assert len(found) == 2
    assert all("No such file or directory" in fault for fault in found)


def test_broken_link_and_folder_instead_of_a_file(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "firms" / "b.yaml").symlink_to(tmp_path / "gone")
    (tmp_path / "relay.yaml").unlink()
    (tmp_path / "relay.yaml").mkdir()
    first, second = lines(tmp_path, load(tmp_path))
    assert first.startswith("firms/b.yaml:1:1: error: cannot read as user ")
    assert second.startswith("relay.yaml:1:1: error: cannot read as user ")
    assert "Is a directory" in second


def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    import os

    write(tmp_path)
    os.mkfifo(tmp_path / "firms" / "b.yaml")
    assert "regular file is expected" in lines(tmp_path, load(tmp_path))[0]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "the file is empty"),
        (b"# nothing\n", "the file holds no settings"),
        (FIRM.encode("utf-16"), "the file is UTF-16, not UTF-8"),
        (b"- a\n", 'expected "key: value" lines at the top, got a list'),
        (b"firm\n", 'expected "key: value" lines at the top, got a text'),
        (b"#" * (yaml_file.MAX_SIZE + 1), "the file is larger than 16 MiB"),
    ],
)
def test_unreadable_content(tmp_path: Path, content: bytes, fault: str) -> None:
    (found,) = reported(tmp_path, a=content)
    assert found.startswith(f"firms/a.yaml:1:1: error: {fault}.")


def test_latin_1_is_reported_at_its_octet(tmp_path: Path) -> None:
    (found,) = reported(tmp_path, a=FIRM.encode() + "    name: Société\n".encode("latin-1"))
    assert found == "firms/a.yaml:10:15: error: not UTF-8 (octet 0xE9). Fix: save the file as UTF-8"


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    read = yaml_file.octets

    def read_while_an_editor_saves(path: Path, file: str, faults: ConfigIssues) -> str | None:
        found = read(path, file, faults)
        if path.name == "a.yaml":
            path.write_text(FIRM + "# saved\n")
        return found

    monkeypatch.setattr(yaml_file, "octets", read_while_an_editor_saves)
    loaded = load(tmp_path)
    assert loaded.settings is None
    assert lines(tmp_path, loaded) == [
        "firms/a.yaml:1:1: error: the file changed while it was read. Fix: try again once it is saved"
    ]


def test_a_file_that_anyone_can_write_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "firms" / "a.yaml").chmod(0o666)
    (found,) = lines(tmp_path, load(tmp_path))
    assert found.startswith("firms/a.yaml:1:1: warning: anyone on this machine can write this file")


def test_a_last_line_without_its_end_is_a_warning(tmp_path: Path) -> None:
    assert reported(tmp_path, a=FIRM.rstrip("\n")) == [
        "firms/a.yaml:9:43: warning: the last line has no line end: the file may be half written."
        " Fix: end it with a line break"
    ]


def test_byte_order_mark_at_the_start_is_no_fault(tmp_path: Path) -> None:
    assert reported(tmp_path, a=b"\xef\xbb\xbf" + FIRM.encode()) == []


def test_no_firm_is_a_fault_and_a_yml_is_reported(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "firms" / "a.yaml").rename(tmp_path / "firms" / "a.yml")
    (tmp_path / "firms" / ".hidden.yaml").write_text("x")
    assert lines(tmp_path, load(tmp_path)) == [
        "firms:1:1: error: no firm: the folder holds no .yaml file. Fix: write one file for each firm",
        "firms/a.yml:1:1: error: this file is not read: a reload would drop its clients."
        " Fix: rename it to .yaml, or move it out of this folder",
    ]


def test_faults_of_all_files_come_at_once_sorted(tmp_path: Path) -> None:
    found = reported(
        tmp_path,
        relay=RELAY + "langage: fr\n",
        a=FIRM + "    nam: x\n",
        b=FIRM.replace('"1"', '"2"').replace("one@", "two@").replace("false", "no"),
    )
    assert [fault.split(": ")[0] for fault in found] == ["firms/a.yaml:10:5", "firms/b.yaml:4:19", "relay.yaml:3:1"]


def test_fifty_faults_then_a_count_and_no_error_hidden_by_warnings(tmp_path: Path) -> None:
    warnings = "".join(
        f"  - {{dossier: w{i}, connection: agiris, agiris_address: a@agiris.example, siren: 123456789}}\n"
        for i in range(60)
    )
    errors = "".join(f"  - {{dossier: e{i}}}\n" for i in range(30))
    faults = load(write(tmp_path, a=FIRM + warnings + errors)).faults
    assert len(faults) == 51
    assert sum(1 for fault in faults[:50] if fault.severity is Severity.ERROR) == 50
    assert faults[50].what == "10 more errors and 122 more warnings are not shown"


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_secret_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    (tmp_path / "password").chmod(mode)
    (found,) = reported(tmp_path, relay=WITH_PASSWORD)
    assert found.startswith(f"relay.yaml:1:85: error: password: mode {mode:04o}: ")
    assert "Fix: chmod 640 password" in found
    assert "hunter2" not in found


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_closed_secret_is_taken_without_its_line_end(tmp_path: Path, mode: int) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    (tmp_path / "password").chmod(mode)
    loaded = load(write(tmp_path, relay=WITH_PASSWORD))
    assert loaded.settings is not None
    smarthost = loaded.settings.smarthosts["default"]
    assert smarthost.password() == "hunter2"
    assert "hunter2" not in repr(loaded.settings)


def test_missing_and_empty_password_files(tmp_path: Path) -> None:
    (missing,) = reported(tmp_path, relay=WITH_PASSWORD)
    assert "No such file or directory" in missing
    (tmp_path / "password").touch(mode=0o600)
    (empty,) = reported(tmp_path, relay=WITH_PASSWORD)
    assert empty == "relay.yaml:1:85: error: password: the file is empty. Fix: write the password to it"


def test_a_password_in_clear_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    (tmp_path / "password").chmod(0o600)
    (clear,) = reported(tmp_path, relay=WITH_PASSWORD.replace("username", "tls: none, username"))
    assert "error: the password would be sent in clear." in clear
    (perhaps,) = reported(tmp_path, relay=WITH_PASSWORD.replace("username", "tls: starttls, username"))
    assert "warning: the password would be sent in clear to a server that offers no STARTTLS." in perhaps


def test_systemd_credential_goes_before_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "password").write_text("from systemd\n")
    (credentials / "password").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    loaded = load(write(tmp_path, relay=WITH_PASSWORD))
    assert loaded.settings is not None
    assert loaded.settings.smarthosts["default"].password() == "from systemd"


def test_users_without_tls_are_refused(tmp_path: Path) -> None:
    (tmp_path / "users").touch(mode=0o600)
    (tmp_path / "users").write_text(make_user_line("jefacture", "secret"))
    found = reported(tmp_path, relay=RELAY + "listen: [{address: 127.0.0.1:2525, users_file: users}]\n")
    assert found == [
        "relay.yaml:3:48: error: listener 127.0.0.1:2525 has users but tls: none: AUTH is offered over TLS only."
        " Fix: set tls: starttls, or remove users_file"
    ]
