"""A setting's value from the text as typed: nothing is guessed, and every error says how to write the value."""

import ipaddress
import re
import unicodedata
from typing import NamedTuple

INVISIBLE = "\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff"
"""Characters that cannot be seen, for a character class."""

_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_QUANTITY = re.compile(r"(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([^\W\d]*)")
_DURATIONS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DOUBLED = {str(digit): digit * 2 - 9 * (digit > 4) for digit in range(10)}
_GIVE_DURATION = "give a unit: s, min, h or d (for example 5 d)"
_GIVE_SIZE = "give a unit: KiB, MiB or GiB (for example 50 MiB)"


class InvalidValue(ValueError):
    """Not a value of this type. what, fix: as in a ConfigIssue; "{key}" in `what` stands for the key."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


def boolean(text: str) -> bool:
    """`true` or `false`, nothing else: YAML's yes/no/on/off mean different things to different programs."""
    if text in ("true", "false"):
        return text == "true"
    guess = "true" if text.lower() in ("yes", "oui", "on", "y", "o", "1", "true", "vrai") else "false"
    raise InvalidValue(f'"{{key}}" must be true or false, got "{text}"', f"write {guess}")


def text(value: str) -> str:
    """One line of free text."""
    if "${" in value:
        raise InvalidValue('"{key}" holds "${…}": environment variables are not read here', "write the value out")
    if not value.strip():
        raise InvalidValue('"{key}" is empty', "write a value, or remove the key")
    return value.strip()


def name(value: str) -> str:
    """A name that others refer to: no white space, no slash."""
    if _PLAIN_NAME.fullmatch(value):
        return value
    visible(value)
    if not _NAME.fullmatch(text(value)):
        raise InvalidValue(
            f'"{value}" is not a name for "{{key}}"', "use letters, digits, dots, hyphens; no space, no slash"
        )
    return value


def visible(value: str) -> str:
    """Refuse what cannot be seen."""
    if not value.isascii() and (match := _INVISIBLE.search(value)) is not None:
        raise InvalidValue(f'invisible character U+{ord(match[0]):04X} in "{{key}}"', "type the value again")
    return value


def integer(value: str, low: int = 1, high: int = 10**9) -> int:
    if re.fullmatch(r"-?[0-9]{1,12}", value) is None:
        raise InvalidValue(f'"{{key}}" must be a whole number, got "{value}"', "write digits only")
    if not low <= int(value) <= high:
        raise InvalidValue(f'"{{key}}" must be {low}-{high}, got {value}', f"write a number from {low} to {high}")
    return int(value)


def number(value: str) -> float:
    """A factor of at least 1."""
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", value) is None or not 1 <= float(value) <= 100:
        raise InvalidValue(f'"{{key}}" must be a number from 1 to 100, got "{value}"', "write for example 2")
    return float(value)


def duration(value: str) -> float:
    """Seconds. `10 s`, `5 min`, `4 h`, `30 d`."""
    amount, unit = _quantity(value, "a duration", _GIVE_DURATION)
    if unit not in _DURATIONS:
        raise InvalidValue(f'"{value}" is not a duration: unit {unit or "missing"}', _GIVE_DURATION)
    if amount <= 0:
        raise InvalidValue(f'"{{key}}" must be longer than nothing, got "{value}"', "write for example 5 min")
    return amount * _DURATIONS[unit]


def size(value: str) -> int:
    """Octets. `50 MiB`, `20 MB`."""
    amount, unit = _quantity(value, "a size", _GIVE_SIZE)
    if unit not in _SIZES:
        raise InvalidValue(f'"{value}" is not a size: unit {unit or "missing"}', _GIVE_SIZE)
    if amount <= 0:
        raise InvalidValue(f'"{{key}}" must be more than nothing, got "{value}"', "write for example 50 MiB")
    return int(amount * _SIZES[unit])


def _quantity(value: str, what: str, fix: str) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(value.strip())
    if match is None:
        raise InvalidValue(f'"{value}" is not {what}', fix)
    return float(match[1]), match[2]


def digits(value: str, length: int, called: str) -> str:
    if value.isascii() and value.isdigit() and len(value) == length:
        return value
    bare = re.sub(r"[\s\u00a0\u202f]", "", value)
    if re.fullmatch(rf"[0-9]{{{length}}}", bare) is None:
        raise InvalidValue(
            f'"{value}" is not a {called}: {length} digits are needed', f"write the {length} digits, in quotes"
        )
    return bare


def siren(value: str) -> str:
    """Nine digits; spaces are taken out. The check digit is not a matter of type (La Poste, test data)."""
    return digits(value, 9, "SIREN")


def siret(value: str) -> str:
    return digits(value, 14, "SIRET")


def spool_url(value: str) -> str:
    """`sqlite:///absolute/path` or `sqlite:path` (from the folder of relay.yaml)."""
    if re.fullmatch(r"sqlite:(///[^\s/][^\s]*|[^\s/][^\s]*)", value) is None:
        raise InvalidValue(f'"{value}" is not a spool', "write sqlite:///var/lib/agiris-relay/spool.db")
    return value


def luhn(value: str) -> bool:
    """Does the check digit of a SIREN or SIRET hold?"""
    return (sum(map(int, value[-1::-2])) + sum(map(_DOUBLED.__getitem__, value[-2::-2]))) % 10 == 0


def fold(value: str) -> str:
    """Twins fall together: case and Unicode form (RFC 5321 leaves the local part to the host; people do not)."""
    if value.isascii():
        return value.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).casefold())


def as_duration(seconds: float) -> str:
    """`seconds` in the largest unit that leaves a whole number: what `duration` reads back."""
    for unit in ("d", "h", "min", "s"):
        if seconds % _DURATIONS[unit] == 0:
            return f"{seconds / _DURATIONS[unit]:.0f} {unit}"
    return f"{seconds:g} s"


def as_size(octets: int) -> str:
    """`octets` in the largest unit that leaves a whole number: what `size` reads back."""
    unit = next((unit for unit in ("GiB", "MiB", "KiB") if octets % _SIZES[unit] == 0), "B")
    return f"{octets // _SIZES[unit]} {unit}"


_DOMAINS: dict[str, str] = {}
"""Domains read before, as written and in lower case: the addresses of many clients share few domains."""
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_NAME = re.compile(r"[^\s/\"'\\]{1,128}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._+-]{1,128}")
_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9_+-]{1,64}(?:\.[A-Za-z0-9_+-]{1,64})*")

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
        raise InvalidValue(
            f'"{value}" is not a host name: "{_foreign(value)}" is not ASCII', "write it in its xn-- form"
        )
    labels = value.split(".")
    if len(value) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidValue(f'"{value}" is not a host name', "write a name such as relay.cabinet.example")
    if labels[-1].isdigit():
        raise InvalidValue(
            f'"{value}" is not a host name but looks like an IP address', "write a name, or a whole IP address"
        )
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
        raise InvalidValue(f'"{value}" is not a host', 'write the host only; its port goes into "port"')
    return hostname(value)


def exchanger(value: str) -> str:
    """A host name, or `*.domain` (RFC 8461 §4.1)."""
    head, _, rest = value.partition(".")
    if head != "*":
        if "*" in value:
            raise InvalidValue(
                f'"{value}" is not the name of an exchanger', 'the only wildcard is "*." at the beginning'
            )
        return hostname(value)
    if "." not in rest:
        raise InvalidValue(f'"{value}" would trust the whole world', 'name the provider: "*.provider.example"')
    return f"*.{hostname(rest)}"


def _no_scheme(value: str) -> None:
    if (scheme := re.match(r"[A-Za-z+]+://", value)) is not None:
        raise InvalidValue(f'"{value}" is not a host', f"write the host only, without {scheme[0]}")


def port(value: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", value) is None or not 1 <= int(value) <= 65535:
        raise InvalidValue(f'port must be 1-65535, got "{value}"', "write a number from 1 to 65535")
    return int(value)


def endpoint(value: str) -> Endpoint:
    """`127.0.0.1:2525`, `[::1]:2525`, `localhost:2525`."""
    _no_scheme(value)
    left, colon, right = value.rpartition(":")
    if not colon or not left:
        raise InvalidValue(
            f'"{value}" is not host:port', 'write for example "127.0.0.1:2525" (all addresses: "0.0.0.0:2525")'
        )
    if ":" in left and not left.startswith("["):
        raise InvalidValue(f'"{value}": an IPv6 address stands in brackets', f'write "[{left}]:{right}"')
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
        raise InvalidValue(f'"{value}" is not a network', 'write for example "192.0.2.0/24"') from None
    raise InvalidValue(f'"{value}" is not a network: it has bits right of the mask', f'write "{whole}"')


def address(value: str) -> str:
    """An e-mail address (RFC 5321 §4.1.2, dot-string local part), its domain in lower case."""
    local, at, domain = value.rpartition("@")
    if domain in _DOMAINS and len(local) <= 64 and len(value) <= 254 and _PLAIN_LOCAL.fullmatch(local):
        return f"{local}@{_DOMAINS[domain]}"
    visible(value)
    if "<" in value or value.endswith(">"):
        raise InvalidValue(f'"{value}" is not an e-mail address', "write the address only, without the name")
    if re.search(r"\s", value):
        raise InvalidValue(f'"{value}" is not an e-mail address: it has a space', "write the address only")
    if not at:
        raise InvalidValue(f'"{value}" is not an e-mail address: no "@"', "write the whole address, name@domain")
    if "@" in local:
        raise InvalidValue(f'"{value}" is not an e-mail address: two "@"', "write one address")
    if not value.isascii():
        raise InvalidValue(
            f'"{value}" is not an e-mail address: "{_foreign(value)}" is not ASCII', "write it without accents"
        )
    if _ATOM.fullmatch(local) is None or len(local) > 64 or len(value) > 254:
        raise InvalidValue(
            f'"{value}" is not an e-mail address: "{local}" before the "@"', "correct the part before the @"
        )
    return f"{local}@{_domain(value, domain)}"


def _domain(value: str, domain: str) -> str:
    if domain.endswith("."):
        raise InvalidValue(f'"{value}" is not an e-mail address: it ends with a dot', "remove the dot at the end")
    try:
        name = hostname(domain)
    except InvalidValue:
        raise InvalidValue(
            f'"{value}" is not an e-mail address: "{domain}" is not a domain', "correct the domain"
        ) from None
    if len(_DOMAINS) < 1000:
        _DOMAINS[domain] = name
    return name


def pattern(value: str) -> str:
    """What is relayed for: `*@domain`, `*@*.domain` or an address; lower case."""
    local, at, domain = value.rpartition("@")
    if not at:
        raise InvalidValue(f'"{value}" is not a pattern: no "@"', 'write "*@domain" or a whole address')
    if "*" in domain and "." not in domain.rpartition("*")[2].lstrip("."):
        raise InvalidValue(
            f'"{value}" would relay for the whole world: an open relay', 'name the domain: "*@export.example"'
        )
    if "?" in value:
        raise InvalidValue(f'"{value}" is not a pattern: "?"', 'the only wildcard is "*"')
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


def header_name(value: str) -> str:
    """Name of a header field (RFC 5322 §2.2), lower case."""
    if value.isascii() and value.isprintable() and value and not set(value) & {":", " "}:
        return value.lower()
    raise InvalidValue(f'"{value}" is not the name of a header field', "write for example X-Dossier, without the colon")


def media_type(value: str) -> str:
    """`application/pdf`, lower case."""
    kind, slash, subtype = value.lower().partition("/")
    if slash and kind and subtype and value.isascii() and not set(value) & set(" ;,"):
        return value.lower()
    raise InvalidValue(f'"{value}" is not a media type', "write for example application/pdf")
