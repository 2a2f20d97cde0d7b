"""`agiris-relay users add`: a line that the door understands, from a password that was on no command line."""

import json

import pytest
from click.testing import CliRunner

from relay.cli import main
from relay.settings.users_file import parse_users, verify


def test_the_line_is_one_of_a_users_file() -> None:
    result = CliRunner().invoke(main, ["users", "add", "jefacture"], input="pass wörd \n")
    assert result.exit_code == 0 and "pass" not in result.stdout
    users = parse_users(result.stdout)
    assert verify(users, "jefacture", "pass wörd ") and not verify(users, "jefacture", "pass wörd")


@pytest.mark.parametrize(("name", "given"), [("a:b", b"x\n"), ("a", b"\n"), ("a", b""), ("a", b"\xff\n")])
def test_a_name_or_password_that_auth_cannot_carry_is_wrong_usage(name: str, given: bytes) -> None:
    result = CliRunner().invoke(main, ["users", "add", name], input=given)
    assert result.exit_code == 2 and result.stdout == "" and "Traceback" not in result.output


def test_a_password_is_no_argument() -> None:
    assert CliRunner().invoke(main, ["users", "add", "a", "secret"]).exit_code == 2


@pytest.mark.parametrize("words", [["users", "add", "a", "--json"], ["--json", "users", "add", "a"]])
def test_the_line_as_json(words: list[str]) -> None:
    result = CliRunner().invoke(main, words, input="secret\n")
    assert verify(parse_users(json.loads(result.stdout)["line"] + "\n"), "a", "secret")
