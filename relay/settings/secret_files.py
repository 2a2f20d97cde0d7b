"""The files that relay.yaml names: there, readable, of use, a secret's file closed to others, certificates valid."""

import ssl
import stat
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from relay.dkim.signature import RSA_WANTED, BadKey, weak
from relay.settings.issues import Position
from relay.settings.settings import is_token, resolve_path
from relay.settings.users_file import UsersFileError, read_users
from relay.settings.yaml_file import open_regular, read_whole, signature, unreadable

if TYPE_CHECKING:
    from relay.settings.validate import File

_FIRST, _LAST = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """not_before, not_after: epoch seconds. names: dNSName of subjectAltName, lower case."""

    not_before: float
    not_after: float
    names: tuple[str, ...]

    def is_for(self, host: str) -> bool:
        """Is `host` among the names? A wildcard stands for one whole label on the left (RFC 9525 §6.3)."""
        wanted = host.lower()
        return wanted in self.names or f"*.{wanted.partition('.')[2]}" in self.names


def expiry(path: Path) -> float:
    """notAfter, in epoch seconds, as `read_certificate`; it raises the same."""
    return read_certificate(path).not_after


def read_certificate(path: Path) -> Certificate:
    """The first certificate of a PEM file: the server's own, before its chain.

    Raises OSError when it cannot be read, ValueError when it is none.
    """
    octets = read_whole(path)
    start, end = octets.find(_FIRST), octets.find(_LAST)
    if start < 0 or end < start:
        raise ValueError(f"{path} holds no certificate")
    try:
        return _certificate(x509.load_pem_x509_certificate(octets[start : end + len(_LAST)]))
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(f"{path} holds no certificate that can be read") from error


def _certificate(certificate: x509.Certificate) -> Certificate:
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = alternatives.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Certificate(first.timestamp(), last.timestamp(), tuple(name.lower() for name in names))


def check_file(file: "File", at: Position, directory: Path, name: str) -> Path | None:
    """The path of `name` if it is a file that can be read, else None with the error reported."""
    path = Path(resolve_path(directory, name))
    try:
        with open_regular(path):
            return path
    except OSError as error:
        what, fix = unreadable(error)
        file.error(at, f"{path}: {what}", fix)
        return None


def check_secret(file: "File", at: Position, directory: Path, name: str) -> Path | None:
    """A file with a secret: not for others to read, not for the group to write.

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
    link = path.parent.stat().st_mode
    if link & stat.S_IWOTH and not link & stat.S_ISVTX:
        file.error(at, f"{path.parent}: anyone may replace this secret", f"chmod o-w {path.parent}")
    return path


def check_credential(file: "File", at: Position, directory: Path, name: str, noun: str) -> None:
    """A file with a password or an access token and nothing else, as a secret's file. noun: password | token."""
    path = check_secret(file, at, directory, name)
    octets = None if path is None else _read(file, at, path)
    if octets is None:
        return
    try:
        value = octets.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        file.error(at, f"{path}: not UTF-8", f"write the {noun} to it, as UTF-8")
        return
    if not value:
        file.error(at, f"{path}: the file is empty", f"write the {noun} to it")
    elif noun == "token" and not is_token(value):
        file.error(at, f"{path}: the file holds no access token alone", "write the token to it and nothing else")
    elif set(value) & {"\0", "\r", "\n"}:
        file.error(at, f"{path}: the {noun} is more than one line", f"write the {noun} to it on one line")


def check_users(file: "File", at: Position, directory: Path, name: str) -> None:
    """A users file, as the listener reads it, as a secret's file."""
    path = check_secret(file, at, directory, name)
    if path is None:
        return
    try:
        read_users(path)
    except OSError as error:
        what, fix = unreadable(error)
        file.error(at, f"{path}: {what}", fix)
    except UsersFileError as error:
        fix = f"`agiris-relay users add NAME` prints a line for {name}"
        file.error(at, f"{path}: {error}", fix)


def _read(file: "File", at: Position, path: Path) -> bytes | None:
    try:
        return read_whole(path)
    except OSError as error:
        what, fix = unreadable(error)
        file.error(at, f"{path}: {what}", fix)
        return None


def check_certificate(file: "File", at: Position, path: Path, hostname: str | None) -> None:
    """Warnings on a certificate that TLS clients would not accept. hostname: of relay.yaml, None when it says none."""
    try:
        certificate = read_certificate(path)
    except (OSError, ValueError):
        return  # `check_pair` reports it
    now = time.time()
    if certificate.not_after < now:
        file.warning(at, f"{path}: the certificate expired on {_day(certificate.not_after)}", "renew it")
    if certificate.not_before > now:
        what = f"{path}: the certificate is not valid before {_day(certificate.not_before)}"
        file.warning(at, what, "correct the clock of this machine, or get a certificate that is valid now")
    if hostname is not None and not certificate.is_for(hostname):
        names = ", ".join(certificate.names[:5]) or "no host name"
        what = f"{path}: the certificate is for {names}, not for {hostname} (hostname)"
        file.warning(at, what, "get a certificate for the name that the platform connects to")


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def check_pair(file: "File", at: Position, certificate: Path, key: Path) -> None:
    """A certificate chain and its private key, as the listener loads them: PEM, and of each other."""
    before = signature(certificate), signature(key)
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
        return  # gone since it was checked: the listener reports it
    if (signature(certificate), signature(key)) != before:
        file.error(at, f"{certificate}: the file changed while it was read", "try again once it is saved")


def _no_password() -> str:
    """Nobody is there to type one; without this OpenSSL would ask on the terminal."""
    return ""


def check_key(file: "File", at: Position, directory: Path, name: str) -> None:
    """A private key that signs messages: RSA or Ed25519, as a secret's file."""
    path = check_secret(file, at, directory, name)
    if path is None:
        return
    octets = _read(file, at, path)
    if octets is None:
        return
    try:
        bits = weak(octets)
    except BadKey as error:
        file.error(at, f"{path}: {error}", f"openssl genrsa -out {name} {RSA_WANTED}")
        return
    if bits:
        what = f"{path}: an RSA key of {bits} bits is weak: some receivers ignore its signatures"
        file.warning(at, what, f"openssl genrsa -out {name} {RSA_WANTED}")
