"""load(): the folder of relay.yaml to Settings, or every fault in it. Blocks; the daemon uses `current` instead."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from relay.report import Severity
from relay.settings import nodes, text
from relay.settings.check_clients import Clients, names
from relay.settings.check_relay import check_relay
from relay.settings.crossing import Crossing
from relay.settings.faults import TOP, Fault, Faults
from relay.settings.firm_reader import FirmKept, FirmRead, FirmReader, parsed
from relay.settings.inherit import Layer
from relay.settings.resolve import settings
from relay.settings.schema import RelayYaml
from relay.settings.settings import Settings
from relay.settings.validate import File

RELAY, FIRMS = "relay.yaml", "firms"


@dataclass(frozen=True, slots=True)
class Loaded:
    """settings: None when a fault is an error. faults: sorted, at most 50 and then a count; warnings among them.

    firms: what stands in the files of the firms, in their order; empty without settings.
    """

    settings: Settings | None
    faults: tuple[Fault, ...] = ()
    firms: tuple[FirmRead, ...] = ()

    @property
    def warnings(self) -> tuple[Fault, ...]:
        return tuple(fault for fault in self.faults if fault.severity is not Severity.ERROR)


def load(directory: Path, known: Mapping[str, FirmKept] = MappingProxyType({})) -> Loaded:
    """Read `directory`/relay.yaml and `directory`/firms/*.yaml whole. Raises nothing for what a user can write.

    known: by place, what was read before. A file from which the same would come is not parsed again: `firms` says so,
    and its clients are missing from `settings.terms.clients`. All else, and the firms against each other, is checked.
    """
    faults = Faults()
    before = _signatures(directory)
    with _no_collector():
        found, firms = _load(directory, faults, known)
    for path in sorted(_changed(before, _signatures(directory))):
        faults.error(str(path), TOP, "the file changed while it was read", "try again once it is saved")
    if faults.errors:
        found, firms = None, []
    return Loaded(found, faults.listed(str(directory)), tuple(firms))


def _load(directory: Path, faults: Faults, known: Mapping[str, FirmKept]) -> tuple[Settings | None, list[FirmRead]]:
    name = str(directory / RELAY)
    octets = text.octets(directory / RELAY, name, faults)
    relay_file = parsed(octets, name, faults) if octets is not None else None
    relay = _relay(relay_file) if relay_file else None
    root = relay_file.root if relay_file else None
    clients = Clients(relay, names(root, "destinations", "agiris"), names(root, "smarthosts"))
    if relay_file and relay:
        check_relay(relay_file, relay, directory)
        clients.check_defaults(relay_file)
    top = Layer(RELAY, relay.defaults, nodes.find(relay_file.root, "defaults")) if relay_file and relay else None
    crossing = Crossing(clients.ours, faults, clients.served)
    reader = FirmReader(directory, octets or b"", top, clients, crossing)
    read = [reader.read(key, place, known.get(place), faults) for key, place in _firm_files(directory, faults)]
    crossing.finish()
    firms = [each for each in read if each is not None]
    if faults.errors or relay is None:
        return None, []
    found = (each for firm in firms for each in firm.clients or ())
    return settings(directory, relay, (each.kept.firm for each in firms), found), firms


def _signatures(directory: Path) -> dict[Path, tuple[int, ...]]:
    files = [directory / RELAY, *(directory / FIRMS).glob("*.yaml")]
    return {path: text.signature(path) for path in files}


def _changed(before: dict[Path, tuple[int, ...]], after: dict[Path, tuple[int, ...]]) -> set[Path]:
    return {path for path, _ in before.items() ^ after.items()}


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
