"""A configuration that names a file of every kind that the daemon reads, and ways to spoil one of them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from relay.settings.users_file import make_user_line
from tests.support.certificates import make_pair
from tests.support.dkim_keys import pem

RELAY = """\
hostname: relay.test.example
listen:
  - {address: 127.0.0.1:12525, tls: required, certificate: tls1/cert.pem, private_key: tls1/key.pem}
  - {address: 127.0.0.1:12526, tls: required, certificate: tls2/cert.pem, private_key: tls2/key.pem, users_file: users}
smarthosts:
  default: {host: smtp.example, username: relay, password_file: password}
  other: {host: smtp.other.example, username: relay, token_file: token}
defaults: {operator: operator@test.example}
dkim: {domain: relay.test.example, selector: relay, private_key: dkim.pem}
spool: sqlite:spool.db
"""

FIRM = """\
firm: Durand
connections:
  agiris: {}
clients:
  - dossier: "1"
    siren: "732829320"
    connection: agiris
    agiris_address: a1@agiris.example
    recipients: [one@export.relay.example]
"""

FILES = {
    "users file": "users",
    "certificate": "tls2/cert.pem",
    "private key": "tls2/key.pem",
    "password": "password",
    "token": "token",
    "DKIM key": "dkim.pem",
}


def write_whole(folder: Path) -> Path:
    """Write the configuration and all its files into `folder`, which is made; the folder."""
    (folder / "firms").mkdir(parents=True)
    (folder / "relay.yaml").write_text(RELAY)
    (folder / "firms" / "a.yaml").write_text(FIRM)
    for name in ("tls1", "tls2"):
        make_pair(folder / name)
    contents = {
        "users": make_user_line("jefacture", "secret").encode() + b"\n",
        "password": b"hunter2\n",
        "token": b"ya29.token\n",
        "dkim.pem": pem("ed25519"),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    return folder


def give_to(folder: Path, uid: int) -> None:
    """Make `uid` the owner of `folder` and of all below it."""
    for each in (folder, *folder.rglob("*")):
        os.chown(each, uid, uid)


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00 garbage \x00\n\x81" * 20)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


SPOILED: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b"") and None,
    "unreadable": lambda path: path.chmod(0),
    "garbage": _garbage,
    "a directory": _folder,
    "a pipe": _pipe,
}


def remove(folder: Path) -> None:
    shutil.rmtree(folder)
