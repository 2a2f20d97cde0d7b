"""The configuration's life: read at start, read again on SIGHUP, and what else must follow it."""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from relay.daemon.signing import KeyFault, Signing, read_key
from relay.daemon.start import CONFIG_FAULT, TRY_LATER, NotStarted
from relay.daemon.terms import InForce, Prepared
from relay.daemon.watch import PENDING
from relay.mail.dkim import Signer
from relay.ops.events import Event
from relay.ops.log import configure, event_log
from relay.ops.metrics import Metrics
from relay.ops.service_user import denied_configuration
from relay.settings.certificate import expiry
from relay.settings.current import free_gradually
from relay.settings.settings import Settings
from relay.smtpd import Door, ListenerFiles, PostFault
from relay.spool.port import Query, Spool, SpoolError
from relay.workers import Pool

MAX_WARNED = 20


class Configuration:
    """in_force: settings and directory. signing: the DKIM key in force. trouble: why the files are not what is."""

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder = folder
        self.in_force = InForce(folder)
        self.signing = Signing()
        self.trouble: str | None = None
        self._metrics = metrics
        self._one_at_a_time = asyncio.Lock()

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self.in_force.settings

    async def first(self) -> Settings:
        """Read the folder at start. Raises NotStarted with every fault."""
        result = await self.in_force.reload()
        if not result.ok:
            code = TRY_LATER if result.unread else CONFIG_FAULT
            lines = [str(fault) for fault in (*result.faults, *result.warnings)]
            hint = denied_configuration(lines, self._folder / "relay.yaml")
            raise NotStarted(code, *lines, *([hint] if hint else []))
        settings = self.settings
        configure(settings.log.level, settings.log.format, on_fault=self._metrics.fault)
        try:
            self.signing.use(await read_key(settings.dkim))
        except KeyFault as error:
            raise NotStarted(CONFIG_FAULT, str(error)) from error
        for fault in result.warnings:
            event_log(Event.CONFIG_WARNING, fault=str(fault))
        self._count(settings)
        return settings

    async def reload(self, spool: Spool, pool: Pool, door: Door) -> bool:
        """The new configuration whole, its certificates, users and keys too, or none of it; whether it is in force."""
        async with self._one_at_a_time:
            prepared = await self.in_force.prepare()
            for warning in prepared.result.warnings:
                event_log(Event.CONFIG_WARNING, fault=str(warning))
            if not prepared.result.ok:
                return self._failed(str(fault) for fault in prepared.result.faults)
            secrets = await _read_secrets(prepared, door)
            if isinstance(secrets, list):
                return self._failed(secrets)
            before = frozenset(self.settings.terms.clients)
            # All is read and sound. From here to the end of the swap nothing is awaited and nothing can fail.
            replaced = self.in_force.put_in_force(prepared)
            door.use(secrets[0])
            self.signing.use(secrets[1])
            self.trouble = None
            self._follow(spool, pool)
            clients = self.settings.terms.clients
            await free_gradually(replaced)
            await self._warn_of_removed(spool, before - clients.keys())
            event_log(Event.RELOADED, clients=len(clients), files_read=prepared.result.reread)
            return True

    def _failed(self, faults: Iterable[str]) -> bool:
        self._metrics.reload_failed()
        self.trouble = "the files of the configuration have faults, the one before them is in force"
        for fault in faults:
            event_log(Event.RELOAD_FAILED, fault=fault)
        event_log(Event.RELOAD_FAILED, clients=len(self.settings.terms.clients), text="the old configuration stays")
        return False

    def _follow(self, spool: Spool, pool: Pool) -> None:
        settings = self.settings
        pool.configure(settings.terms.check.workers, settings.terms.check.timeout)
        spool.ceiling = settings.retry.ceiling
        self._count(settings)

    def _count(self, settings: Settings) -> None:
        terms = settings.terms
        self._metrics.configured(len(terms.clients), len(terms.firms), terms.destinations, settings.smarthosts)
        for listener in settings.listen:
            if listener.certificate is not None:
                with suppress(OSError, ValueError):  # one that cannot be read is told of by the door
                    self._metrics.certificate(str(listener), expiry(Path(listener.certificate)))

    async def _warn_of_removed(self, spool: Spool, removed: Collection[str]) -> None:
        """A client that is gone from the YAML may have mail on its way: it keeps its old route."""
        for key in sorted(removed)[:MAX_WARNED]:
            firm, _, dossier = key.partition("/")
            with suppress(SpoolError):
                waiting = await spool.find(Query(frozenset(PENDING), dossier, firm))
                if waiting:
                    text = f'client "{key}" removed; {len(waiting)} queued mails keep their old route'
                    event_log(Event.CONFIG_WARNING, fault=text)


async def _read_secrets(prepared: Prepared, door: Door) -> tuple[tuple[ListenerFiles, ...], Signer | None] | list[str]:
    """What the files of the listeners and the DKIM key hold, read off the event loop; or why they cannot be used."""
    faults: list[str] = []
    files: tuple[ListenerFiles, ...] = ()
    key: Signer | None = None
    try:
        files = await asyncio.to_thread(door.read)
    except PostFault as error:
        faults += error.faults
    try:
        key = await read_key(prepared.settings.dkim)
    except KeyFault as error:
        faults.append(str(error))
    return faults or (files, key)
