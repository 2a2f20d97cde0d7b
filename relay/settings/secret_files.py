"""The files that relay.yaml names: there, readable, and a secret's file closed to others."""

import ssl
import stat
from pathlib import Path

from relay.mail.dkim import RSA_WANTED, BadKey, weak
from relay.settings.faults import Position
from relay.settings.settings import resolve_path
from relay.settings.text import open_regular, unreadable
from relay.settings.validate import File


def check_file(file: File, at: Position, directory: Path, name: str) -> Path | None:
    """The path of `name` if it is a file that can be read, else None with the fault told."""
    path = Path(resolve_path(directory, name))
    try:
        with open_regular(path):
            return path
    except OSError as error:
        what, fix = unreadable(error)
        file.error(at, f"{path}: {what}", fix)
        return None


def check_secret(file: File, at: Position, directory: Path, name: str, *, needed: str = "") -> Path | None:
    """A file with a secret: not for others to read, not for the group to write. needed: what must stand in it.

    Its path, or None when it cannot be read.
    """
    path = check_file(file, at, directory, name)
    if path is None:
        return None
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        who = "the group can write" if not mode & (stat.S_IROTH | stat.S_IWOTH) else "others can read"
        file.error(at, f"{path}: mode {mode:04o}: {who} this secret", f"chmod 640 {path}")
    if needed and not path.read_bytes().rstrip(b"\r\n"):
        file.error(at, f"{path}: the file is empty", f"write the {needed} to it")
    link = path.parent.stat().st_mode
    if link & stat.S_IWOTH and not link & stat.S_ISVTX:
        file.error(at, f"{path.parent}: anyone may replace this secret", f"chmod o-w {path.parent}")
    return path


def check_pair(file: File, at: Position, certificate: Path, key: Path) -> None:
    """A certificate chain and its private key, as the door loads them: PEM, and of each other."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            what = f"{key} is not the private key of {certificate}"
            file.error(at, what, "name the key that the certificate was made with")
            return
        what = f"{certificate} and {key} are no certificate and private key in PEM"
        file.error(at, what, "write the chain with its own certificate first, and its key without a password")
    except OSError:
        return  # gone since it was checked: the door tells it


def _no_password() -> str:
    """Nobody is there to type one; without this OpenSSL would ask on the terminal."""
    return ""


def check_key(file: File, at: Position, directory: Path, name: str) -> None:
    """A private key that signs mails: RSA or Ed25519, as a secret's file."""
    path = check_secret(file, at, directory, name)
    if path is None:
        return
    try:
        bits = weak(path.read_bytes())
    except BadKey as error:
        file.error(at, f"{path}: {error}", f"openssl genrsa -out {name} {RSA_WANTED}")
        return
    if bits:
        what = f"{path}: an RSA key of {bits} bits is weak: some receivers ignore its signatures"
        file.warning(at, what, f"openssl genrsa -out {name} {RSA_WANTED}")
