"""`agiris-relay config`: exit codes, faults on standard error, secrets masked."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from relay.cli.config import config
from relay.settings.settings import RelayFile
from relay.settings.yaml_file import user
from tests.support.config_faults import COMPLETE, FIRM, RELAY, write


def run(*words: str) -> Result:
    return CliRunner().invoke(config, list(words))


def test_check_of_a_sound_configuration_ends_0(tmp_path: Path) -> None:
    result = run("check", "--config", str(write(tmp_path, a=COMPLETE)))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{tmp_path}: sound: 1 firm, 1 client, 0 warnings (read as user {user()})\n"


def test_check_of_a_faulty_configuration_ends_78_with_every_fault(tmp_path: Path) -> None:
    result = run("check", "--config", str(write(tmp_path, a=COMPLETE.replace("false", "oui"))))
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.startswith(f"{tmp_path}/firms/a.yaml:5:19: error: ")
    assert result.stderr.endswith(f"{tmp_path}: 1 error, 0 warnings (read as user {user()})\n")


def test_check_counts_what_it_does_not_show(tmp_path: Path) -> None:
    clients = "".join(f"  - {{dossier: e{number}}}\n" for number in range(60))
    result = run("check", "--config", str(write(tmp_path, a=FIRM + clients)))
    assert result.stderr.endswith(f"{tmp_path}: 120 errors, 2 warnings (read as user {user()})\n")
    *_, last = run("check", "--config", str(tmp_path), "--json").stdout.splitlines()
    assert json.loads(last) == {"ok": False, "errors": 120, "warnings": 2, "user": user()}


def test_check_as_json_is_one_fault_a_line_and_a_summary(tmp_path: Path) -> None:
    folder = write(tmp_path, a=COMPLETE.replace("false", "oui"))
    result = run("check", "--config", str(folder), "--json")
    assert result.exit_code == 78
    fault, counts = map(json.loads, result.stdout.splitlines())
    assert (fault["line"], fault["column"], fault["severity"], fault["fix"]) == (5, 19, "error", "write true")
    assert counts == {"ok": False, "errors": 1, "warnings": 0, "user": user()}
    result = run("check", "--config", str(write(tmp_path, a=COMPLETE)), "--json")
    assert json.loads(result.stdout) == {"ok": True, "firms": 1, "clients": 1, "warnings": 0, "user": user()}


def test_check_with_warnings_alone_ends_0(tmp_path: Path) -> None:
    folder = write(tmp_path, relay=RELAY + "retry: {warn_after: 6 d}\n", a=COMPLETE)
    result = run("check", "--config", str(folder))
    assert result.exit_code == 0
    assert 'warning: "give_up" is not later than "warn_after"' in result.stderr
    assert "1 warning" in result.stdout


def test_show_masks_the_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    (tmp_path / "password").chmod(0o600)
    folder = write(tmp_path, relay=RELAY.replace("tls: none", "username: u, password_file: password"))
    for extra in ([], ["--json"]):
        result = run("show", "--config", str(folder), *extra)
        assert result.exit_code == 0
        assert "********" in result.stdout
        assert "hunter2" not in result.stdout


def test_show_prints_each_value_with_its_origin(tmp_path: Path) -> None:
    result = run("show", "--config", str(write(tmp_path)), "--client", "1")
    assert result.exit_code == 0
    assert f"  original_pdf: false  ({tmp_path}/firms/a.yaml:4)\n" in result.stdout
    assert f"  agiris_address: a1@agiris.example  ({tmp_path}/firms/a.yaml:8)\n" in result.stdout
    assert "  smarthost: default  (default)\n" in result.stdout


def test_show_of_an_unknown_client_ends_1(tmp_path: Path) -> None:
    result = run("show", "--config", str(write(tmp_path)), "--client", "9")
    assert (result.exit_code, result.stderr) == (1, "no client 9\n")


def test_show_of_a_faulty_configuration_ends_78(tmp_path: Path) -> None:
    result = run("show", "--config", str(write(tmp_path, a="")))
    assert result.exit_code == 78
    assert "the file is empty" in result.stderr


def test_show_as_json_has_one_client_a_line(tmp_path: Path) -> None:
    first, second = map(json.loads, run("show", "--config", str(write(tmp_path)), "--json").stdout.splitlines())
    assert first["relay"]["accept"]["idle_timeout"] == 300.0
    assert (second["dossier"], second["origins"]["recipients"]) == ("1", "firms/a.yaml:9")


def test_schema_of_both_files() -> None:
    both = json.loads(run("schema", "--json").stdout)
    assert set(both) == {"relay", "firm"}
    assert set(both["relay"]["properties"]) == {setting.key for setting in RelayFile.settings()}
    assert both["relay"]["$defs"]["Accept"]["properties"]["max_mail_size"]["default"] == "50 MiB"
    assert both["relay"]["properties"]["http"]["default"] == "127.0.0.1:9525"
    assert json.loads(run("schema", "--file", "firm").stdout) == both["firm"]


def test_show_prints_numbers_and_switches_differently(tmp_path: Path) -> None:
    write(tmp_path, relay=RELAY + "accept: {max_mails_per_minute_per_host: 0, max_recipients: 1}\n")
    said = run("show", "--config", str(tmp_path)).stdout.splitlines()
    assert "accept.max_mails_per_minute_per_host: 0" in said
    assert "accept.max_recipients: 1" in said
    assert "check.always_paired: false" in said
