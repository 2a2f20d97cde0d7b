"""The types of a single value, read from the text as typed: no guessing, and every refusal says how to write it.

Each reader takes the text and returns the value, or raises `Bad`. "{key}" in its words becomes the key at fault.
"""

import re
import unicodedata

from relay.settings.text import INVISIBLE

_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_QUANTITY = re.compile(r"(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([^\W\d]*)")
_DURATIONS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_GIVE_DURATION = "give a unit: s, min, h or d (for example 5 d)"
_GIVE_SIZE = "give a unit: KiB, MiB or GiB (for example 50 MiB)"


class Bad(Exception):
    """Not a value of this type. what, fix: as in a Fault."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


def boolean(text: str) -> bool:
    """`true` or `false`, nothing else: YAML's yes/no/on/off mean different things to different programs."""
    if text in ("true", "false"):
        return text == "true"
    guess = "true" if text.lower() in ("yes", "oui", "on", "y", "o", "1", "true", "vrai") else "false"
    raise Bad(f'"{{key}}" must be true or false, got "{text}"', f"write {guess}")


def text(value: str) -> str:
    """One line of free text."""
    if "${" in value:
        raise Bad('"{key}" holds "${…}": environment variables are not read here', "write the value out")
    if not value.strip():
        raise Bad('"{key}" is empty', "write a value, or remove the key")
    return value.strip()


def name(value: str) -> str:
    """A name that others refer to: no white space, no slash."""
    visible(value)
    if not re.fullmatch(r"[^\s/\"'\\]{1,128}", text(value)):
        raise Bad(f'"{value}" is not a name for "{{key}}"', "use letters, digits, dots, hyphens; no space, no slash")
    return value


def visible(value: str) -> str:
    """Refuse what cannot be seen."""
    if (match := _INVISIBLE.search(value)) is not None:
        raise Bad(f'invisible character U+{ord(match[0]):04X} in "{{key}}"', "type the value again")
    return value


def integer(value: str, low: int = 1, high: int = 10**9) -> int:
    if re.fullmatch(r"-?[0-9]{1,12}", value) is None:
        raise Bad(f'"{{key}}" must be a whole number, got "{value}"', "write digits only")
    if not low <= int(value) <= high:
        raise Bad(f'"{{key}}" must be {low}-{high}, got {value}', f"write a number from {low} to {high}")
    return int(value)


def number(value: str) -> float:
    """A factor of at least 1."""
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", value) is None or not 1 <= float(value) <= 100:
        raise Bad(f'"{{key}}" must be a number from 1 to 100, got "{value}"', "write for example 2")
    return float(value)


def duration(value: str) -> float:
    """Seconds. `10 s`, `5 min`, `4 h`, `30 d`."""
    amount, unit = _quantity(value, "a duration", _GIVE_DURATION)
    if unit not in _DURATIONS:
        raise Bad(f'"{value}" is not a duration: unit {unit or "missing"}', _GIVE_DURATION)
    if amount <= 0:
        raise Bad(f'"{{key}}" must be longer than nothing, got "{value}"', "write for example 5 min")
    return amount * _DURATIONS[unit]


def size(value: str) -> int:
    """Octets. `50 MiB`, `20 MB`."""
    amount, unit = _quantity(value, "a size", _GIVE_SIZE)
    if unit not in _SIZES:
        raise Bad(f'"{value}" is not a size: unit {unit or "missing"}', _GIVE_SIZE)
    if amount <= 0:
        raise Bad(f'"{{key}}" must be more than nothing, got "{value}"', "write for example 50 MiB")
    return int(amount * _SIZES[unit])


def _quantity(value: str, what: str, fix: str) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(value.strip())
    if match is None:
        raise Bad(f'"{value}" is not {what}', fix)
    return float(match[1]), match[2]


def digits(value: str, length: int, called: str) -> str:
    bare = re.sub(r"[\s\u00a0\u202f]", "", value)
    if re.fullmatch(rf"[0-9]{{{length}}}", bare) is None:
        raise Bad(f'"{value}" is not a {called}: {length} digits are needed', f"write the {length} digits, in quotes")
    return bare


def siren(value: str) -> str:
    """Nine digits; spaces are taken out. The check digit is not a matter of type (La Poste, test data)."""
    return digits(value, 9, "SIREN")


def siret(value: str) -> str:
    return digits(value, 14, "SIRET")


def spool_url(value: str) -> str:
    """`sqlite:///absolute/path` or `sqlite:path` (from the folder of relay.yaml)."""
    if re.fullmatch(r"sqlite:(///[^\s/][^\s]*|[^\s/][^\s]*)", value) is None:
        raise Bad(f'"{value}" is not a spool', "write sqlite:///var/lib/agiris-relay/spool.db")
    return value


def luhn(value: str) -> bool:
    """Does the check digit of a SIREN or SIRET hold?"""
    total = 0
    for index, digit in enumerate(reversed(value)):
        step = int(digit) * (1 + index % 2)
        total += step - 9 if step > 9 else step
    return total % 10 == 0


def fold(value: str) -> str:
    """Twins fall together: case and Unicode form (RFC 5321 leaves the local part to the host; people do not)."""
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
