"""What relay.yaml says of a smarthost, beyond the type of each key: its secret, its exchangers, that it is not we."""

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from relay.settings.hosts import LOCAL, Endpoint, overlap
from relay.settings.nodes import Mapping, find, nearest
from relay.settings.schema import SmarthostYaml
from relay.settings.secret_files import check_credential
from relay.settings.validate import File


def check_smarthost(file: File, name: str, model: SmarthostYaml, doors: Iterable[Endpoint], directory: Path) -> None:
    """doors: where this relay itself listens."""
    node = find(file.root, "smarthosts", name)
    assert isinstance(node, Mapping)
    _credentials(file, name, model, node)
    for key, noun in (("password_file", "password"), ("token_file", "token")):
        if (secret := getattr(model, key)) is not None:
            _in_clear(file, model, node, noun)
            check_credential(file, nearest(node, key), directory, secret, noun)
    _exchangers(file, name, model, node)
    for door in doors:
        local = model.host in LOCAL and overlap(model.host, door.host)
        if door.port == model.port and (model.host == door.host or local):
            what = f'smarthost "{name}" is this relay itself ({door}): mail would loop'
            file.error(nearest(node, "host"), what, "name the mail server that delivers")


def _credentials(file: File, name: str, model: SmarthostYaml, node: Mapping) -> None:
    if model.password_file is not None and model.token_file is not None:
        what = f'smarthost "{name}" has a password_file and a token_file'
        file.error(nearest(node, "token_file"), what, "keep one: a token is given by XOAUTH2, a password is not")
    secret = model.password_file or model.token_file
    if model.username is None and secret is not None:
        file.error(node.at, f'smarthost "{name}" has no "username"', "add username, or remove the other")
    if model.username is not None and secret is None:
        what = f'smarthost "{name}" has no "password_file"'
        file.error(node.at, what, "add password_file (or token_file), or remove the other")


def _in_clear(file: File, model: SmarthostYaml, node: Mapping, noun: str) -> None:
    if model.tls == "none":
        what = f"the {noun} would be sent in clear"
        file.error(nearest(node, "tls"), what, "set tls: required (STARTTLS) or tls: implicit")
    elif model.tls == "starttls":
        what = f"the {noun} would be sent in clear to a server that offers no STARTTLS"
        file.warning(nearest(node, "tls"), what, "set tls: required or tls: implicit")


def _exchangers(file: File, name: str, model: SmarthostYaml, node: Mapping) -> None:
    if not model.mx:
        if model.mx_names:
            what = f'smarthost "{name}" has mx_names but no "mx"'
            file.error(nearest(node, "mx_names"), what, "add mx: true, or remove mx_names")
        return
    if _is_address(model.host):
        what = f"{model.host} is an address: it has no mail exchangers"
        file.error(nearest(node, "mx"), what, "write a domain as host, or remove mx")
    if "port" not in model.model_fields_set:
        what = f'mail exchangers listen on port 25, and "{name}" is sent to on {model.port}'
        file.warning(nearest(node, "mx"), what, "add port: 25")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
