"""What relay.yaml says against itself: ports, TLS, credentials, smarthosts, the files it names."""

import ipaddress
import os
import re
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

from relay.dsn.return_path import MAX_RETURN_PATH_LOCAL
from relay.facturx.schematron import known_rules
from relay.setting_parsers import LOCAL, Endpoint, overlap
from relay.settings.issues import TOP, Position, did_you_mean
from relay.settings.secret_files import (
    check_certificate,
    check_credential,
    check_file,
    check_key,
    check_pair,
    check_secret,
    check_users,
)
from relay.settings.settings import Listener, RelayFile, Smarthost
from relay.settings.validate import File
from relay.settings.yaml_tree import Mapping, find, nearest


def check_smarthost(
    file: File, name: str, smarthost: Smarthost, endpoints: Iterable[Endpoint], directory: Path
) -> None:
    """endpoints: where this relay itself listens."""
    node = find(file.root, "smarthosts", name)
    assert isinstance(node, Mapping)
    _credentials(file, name, smarthost, node)
    for key, noun in (("password_file", "password"), ("token_file", "token")):
        if (secret := getattr(smarthost, key)) is not None:
            _in_clear(file, smarthost, node, noun)
            check_credential(file, nearest(node, key), directory, secret, noun)
    _exchangers(file, name, smarthost, node)
    for endpoint in endpoints:
        local = smarthost.host in LOCAL and overlap(smarthost.host, endpoint.host)
        if endpoint.port == smarthost.port and (smarthost.host == endpoint.host or local):
            what = f'smarthost "{name}" is this relay itself ({endpoint}): mail would loop'
            file.error(nearest(node, "host"), what, "name the mail server that delivers")


def _credentials(file: File, name: str, smarthost: Smarthost, node: Mapping) -> None:
    if smarthost.password_file is not None and smarthost.token_file is not None:
        what = f'smarthost "{name}" has a password_file and a token_file'
        file.error(nearest(node, "token_file"), what, "keep one: a token is given by XOAUTH2, a password is not")
    secret = smarthost.password_file or smarthost.token_file
    if smarthost.username is None and secret is not None:
        file.error(node.at, f'smarthost "{name}" has no "username"', "add username, or remove the other")
    if smarthost.username is not None and secret is None:
        what = f'smarthost "{name}" has no "password_file"'
        file.error(node.at, what, "add password_file (or token_file), or remove the other")


def _in_clear(file: File, smarthost: Smarthost, node: Mapping, noun: str) -> None:
    if smarthost.tls == "none":
        what = f"the {noun} would be sent in clear"
        file.error(nearest(node, "tls"), what, "set tls: required (STARTTLS) or tls: implicit")
    elif smarthost.tls == "starttls":
        what = f"the {noun} would be sent in clear to a server that offers no STARTTLS"
        file.warning(nearest(node, "tls"), what, "set tls: required or tls: implicit")


def _exchangers(file: File, name: str, smarthost: Smarthost, node: Mapping) -> None:
    if not smarthost.mx:
        if smarthost.mx_names:
            what = f'smarthost "{name}" has mx_names but no "mx"'
            file.error(nearest(node, "mx_names"), what, "add mx: true, or remove mx_names")
        return
    if _is_address(smarthost.host):
        what = f"{smarthost.host} is an address: it has no mail exchangers"
        file.error(nearest(node, "mx"), what, "write a domain as host, or remove mx")
    if find(node, "port") is None:
        what = f'mail exchangers listen on port 25, and "{name}" is sent to on {smarthost.port}'
        file.warning(nearest(node, "mx"), what, "add port: 25")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_relay(file: File, relay: RelayFile, directory: Path) -> None:
    """Faults of a relay.yaml whose keys and values are sound one by one."""
    ListenerCheck(file, relay, directory).check()
    endpoints = [listen.address for listen in relay.listen]
    for name, smarthost in relay.smarthosts.items():
        check_smarthost(file, name, smarthost, endpoints, directory)
    if not file.says("hostname"):
        what = f'no "hostname": the relay introduces itself as {relay.hostname}'
        file.warning(TOP, what, "add hostname: <public name of this machine>")
    if not matcher(relay.accept.recipients).fullmatch(relay.return_path.lower()):
        at = nearest(file.root, "return_path") if file.says("return_path") else TOP
        what = f"return_path {relay.return_path} is not among accept.recipients: late bounces would not come home"
        file.warning(at, what, "choose an address of accept.recipients")
    local = relay.return_path.rpartition("@")[0]
    if len(local) > MAX_RETURN_PATH_LOCAL:
        what = (
            f'the part before the "@" of return_path has {len(local)} characters: no room is left for the tag of a mail'
        )
        fix = f"write at most {MAX_RETURN_PATH_LOCAL} characters before the @"
        file.error(nearest(file.root, "return_path"), what, fix)
    _severities(file, relay)
    if relay.retry.ceiling < relay.retry.first:
        file.error(nearest(file.root, "retry", "ceiling"), '"ceiling" is shorter than "first"', "make it longer")
    if relay.retry.give_up <= relay.retry.warn_after:
        at = nearest(file.root, "retry", "give_up")
        file.warning(at, '"give_up" is not later than "warn_after": nobody is warned', "make it longer")
    if relay.dkim is not None:
        check_key(file, nearest(file.root, "dkim", "private_key"), directory, relay.dkim.private_key)


def _severities(file: File, relay: RelayFile) -> None:
    if not file.says("check", "severities"):
        return
    given = find(file.root, "check", "severities")
    known = known_rules()
    for rule in relay.check.severities:
        if rule not in known:
            at = given.entries[rule].at if isinstance(given, Mapping) and rule in given.entries else TOP
            what = f'no rule is called "{rule}": its severity changes nothing'
            file.warning(at, what, did_you_mean(rule, known, "The rules are"))


def matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for the patterns of `accept.recipients`; match with the address in lower case."""
    return re.compile("|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns))


class ListenerCheck:
    """`listen` and `http`."""

    def __init__(self, file: File, relay: RelayFile, directory: Path) -> None:
        self._file, self._relay, self._directory = file, relay, directory

    def check(self) -> None:
        for index, listen in enumerate(self._relay.listen):
            self._tls(index, listen)
            self._files(index, listen)
            self._open(index, listen)
        endpoints: list[tuple[Position, Endpoint, str]] = [
            (nearest(self._file.root, "listen", index, "address"), listen.address, "listener")
            for index, listen in enumerate(self._relay.listen)
        ]
        if self._relay.http is not None:
            endpoints.append((nearest(self._file.root, "http"), self._relay.http, "http"))
        for at, endpoint, _ in endpoints:
            self._privileged(at, endpoint)
        for (first_at, first, _), (at, endpoint, what) in combinations(endpoints, 2):
            if first.port == endpoint.port and overlap(first.host, endpoint.host):
                words = f"{what} {endpoint} takes the port of {first} (line {first_at.line})"
                self._file.error(at, words, "give it another port")

    def _tls(self, index: int, listen: Listener) -> None:
        at = nearest(self._file.root, "listen", index, "tls")
        for key in ("certificate", "private_key"):
            if listen.tls != "none" and getattr(listen, key) is None:
                what = f'listener {listen.address} has tls: {listen.tls} but no "{key}"'
                self._file.error(at, what, f"add {key}: <file>")
        if listen.users_file and listen.tls == "none":
            at = nearest(self._file.root, "listen", index, "users_file")
            what = f"listener {listen.address} has users but tls: none: AUTH is offered over TLS only"
            self._file.error(at, what, "set tls: starttls, or remove users_file")

    def _open(self, index: int, listen: Listener) -> None:
        """Whether anyone on the Internet may submit messages here."""
        if listen.address.host in LOCAL and not listen.proxy_protocol:
            return
        networks = [ipaddress.ip_network(each) for each in listen.allow_networks]
        four = [each for each in networks if isinstance(each, ipaddress.IPv4Network)]
        six = [each for each in networks if isinstance(each, ipaddress.IPv6Network)]
        whole = [str(each) for each in ipaddress.collapse_addresses(four) if each.prefixlen == 0]
        whole += [str(each) for each in ipaddress.collapse_addresses(six) if each.prefixlen == 0]
        for each in whole:
            at = nearest(self._file.root, "listen", index, "allow_networks")
            what = f"listener {listen.address}: allow_networks holds {each}: anyone may send without AUTH"
            fix = "name the networks of the platform, or demand AUTH: allow_networks: [] and users_file"
            self._file.warning(at, what, fix)

    def _files(self, index: int, listen: Listener) -> None:
        def at(key: str) -> Position:
            return nearest(self._file.root, "listen", index, key)

        chain = key = None
        if listen.certificate:
            chain = check_file(self._file, at("certificate"), self._directory, listen.certificate)
        if listen.private_key:
            key = check_secret(self._file, at("private_key"), self._directory, listen.private_key)
        if chain is not None and key is not None:
            check_pair(self._file, at("certificate"), chain, key)
        if chain is not None and listen.tls != "none":
            hostname = self._relay.hostname if self._file.says("hostname") else None
            check_certificate(self._file, at("certificate"), chain, hostname)
        if listen.users_file:
            check_users(self._file, at("users_file"), self._directory, listen.users_file)

    def _privileged(self, at: Position, endpoint: Endpoint) -> None:
        if endpoint.port < _first_free_port() and not _may_bind_low():
            what = f"port {endpoint.port} needs CAP_NET_BIND_SERVICE, which this process does not have"
            self._file.warning(at, what, "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or a port above 1023")


def _first_free_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024


def _may_bind_low() -> bool:
    if os.geteuid() == 0:
        return True
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return False
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return bool(effective and int(effective[1], 16) & 1 << 10)
