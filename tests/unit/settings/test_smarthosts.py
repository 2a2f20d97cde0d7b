"""What may be said of a smarthost: its secret in a file, a password or a token, and its mail exchangers."""

from pathlib import Path

import pytest

from relay.daemon.outbound import Outbound
from relay.model import Delivery, State
from relay.queue import RouteError
from relay.routing.policy import Terms
from relay.settings.load import load
from relay.settings.settings import PasswordError, Settings, Smarthost
from tests.support.config_faults import RELAY, replaced, reported, without_incomplete, write

TOKEN = "eyJ0eXAi.eyJhdWQi-_~+/.c2ln=="


def secret(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("username: u, tls: none, token_file: token", "71: error: the token would be sent in clear. Fix: set tls: req"),
        ("username: u, tls: starttls, token_file: token", "71: warning: the token would be sent in clear to a server"),
        ("token_file: token", '23: error: smarthost "default" has no "username". Fix: add username, or remove the oth'),
        ("username: u, token_file: token, password_file: password", "78: error: smarthost \"default\" has a password"),
        ("username: u, token_file: nowhere", "78: error: nowhere: cannot read"),
        ("username: u, token_file: empty", "78: error: empty: the file is empty. Fix: write the token to it"),
        ("username: u, token: ya29.x", '66: error: "token" in smarthost "default": no secret stands in the YAML.'),
        ("mx: true", "57: error: 127.0.0.1 is an address: it has no mail exchangers. Fix: write a domain as host, or"),
        ("mx_names: [mx.example]", '63: error: smarthost "default" has mx_names but no "mx". Fix: add mx: true, or r'),
    ],
)  # fmt: skip
def test_a_faulty_smarthost(tmp_path: Path, words: str, fault: str) -> None:
    for name, text in {"token": TOKEN, "password": "hunter2", "empty": ""}.items():
        secret(tmp_path, name, text)
    (found,) = reported(tmp_path, relay=replaced(RELAY, "tls: none", words))
    assert fault in found, found
    assert TOKEN not in found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("*", "would trust the whole world"),
        ("*.example", "would trust the whole world"),
        ("mx*.provider.example", "the only wildcard"),
        ("a.*.example", "the only wildcard"),
        ("provider_example!", "is not a host name"),
    ],
)
def test_a_name_of_exchangers_that_trusts_too_many_or_is_none(tmp_path: Path, name: str, said: str) -> None:
    words = f'host: agiris.example, port: 25, mx: true, mx_names: ["{name}"]'
    (found,) = reported(tmp_path, relay=replaced(RELAY, "host: 127.0.0.1, port: 2526", words))
    assert said in found


def test_exchangers_are_sent_to_on_port_25(tmp_path: Path) -> None:
    (found,) = reported(tmp_path, relay=replaced(RELAY, "127.0.0.1, port: 2526, tls: none", "agiris.example, mx: true"))
    assert "warning: mail exchangers listen on port 25" in found
    loaded = load(write(tmp_path, relay=replaced(RELAY, "127.0.0.1, port: 2526", "agiris.example, port: 25, mx: true")))
    assert without_incomplete(loaded.faults) == [] and loaded.settings is not None
    assert loaded.settings.smarthosts["default"] == Smarthost("default", "agiris.example", 25, "none", mx=True)


def test_a_token_is_read_at_each_attempt(tmp_path: Path) -> None:
    file = tmp_path / "token"
    smarthost = Smarthost("default", "smtp.example", username="relay", token_file=str(file))
    with pytest.raises(PasswordError, match="No such file"):
        smarthost.token()
    file.write_text(f"{TOKEN}\n")
    assert smarthost.token() == TOKEN and smarthost.password() is None
    file.write_text("second")
    assert smarthost.token() == "second"
    assert Smarthost("default", "smtp.example").token() is None


@pytest.mark.parametrize("text", ['{"access_token": "x"}', "two\nlines", "a b", "x\x01auth=Bearer y", "é", "=", "\n"])
def test_what_is_no_token_never_gets_into_a_dialogue(tmp_path: Path, text: str) -> None:
    file = secret(tmp_path, "token", text)
    with pytest.raises(PasswordError) as raised:
        Smarthost("default", "smtp.example", username="relay", token_file=str(file)).token()
    assert text.strip() not in str(raised.value) or not text.strip()


def test_each_attempt_goes_the_way_of_the_settings_in_force(tmp_path: Path) -> None:
    file = secret(tmp_path, "token", TOKEN)
    smarthost = Smarthost(
        "default",
        "agiris.example",
        25,
        "required",
        "u",
        token_file=str(file),
        mx=True,
        mx_names=("*.provider.example",),
    )
    settings = Settings(Terms("relay.example", ()), smarthosts={"default": smarthost})
    outbound = Outbound(lambda: settings, b"secret", None)  # type: ignore[arg-type]
    delivery = Delivery("Q", 1, 0, "c@agiris.example", State.ACTIVE, 0.0, None)
    route = outbound.route(delivery)
    assert (route.host, route.mx, route.mx_names) == ("agiris.example", True, ("*.provider.example",))
    assert (route.username, route.password, route.token) == ("u", None, TOKEN)
    assert TOKEN not in repr(route)
    file.write_text("fresh")
    assert outbound.route(delivery).token == "fresh"
    file.unlink()
    with pytest.raises(RouteError, match="No such file"):
        outbound.route(delivery)
