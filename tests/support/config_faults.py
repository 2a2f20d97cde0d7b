"""A small sound configuration, and what load() says once a piece of it is replaced."""

from collections.abc import Iterable
from pathlib import Path

from relay.settings.issues import ConfigIssue
from relay.settings.load import Loaded, load

RELAY = """\
smarthosts: {default: {host: 127.0.0.1, port: 2526, tls: none}}
hostname: relay.test.example
"""

CLIENTS = """\
clients:
  - dossier: "1"
    connection: agiris
    agiris_address: a1@agiris.example
    recipients: [one@export.relay.example]
"""

FIRM = f"""\
firm: Durand
connections:
  agiris:
    original_pdf: false
{CLIENTS}"""


def write(folder: Path, relay: str | bytes = RELAY, **firms: str | bytes) -> Path:
    """Write relay.yaml and firms/<key>.yaml; the folder."""
    (folder / "firms").mkdir(exist_ok=True)
    files = {"relay.yaml": relay} | {f"firms/{key}.yaml": text for key, text in (firms or {"a": FIRM}).items()}
    for name, text in files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def reported(folder: Path, relay: str | bytes = RELAY, **firms: str | bytes) -> list[str]:
    """The faults of such a configuration as they are printed, the folder left out."""
    return lines(folder, load(write(folder, relay, **firms)))


INCOMPLETE = ('has no "operator"', 'has no "siren"', 'no "operator" under "defaults"')
"""Warnings of every configuration made here: it is as small as can be. `COMPLETE` has none."""

COMPLETE = FIRM.replace("connections:", "operator: operator@durand.example\nconnections:") + "    siren: 732829320\n"


def lines(folder: Path, loaded: Loaded) -> list[str]:
    """The faults as they are printed, the folder left out, but for `INCOMPLETE`."""
    return [str(fault).replace(f"{folder}/", "") for fault in without_incomplete(loaded.faults)]


def without_incomplete(faults: Iterable[ConfigIssue]) -> list[ConfigIssue]:
    return [fault for fault in faults if not any(each in fault.what for each in INCOMPLETE)]


def replaced(text: str, old: str, new: str) -> str:
    """`text` with `old` replaced by `new`; with an empty `old`, `new` is appended."""
    assert old in text
    return text.replace(old, new) if old else text + new
