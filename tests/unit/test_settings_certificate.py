"""A door's certificate and key are tried when the configuration is checked, not when mail is already waiting."""

from pathlib import Path

import pytest

from relay.settings.load import load
from tests.support.config_faults import RELAY, lines, write
from tests.support.door import self_signed

LISTEN = "listen: [{address: 127.0.0.1:2525, tls: required, certificate: cert.pem, private_key: key.pem}]\n"


def told(folder: Path) -> list[str]:
    write(folder, relay=RELAY + LISTEN)
    return lines(folder, load(folder))


def pair(folder: Path) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    certificate, key = map(Path, self_signed(folder))
    return certificate, key


def test_a_pair_is_sound(tmp_path: Path) -> None:
    pair(tmp_path)
    assert told(tmp_path) == []


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    certificate, key = pair(tmp_path)
    pair(tmp_path / "other")[1].replace(key)
    (fault,) = told(tmp_path)
    assert "is not the private key of" in fault
    assert certificate.name in fault


@pytest.mark.parametrize("which", [0, 1])
def test_garbage_is_told_with_its_place(tmp_path: Path, which: int) -> None:
    pair(tmp_path)[which].write_text("this is none")
    (fault,) = told(tmp_path)
    assert fault.startswith("relay.yaml:3:")
    assert "are no certificate and private key in PEM. Fix: " in fault
