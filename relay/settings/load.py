"""load(): the folder of relay.yaml to Settings, or every fault in it. Blocks; the daemon uses `current` instead."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relay.report import Severity
from relay.settings import nodes, text
from relay.settings.check_clients import Clients, names
from relay.settings.check_relay import check_relay
from relay.settings.faults import TOP, Fault, Faults
from relay.settings.firm import read_firm
from relay.settings.inherit import Layer
from relay.settings.resolve import FirmParts, settings
from relay.settings.schema import RelayYaml
from relay.settings.settings import Settings
from relay.settings.validate import File

RELAY, FIRMS = "relay.yaml", "firms"


@dataclass(frozen=True, slots=True)
class Loaded:
    """settings: None when a fault is an error. faults: sorted, at most 50 and then a count; warnings among them."""

    settings: Settings | None
    faults: tuple[Fault, ...] = ()

    @property
    def warnings(self) -> tuple[Fault, ...]:
        return tuple(fault for fault in self.faults if fault.severity is not Severity.ERROR)


def load(directory: Path) -> Loaded:
    """Read `directory`/relay.yaml and `directory`/firms/*.yaml whole. Raises nothing for what a user can write."""
    faults = Faults()
    before = _signatures(directory)
    with _no_collector():
        found = _load(directory, faults)
    for path in sorted(_changed(before, _signatures(directory))):
        faults.error(str(path), TOP, "the file changed while it was read", "try again once it is saved")
    return Loaded(None if faults.errors else found, faults.listed(str(directory)))


def _load(directory: Path, faults: Faults) -> Settings | None:
    relay_file = _parse(directory, RELAY, faults)
    relay = _relay(relay_file) if relay_file else None
    if relay_file and relay:
        check_relay(relay_file, relay, directory)
    root = relay_file.root if relay_file else None
    clients = Clients(relay, names(root, "destinations", "agiris"), names(root, "smarthosts"))
    if relay_file:
        clients.check_defaults(relay_file)
    firms: list[FirmParts] = []
    for key, place in _firm_files(directory, faults):
        if (file := _parse(directory, place, faults)) is not None:
            firms.append(read_firm(file, key, place))
            clients.check(file, firms[-1])
    clients.finish()
    if faults.errors or relay is None or root is None:
        return None
    return settings(directory, relay, Layer(RELAY, relay.defaults, nodes.find(root, "defaults")), firms)


def _signatures(directory: Path) -> dict[Path, tuple[int, ...]]:
    files = [directory / RELAY, *(directory / FIRMS).glob("*.yaml")]
    return {path: text.signature(path) for path in files}


def _changed(before: dict[Path, tuple[int, ...]], after: dict[Path, tuple[int, ...]]) -> set[Path]:
    return {path for path, _ in before.items() ^ after.items()}


def _parse(directory: Path, place: str, faults: Faults) -> File | None:
    name = str(directory / place)
    content = text.read(directory / place, name, faults)
    root = nodes.parse(content, name, faults) if content is not None else None
    return None if root is None else File(name, root, faults)


def _relay(file: File) -> RelayYaml | None:
    file.tell_twice()
    return file.read(RelayYaml, file.root, nodes.plain(file.root))


def _firm_files(directory: Path, faults: Faults) -> list[tuple[str, str]]:
    """(key, place) of each firm's file, sorted."""
    folder = directory / FIRMS
    try:
        present = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        faults.error(str(folder), TOP, *text.unreadable(error))
        return []
    for name in present:
        if name.endswith(".yml"):
            faults.warning(str(folder / name), TOP, "this file is not read", "rename it to .yaml")
    firms = [name for name in present if name.endswith(".yaml")]
    if not firms:
        faults.error(str(folder), TOP, "no firm: the folder holds no .yaml file", "write one file for each firm")
    return [(name.removesuffix(".yaml"), f"{FIRMS}/{name}") for name in firms]


@contextmanager
def _no_collector() -> Iterator[None]:
    # The tree of 10,000 clients has no cycles; walking it again and again takes a third of the time.
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
