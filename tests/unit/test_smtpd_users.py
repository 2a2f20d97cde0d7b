import pytest

from relay.smtpd.users import UsersFault, make_user_line, parse_users, verify


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
    ],
)
def test_a_faulty_line_is_named_and_not_shown(text: str, line: int) -> None:
    with pytest.raises(UsersFault, match=f"line {line}:") as fault:
        parse_users(text)
    assert "AAAA" not in str(fault.value)


def test_a_secret_does_not_show_itself() -> None:
    assert repr(parse_users(f"a:{GOOD}")) == "{'a': Secret(…)}"
