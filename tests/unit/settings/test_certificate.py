"""A door's certificate and key are tried when the configuration is checked, not when mail is already waiting."""

from pathlib import Path

import pytest

from relay.settings.load import load
from tests.support.certificates import make_pair
from tests.support.config_faults import RELAY, lines, write

LISTEN = "listen: [{address: 127.0.0.1:2525, tls: required, certificate: cert.pem, private_key: key.pem}]\n"


def reported(folder: Path) -> list[str]:
    write(folder, relay=RELAY + LISTEN)
    return lines(folder, load(folder))


def test_a_pair_is_sound(tmp_path: Path) -> None:
    make_pair(tmp_path)
    assert reported(tmp_path) == []


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path)
    make_pair(tmp_path / "other")[1].replace(key)
    (fault,) = reported(tmp_path)
    assert "is not the private key of" in fault
    assert certificate.name in fault


@pytest.mark.parametrize("which", [0, 1])
def test_garbage_is_reported_with_its_position(tmp_path: Path, which: int) -> None:
    make_pair(tmp_path)[which].write_text("this is none")
    (fault,) = reported(tmp_path)
    assert fault.startswith("relay.yaml:3:")
    assert "are no certificate and private key in PEM. Fix: " in fault


@pytest.mark.parametrize(
    ("names", "days", "warning"),
    [
        (("relay.test.example",), (-9, -2), "the certificate expired on "),
        (("relay.test.example",), (2, 9), "the certificate is not valid before "),
        (("mail.example",), (-1, 9), "the certificate is for mail.example, not for relay.test.example (hostname)"),
        ((), (-1, 9), "the certificate is for no host name, not for relay.test.example (hostname)"),
        (("*.example",), (-1, 9), "the certificate is for *.example, not for relay.test.example (hostname)"),
        (("RELAY.test.example",), (-1, 9), None),
        (("a.example", "*.test.example"), (-1, 9), None),
    ],
)
@pytest.mark.parametrize("critical", [False, True])
def test_a_certificate_that_clients_would_not_accept_is_a_warning(
    tmp_path: Path, names: tuple[str, ...], days: tuple[int, int], warning: str | None, critical: bool
) -> None:
    make_pair(tmp_path, names, first_day=days[0], last_day=days[1], critical=critical)
    found = reported(tmp_path)
    if warning is None:
        assert found == []
    else:
        (fault,) = found
        assert fault.startswith(f"relay.yaml:3:64: warning: cert.pem: {warning}"), fault


def test_the_names_are_not_compared_with_a_hostname_that_is_not_set(tmp_path: Path) -> None:
    make_pair(tmp_path, ("mail.example",))
    write(tmp_path, relay=RELAY.splitlines(keepends=True)[0] + LISTEN)
    assert not any("certificate" in fault for fault in lines(tmp_path, load(tmp_path)))
