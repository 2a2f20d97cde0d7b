"""The types of a value that names a host, a port, a network or a mailbox; readers as in `scalars`."""

import ipaddress
import re
from typing import NamedTuple

from relay.settings.scalars import Bad, visible

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")

ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound
LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


class Endpoint(NamedTuple):
    """host: a name or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def hostname(value: str) -> str:
    """A host name (RFC 1123 §2.1), lower case."""
    visible(value)
    _no_scheme(value)
    if not value.isascii():
        raise Bad(f'"{value}" is not a host name: "{_foreign(value)}" is not ASCII', "write it in its xn-- form")
    labels = value.split(".")
    if len(value) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Bad(f'"{value}" is not a host name', "write a name such as relay.cabinet.example")
    if labels[-1].isdigit():
        raise Bad(f'"{value}" is not a host name but looks like an IP address', "write a name, or a whole IP address")
    return value.lower()


def host(value: str) -> str:
    """A host name or an IP address (IPv6 with or without brackets)."""
    _no_scheme(value)
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    if ":" in value:
        raise Bad(f'"{value}" is not a host', 'write the host only; its port goes into "port"')
    return hostname(value)


def exchanger(value: str) -> str:
    """A host name, or `*.domain` (RFC 8461 §4.1)."""
    head, _, rest = value.partition(".")
    if head != "*":
        if "*" in value:
            raise Bad(f'"{value}" is not the name of an exchanger', 'the only wildcard is "*." at the beginning')
        return hostname(value)
    if "." not in rest:
        raise Bad(f'"{value}" would trust the whole world', 'name the provider: "*.provider.example"')
    return f"*.{hostname(rest)}"


def _no_scheme(value: str) -> None:
    if (scheme := re.match(r"[A-Za-z+]+://", value)) is not None:
        raise Bad(f'"{value}" is not a host', f"write the host only, without {scheme[0]}")


def port(value: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", value) is None or not 1 <= int(value) <= 65535:
        raise Bad(f'port must be 1-65535, got "{value}"', "write a number from 1 to 65535")
    return int(value)


def endpoint(value: str) -> Endpoint:
    """`127.0.0.1:2525`, `[::1]:2525`, `localhost:2525`."""
    _no_scheme(value)
    left, colon, right = value.rpartition(":")
    if not colon or not left:
        raise Bad(f'"{value}" is not host:port', 'write for example "127.0.0.1:2525" (all addresses: "0.0.0.0:2525")')
    if ":" in left and not left.startswith("["):
        raise Bad(f'"{value}": an IPv6 address stands in brackets', f'write "[{left}]:{right}"')
    return Endpoint(host(left), port(right))


def http_endpoint(value: str) -> Endpoint | None:
    """host:port, or `off`."""
    return None if value == "off" else endpoint(value)


def network(value: str) -> str:
    """`127.0.0.0/8`, `::1/128`, or one address."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        pass
    try:
        whole = str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise Bad(f'"{value}" is not a network', 'write for example "192.0.2.0/24"') from None
    raise Bad(f'"{value}" is not a network: it has bits right of the mask', f'write "{whole}"')


def address(value: str) -> str:
    """An e-mail address (RFC 5321 §4.1.2, dot-string local part), its domain in lower case."""
    visible(value)
    if "<" in value or value.endswith(">"):
        raise Bad(f'"{value}" is not an e-mail address', "write the address only, without the name")
    if re.search(r"\s", value):
        raise Bad(f'"{value}" is not an e-mail address: it has a space', "write the address only")
    local, at, domain = value.rpartition("@")
    if not at:
        raise Bad(f'"{value}" is not an e-mail address: no "@"', "write the whole address, name@domain")
    if "@" in local:
        raise Bad(f'"{value}" is not an e-mail address: two "@"', "write one address")
    if not value.isascii():
        raise Bad(f'"{value}" is not an e-mail address: "{_foreign(value)}" is not ASCII', "write it without accents")
    if _ATOM.fullmatch(local) is None or len(local) > 64 or len(value) > 254:
        raise Bad(f'"{value}" is not an e-mail address: "{local}" before the "@"', "correct the part before the @")
    return f"{local}@{_domain(value, domain)}"


def _domain(value: str, domain: str) -> str:
    if domain.endswith("."):
        raise Bad(f'"{value}" is not an e-mail address: it ends with a dot', "remove the dot at the end")
    try:
        return hostname(domain)
    except Bad:
        raise Bad(f'"{value}" is not an e-mail address: "{domain}" is not a domain', "correct the domain") from None


def pattern(value: str) -> str:
    """What is relayed for: `*@domain`, `*@*.domain` or an address; lower case."""
    local, at, domain = value.rpartition("@")
    if not at:
        raise Bad(f'"{value}" is not a pattern: no "@"', 'write "*@domain" or a whole address')
    if "*" in domain and "." not in domain.rpartition("*")[2].lstrip("."):
        raise Bad(f'"{value}" would relay for the whole world: an open relay', 'name the domain: "*@export.example"')
    if "?" in value:
        raise Bad(f'"{value}" is not a pattern: "?"', 'the only wildcard is "*"')
    address(f"{local.replace('*', 'x') or ' '}@{domain.replace('*', 'x')}")
    return value.lower()


def overlap(one: str, other: str) -> bool:
    """Do two hosts to listen on share an address?"""
    if one == other or ({one, other} <= LOCAL and "localhost" in (one, other)):
        return True
    family = [host for host in (one, other) if host not in ANY]
    if len(family) == 2:
        return False
    return "::" in (one, other) or not family or ":" not in family[0]


def _foreign(value: str) -> str:
    return next((char for char in value if not char.isascii()), "")
