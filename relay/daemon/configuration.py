"""The configuration's life: read at start, read again on SIGHUP, and what else must follow it."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from relay.daemon.signing import Signing
from relay.daemon.start import CONFIG_FAULT, NotStarted
from relay.daemon.terms import InForce
from relay.daemon.watch import PENDING
from relay.ops.certificate import expiry
from relay.ops.events import Event
from relay.ops.log import configure, event_log
from relay.ops.metrics import Metrics
from relay.settings.settings import Settings
from relay.smtpd import Door, PostFault
from relay.spool.port import Query, Spool, SpoolError
from relay.workers import Pool

MAX_WARNED = 20


class Configuration:
    """in_force: settings and directory. signing: the DKIM key in force. trouble: why the files are not what is."""

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self.in_force = InForce(folder)
        self.signing = Signing()
        self.trouble: str | None = None
        self._metrics = metrics

    @property
    def settings(self) -> Settings:
        """What is in force now."""
        return self.in_force.settings

    async def first(self) -> Settings:
        """Read the folder at start. Raises NotStarted with every fault."""
        result = await self.in_force.reload()
        if not result.ok:
            raise NotStarted(CONFIG_FAULT, *(str(fault) for fault in (*result.faults, *result.warnings)))
        settings = self.settings
        configure(settings.log.level, settings.log.format, on_fault=self._metrics.fault)
        if (useless := await self.signing.take(settings.dkim)) is not None:
            raise NotStarted(CONFIG_FAULT, useless)
        for fault in result.warnings:
            event_log(Event.CONFIG_WARNING, fault=str(fault))
        self._count(settings)
        return settings

    async def reload(self, spool: Spool, pool: Pool, door: Door) -> bool:
        """The new configuration whole, or none of it; whether it, its keys and its certificates are in force."""
        before = frozenset(self.settings.terms.clients)
        result = await self.in_force.reload()
        for warning in result.warnings:
            event_log(Event.CONFIG_WARNING, fault=str(warning))
        if not result.ok:
            return self._failed(str(fault) for fault in result.faults)
        clients = self.settings.terms.clients
        self._follow(spool, pool)
        if (useless := await self._renew_secrets(door)) is not None:
            return self._failed([useless])
        await self._warn_of_removed(spool, before - clients.keys())
        self.trouble = None
        event_log(Event.RELOADED, clients=len(clients), files_read=result.reread)
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

    async def _renew_secrets(self, door: Door) -> str | None:
        """Certificates, users and the DKIM key, read again; the first that cannot be used. The old one stays then."""
        try:
            door.reload()
        except PostFault as error:
            return str(error)
        return await self.signing.take(self.settings.dkim)

    async def _warn_of_removed(self, spool: Spool, removed: Collection[str]) -> None:
        """A client that is gone from the YAML may have mail on its way: it keeps its old route."""
        for key in sorted(removed)[:MAX_WARNED]:
            firm, _, dossier = key.partition("/")
            with suppress(SpoolError):
                waiting = await spool.find(Query(frozenset(PENDING), dossier, firm))
                if waiting:
                    text = f'client "{key}" removed; {len(waiting)} queued mails keep their old route'
                    event_log(Event.CONFIG_WARNING, fault=text)
