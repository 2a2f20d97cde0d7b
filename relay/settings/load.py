"""load(): the folder of relay.yaml to Settings, or every fault in it. Blocks; the daemon uses `current` instead."""

import gc
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from relay.inspection import Severity
from relay.routing.policy import Client, Destination, Firm, Terms
from relay.setting_parsers import InvalidValue, spool_url
from relay.setting_types import Section
from relay.settings import yaml_file, yaml_tree
from relay.settings.check_clients import ClientCheck
from relay.settings.check_relay import check_relay
from relay.settings.firm_file import FirmKept, FirmRead, FirmReader, Layer, parsed
from relay.settings.issues import TOP, ConfigIssue, ConfigIssues
from relay.settings.settings import DaemonSettings, RelayFile, Settings, resolve_path
from relay.settings.uniqueness import UniquenessCheck
from relay.settings.validate import File

S = TypeVar("S", bound=Section)

RELAY, FIRMS = "relay.yaml", "firms"
_SPOOL_LINE = re.compile(r"^spool:[ \t]*(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Loaded:
    """settings: None when a fault is an error. faults: sorted, at most 50 and then a count; warnings among them.

    firms: what stands in the files of the firms, in their order; empty without settings. errors, warned: how many there
    are, also of those that `faults` only counts.
    """

    settings: Settings | None
    faults: tuple[ConfigIssue, ...] = ()
    firms: tuple[FirmRead, ...] = ()
    errors: int = 0
    warned: int = 0

    @property
    def warnings(self) -> tuple[ConfigIssue, ...]:
        return tuple(fault for fault in self.faults if fault.severity is not Severity.ERROR)


def load(directory: Path, known: Mapping[str, FirmKept] = MappingProxyType({})) -> Loaded:
    """Read `directory`/relay.yaml and `directory`/firms/*.yaml whole. Raises nothing for what a user can write.

    known: by place, what was read before. A file from which the same would come is not parsed again: `firms` says so,
    and its clients are missing from `settings.terms.clients`. All else, and the firms against each other, is checked.
    """
    faults = ConfigIssues()
    before = _signatures(directory)
    with _no_collector():
        found, firms = _load(directory, faults, known)
    for path in sorted(_changed(before, _signatures(directory))):
        faults.error(str(path), TOP, "the file changed while it was read", "try again once it is saved")
    if faults.errors:
        found, firms = None, []
    return Loaded(found, faults.listed(str(directory)), tuple(firms), faults.errors, faults.warnings)


def load_relay(directory: Path) -> Loaded:
    """As `load`, but the files of the firms are not read: the settings have no firm and no client."""
    faults = ConfigIssues()
    found, _ = _load(directory, faults, {}, firms=False)
    return Loaded(found, faults.listed(str(directory)), (), faults.errors, faults.warnings)


@dataclass(frozen=True, slots=True)
class SpoolKey:
    """url: of the spool that relay.yaml names; None: unknown, because of the `faults`."""

    url: str | None
    faults: tuple[ConfigIssue, ...] = ()


def load_spool_key(directory: Path) -> SpoolKey:
    """The key `spool` of `directory`/relay.yaml alone, whatever is wrong elsewhere in the configuration."""
    name, faults = str(directory / RELAY), ConfigIssues()
    octets = yaml_file.octets(directory / RELAY, name, faults)
    if octets is None:
        return SpoolKey(None, faults.listed(str(directory)))
    file = parsed(octets, name, ConfigIssues())
    at, value = TOP, next(setting.default for setting in RelayFile.settings() if setting.key == "spool")
    if file is not None:
        node = yaml_tree.find(file.root, "spool")
        if node is not None:
            at, value = node.at, node.text if isinstance(node, yaml_tree.Scalar) else ""
    elif given := _SPOOL_LINE.findall(octets.decode("utf-8", "replace")):
        value = given[0].strip("\"'") if len(given) == 1 else ""
    try:
        return SpoolKey(spool_of(directory, spool_url(value)))
    except InvalidValue as bad:
        faults.error(name, at, bad.what, bad.fix)
        return SpoolKey(None, faults.listed(str(directory)))


def _load(
    directory: Path, faults: ConfigIssues, known: Mapping[str, FirmKept], *, firms: bool = True
) -> tuple[Settings | None, list[FirmRead]]:
    name = str(directory / RELAY)
    octets = yaml_file.octets(directory / RELAY, name, faults)
    relay_file = parsed(octets, name, faults) if octets is not None else None
    relay = _relay(relay_file) if relay_file else None
    clients = ClientCheck(relay_file, relay)
    if relay_file and relay:
        check_relay(relay_file, relay, directory)
        clients.check_defaults(relay_file)
    top = Layer(RELAY, relay.defaults, yaml_tree.find(relay_file.root, "defaults")) if relay_file and relay else None
    uniqueness = UniquenessCheck(clients.ours, faults, clients.served)
    reader = FirmReader(directory, octets or b"", top, clients, uniqueness)
    places = _firm_files(directory, faults) if firms else []
    read = [reader.read(key, place, known.get(place), faults) for key, place in places]
    uniqueness.finish()
    sound = [each for each in read if each is not None]
    if relay_file and relay and len(read) > 1 and relay.defaults.operator is None:
        at = yaml_tree.nearest(relay_file.root, "defaults")
        what = 'no "operator" under "defaults": nobody is notified of a message whose client is unknown'
        relay_file.warning(at, what, "add defaults: {operator: <your address>}")
    if faults.errors or relay is None:
        return None, []
    found = (each for firm in sound for each in firm.clients or ())
    return _settings(directory, relay, (each.kept.firm for each in sound), found), sound


def _settings(directory: Path, relay: RelayFile, firms: Iterable[Firm], clients: Iterable[Client]) -> Settings:
    """The Settings of files that have no error: the files they name with absolute paths, names where they belong."""
    daemon = {name: getattr(relay, name) for name in DaemonSettings.__dataclass_fields__}
    smarthosts = relay.smarthosts.items()
    daemon |= {
        "listen": tuple(_with_paths(directory, listener) for listener in relay.listen),
        "smarthosts": {name: replace(_with_paths(directory, smarthost), name=name) for name, smarthost in smarthosts},
        "dkim": relay.dkim and _with_paths(directory, relay.dkim),
        "spool": spool_of(directory, relay.spool),
    }
    terms = Terms(
        hostname=relay.hostname,
        recipients=relay.accept.recipients,
        identify=relay.identify,
        check=relay.check,
        destinations={"agiris": Destination()}
        | {name: replace(destination, name=name) for name, destination in relay.destinations.items()},
        firms={firm.key: firm for firm in firms},
        clients={client.key: client for client in clients},
        return_path=relay.return_path,
        kinds=relay.kinds,
    )
    return Settings(terms, relay.defaults.operator, **daemon)


def _with_paths(directory: Path, section: S) -> S:
    """`section` with an absolute path for each file it names."""
    named = [setting.field for setting in section.settings() if setting.names_file]
    given = {name: getattr(section, name) for name in named}
    paths = {name: resolve_path(directory, value) for name, value in given.items() if value is not None}
    return replace(section, **paths)  # type: ignore[type-var]  # every section is a dataclass


def spool_of(directory: Path, url: str) -> str:
    """`url` as relay.yaml in `directory` means it: with an absolute path."""
    path = url.removeprefix("sqlite:")
    return url if path.startswith("///") else f"sqlite://{(directory / path).absolute()}"


def _signatures(directory: Path) -> dict[Path, tuple[int, ...]]:
    return {path: yaml_file.signature(path) for path in (directory / RELAY, *firm_files(directory))}


def firm_files(directory: Path) -> tuple[Path, ...]:
    """The files of the firms; none when the folder cannot be entered, which reading them says better."""
    try:
        return tuple((directory / FIRMS).glob("*.yaml"))
    except OSError:
        return ()


def _changed(before: dict[Path, tuple[int, ...]], after: dict[Path, tuple[int, ...]]) -> set[Path]:
    return {path for path, _ in before.items() ^ after.items()}


def _relay(file: File) -> RelayFile | None:
    file.report_duplicate_keys()
    return file.read(RelayFile, file.root)


def _firm_files(directory: Path, faults: ConfigIssues) -> list[tuple[str, str]]:
    """(key, place) of each firm's file, sorted."""
    folder = directory / FIRMS
    try:
        present = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        faults.error(str(folder), TOP, *yaml_file.unreadable(error))
        return []
    for name in present:
        if name.lower().endswith((".yml", ".yaml")) and not name.endswith(".yaml"):
            what = "this file is not read: a reload would drop its clients"
            faults.error(str(folder / name), TOP, what, "rename it to .yaml, or move it out of this folder")
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
