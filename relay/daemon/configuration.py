"""The configuration's life: read at start, read again on SIGHUP, and what else must follow it."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relay.checker import CheckerPool
from relay.daemon.health import PENDING
from relay.daemon.outbound import KeyFault, Signing, read_key
from relay.daemon.start import CONFIG_FAULT, TRY_LATER, StartError
from relay.dkim.signature import Signer
from relay.observability.events import (
    ConfigurationInForce,
    ConfigurationWarning,
    Observe,
    Reloaded,
    ReloadFailed,
)
from relay.observability.log import configure
from relay.observability.systemd import denied_configuration
from relay.routing.directory import Directory
from relay.routing.policy import Client
from relay.settings.live import Candidate, CurrentSettings, ReloadResult, free_incrementally
from relay.settings.secret_files import expiry
from relay.settings.settings import Accept, Settings
from relay.smtpd import ListenerConfigError, ListenerFiles, SmtpServer
from relay.spool.port import Query, Spool, SpoolError


@dataclass(frozen=True, slots=True)
class Prepared:
    """Settings with their directory, checked and not in force. directory: None unless `result.ok`."""

    candidate: Candidate
    directory: Directory | None = None

    @property
    def result(self) -> ReloadResult:
        return self.candidate.result

    @property
    def settings(self) -> Settings:
        assert self.candidate.settings is not None
        return self.candidate.settings


class LiveSettings:
    """`settings` and `directory` always belong together; whoever acts on a message takes one of them once.

    There are none before the first reload().
    """

    settings: Settings
    directory: Directory

    def __init__(self, folder: Path) -> None:
        self._current = CurrentSettings(folder)
        self._lock = asyncio.Lock()

    def limits(self) -> Accept:
        """The limits of the SMTP server."""
        return self.settings.accept

    async def reload(self) -> ReloadResult:
        """Read the folder; when it is without fault, put it in force. Delays no session, whatever its size."""
        async with self._lock:
            prepared = await self.prepare()
            if prepared.result.ok:
                await free_incrementally(self.put_in_force(prepared))
            return prepared.result

    async def prepare(self) -> Prepared:
        """Read and check the folder; nothing changes. One call at a time."""
        candidate = await self._current.prepare()
        if candidate.settings is None:
            return Prepared(candidate)
        return Prepared(candidate, await _build_directory(candidate.settings))

    def put_in_force(self, prepared: Prepared) -> list[Client]:
        """Swap settings and directory at once; the clients replaced, for `free_incrementally`."""
        assert prepared.directory is not None
        replaced = self._current.put_in_force(prepared.candidate)
        self.settings, self.directory = prepared.settings, prepared.directory
        return replaced


async def _build_directory(settings: Settings) -> Directory:
    building = Directory.build_incrementally(settings.terms)
    while True:
        try:
            next(building)
        except StopIteration as done:
            assert isinstance(done.value, Directory)
            return done.value
        await asyncio.sleep(0)


MAX_WARNED = 20
"""Clients removed by a reload of which a warning is logged."""


class Configuration:
    """in_force: settings and directory. signing: the DKIM key in force.

    config_error: why what the files say is not in force; None when it is.
    on_internal_error: for relay.observability.log.configure.
    """

    def __init__(self, folder: Path, observe: Observe, on_internal_error: Callable[[], None]) -> None:
        self._folder = folder
        self.in_force = LiveSettings(folder)
        self.signing = Signing()
        self.config_error: str | None = None
        self._observe, self._on_internal_error = observe, on_internal_error
        self._lock = asyncio.Lock()

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self.in_force.settings

    async def first(self) -> Settings:
        """Read the folder at start. Raises StartError with every fault."""
        result = await self.in_force.reload()
        if not result.ok:
            code = TRY_LATER if result.unread else CONFIG_FAULT
            lines = [str(fault) for fault in (*result.faults, *result.warnings)]
            hint = denied_configuration(lines, self._folder / "relay.yaml")
            raise StartError(code, *lines, *([hint] if hint else []))
        settings = self.settings
        configure(settings.log.level, settings.log.format, on_internal_error=self._on_internal_error)
        try:
            self.signing.use(await read_key(settings.dkim))
        except KeyFault as error:
            raise StartError(CONFIG_FAULT, str(error)) from error
        for fault in result.warnings:
            self._observe(ConfigurationWarning(str(fault)))
        self._observe_in_force(settings)
        return settings

    async def reload(self, spool: Spool, pool: CheckerPool, smtp_server: SmtpServer) -> bool:
        """Put the new configuration in force, its certificates, users and keys too, or none of it; whether it is."""
        async with self._lock:
            prepared = await self.in_force.prepare()
            for warning in prepared.result.warnings:
                self._observe(ConfigurationWarning(str(warning)))
            if not prepared.result.ok:
                return self._failed([str(fault) for fault in prepared.result.faults])
            secrets = await _read_secrets(prepared, smtp_server)
            if isinstance(secrets, list):
                return self._failed(secrets)
            assert prepared.directory is not None
            await pool.load(prepared.directory)
            before = frozenset(self.settings.terms.clients)
            # All is read and valid. From here to the end of the swap nothing is awaited and nothing can fail.
            replaced = self.in_force.put_in_force(prepared)
            smtp_server.use(secrets[0])
            self.signing.use(secrets[1])
            self.config_error = None
            self._apply(spool, pool)
            clients = self.settings.terms.clients
            await free_incrementally(replaced)
            await self._warn_of_removed(spool, before - clients.keys())
            self._observe(Reloaded(len(clients), prepared.result.reread))
            return True

    def _failed(self, faults: Sequence[str]) -> bool:
        self.config_error = "the files of the configuration have faults, the one before them is in force"
        self._observe(ReloadFailed(faults, len(self.settings.terms.clients)))
        return False

    def _apply(self, spool: Spool, pool: CheckerPool) -> None:
        settings = self.settings
        pool.use(self.in_force.directory)
        pool.configure(settings.terms.check.workers, settings.terms.check.timeout)
        spool.ceiling = settings.retry.ceiling
        self._observe_in_force(settings)

    def _observe_in_force(self, settings: Settings) -> None:
        certificates: dict[str, float] = {}
        for listener in settings.listen:
            if listener.certificate is not None:
                with suppress(OSError, ValueError):  # the SMTP server says which cannot be read
                    certificates[str(listener)] = expiry(Path(listener.certificate))
        terms = settings.terms
        clients, firms = len(terms.clients), len(terms.firms)
        self._observe(ConfigurationInForce(clients, firms, terms.destinations, settings.smarthosts, certificates))

    async def _warn_of_removed(self, spool: Spool, removed: Collection[str]) -> None:
        """A client that is gone from the YAML may have messages in the queue: they keep their old route."""
        for key in sorted(removed)[:MAX_WARNED]:
            firm, _, dossier = key.partition("/")
            with suppress(SpoolError):
                waiting = await spool.find(Query(frozenset(PENDING), dossier, firm))
                if waiting:
                    text = f'client "{key}" removed; {len(waiting)} queued mails keep their old route'
                    self._observe(ConfigurationWarning(text))


async def _read_secrets(
    prepared: Prepared, smtp_server: SmtpServer
) -> tuple[tuple[ListenerFiles, ...], Signer | None] | list[str]:
    """What the files of the listeners and the DKIM key hold, read off the event loop; or why they cannot be used."""
    faults: list[str] = []
    files: tuple[ListenerFiles, ...] = ()
    key: Signer | None = None
    try:
        files = await asyncio.to_thread(smtp_server.read)
    except ListenerConfigError as error:
        faults += error.faults
    try:
        key = await read_key(prepared.settings.dkim)
    except KeyFault as error:
        faults.append(str(error))
    return faults or (files, key)
