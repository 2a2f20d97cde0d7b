import pytest

from relay.settings.users_file import UsersFileError, make_user_line, parse_users, verify


def test_a_made_line_lets_in_with_the_password_and_no_other() -> None:
    users = parse_users("# who may send\n\n" + make_user_line("jefacture", "pässword é") + "\n")
    assert verify(users, "jefacture", "pässword é")
    assert not verify(users, "jefacture", "password e")
    assert not verify(users, "JEFACTURE", "pässword é")
    assert not verify(users, "nobody", "pässword é")
    assert not verify(users, "", "")


def test_two_lines_for_one_password_differ() -> None:
    assert make_user_line("a", "b") != make_user_line("a", "b")


@pytest.mark.parametrize("name, password", [("", "p"), ("a:b", "p"), ("#a", "p"), (" a", "p"), ("a\n", "p"), ("a", "")])
def test_what_no_line_can_hold_is_refused(name: str, password: str) -> None:
    with pytest.raises(ValueError):
        make_user_line(name, password)


GOOD = "$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    "text, line",
    [
        ("a", 1),
        ("a:plain", 1),
        (f":{GOOD}", 1),
        (f"\na:{GOOD}x$", 2),
        (f"a:{GOOD.replace('ln=14', 'ln=30')}", 1),
        (f"a:{GOOD.replace('p=1', 'p=0')}", 1),
        (f"a:{GOOD}\na:{GOOD}", 2),
        ("a:$scrypt$ln=14,r=8,p=1$A$A", 1),
        (f"a:{GOOD[:-2]}", 1),
        (f"a:{GOOD}AA", 1),
        (f"a:{GOOD.replace('ln=14,r=8', 'ln=16,r=1')}", 1),
        (f"a\u200b:{GOOD}", 1),
        (f"\ufeffa:{GOOD}", 1),
    ],
)
def test_a_faulty_line_is_named_and_not_shown(text: str, line: int) -> None:
    with pytest.raises(UsersFileError, match=f"line {line}:") as fault:
        parse_users(text)
    assert "AAAA" not in str(fault.value)


def test_a_secret_does_not_show_itself() -> None:
    assert repr(parse_users(f"a:{GOOD}")) == "{'a': Secret(…)}"


def test_a_hash_that_matches_no_password_is_named() -> None:
    short = f"a:{GOOD[:-21]}"
    with pytest.raises(UsersFileError, match="line 1: the hash matches no password: it has 16 octets, not 32"):
        parse_users(short)


@pytest.mark.parametrize("cost", ["ln=10,r=1", "ln=15,r=1", "ln=14,r=8", "ln=18,r=1", "ln=17,r=2", "ln=20,r=1"])
def test_every_hash_that_is_taken_can_be_verified(cost: str) -> None:
    try:
        users = parse_users(f"a:{GOOD.replace('ln=14,r=8', cost)}")
    except UsersFileError:
        return
    assert verify(users, "a", "x") is False
