"""The life of the process: start, run, reload on SIGHUP, drain on SIGTERM, stop."""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from relay.daemon.notices import Notices
from relay.daemon.routes import Routes
from relay.daemon.signing import Signing
from relay.daemon.terms import InForce
from relay.daemon.watch import Watch, housekeeping
from relay.daemon.witness import Witness
from relay.delivery import Ports, QueueManager
from relay.intake import Intake
from relay.lifecycle import Transition
from relay.mail.rewrite import render
from relay.mail.verp import verp
from relay.model import Delivery, Mail, Plan
from relay.ops.certificate import expiry
from relay.ops.events import Event
from relay.ops.http import Http
from relay.ops.lag import Lag
from relay.ops.log import configure, event_log
from relay.ops.metrics import Metrics
from relay.ops.systemd import Systemd, Watchdog
from relay.reports import status_report
from relay.settings.settings import Settings
from relay.smarthost import Smarthosts
from relay.smtpd import Door, PostFault
from relay.spool.open import open_spool
from relay.spool.port import Spool, SpoolError
from relay.workers import Pool

OK, IO_ERROR, TRY_LATER, CONFIG_FAULT = 0, 74, 75, 78
DRAIN_SECONDS = 25.0
"""Shorter than TimeoutStopSec of the unit."""


class NotStarted(Exception):
    """Why the daemon cannot run, for a person, and the exit code (sysexits.h)."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code = code


async def serve(folder: Path) -> int:
    """Run the daemon of the configuration in `folder` until it is told to stop; the exit code."""
    daemon = Daemon(folder)
    try:
        await daemon.start()
    except NotStarted as error:
        print(error, file=sys.stderr)
        await daemon.close()
        return error.code
    except Exception as error:
        event_log(Event.FAULT, where="start", exception=error)
        await daemon.close()
        return TRY_LATER
    return await daemon.until_stopped()


class Daemon:
    """Every organ of the relay, joined."""

    def __init__(self, folder: Path) -> None:
        self._in_force = InForce(folder)
        self._metrics = Metrics()
        self._witness = Witness(self._metrics)
        self._systemd = Systemd()
        self._smarthosts = Smarthosts()
        self._signing = Signing()
        self._stop = asyncio.Event()
        self._code = OK
        self._tasks: set[asyncio.Task[None]] = set()
        self._spool: Spool | None = None
        self._pool: Pool | None = None
        self._http: Http | None = None

    async def start(self) -> None:
        """Bring everything up; mails are taken when it returns. Raises NotStarted."""
        settings = await self._configured()
        self._spool = await self._opened(settings)
        self._pool = await self._checkers(settings)
        secret = await self._spool.secret()
        self._queue = QueueManager(self._spool, self._ports(secret))
        self._watch = Watch(
            spool=self._spool,
            pool=self._pool,
            queue=self._queue,
            metrics=self._metrics,
            systemd=self._systemd,
            sessions=lambda: self._door.sessions,
        )
        intake = Intake(
            directory=lambda: self._in_force.directory,
            spool=self._spool,
            checker=self._pool,
            witness=self._witness,
            stored=self._queue.remember,
            broken=self._broken,
            secret=secret,
        )
        self._door = Door(settings.listen, self._in_force.limits, intake, settings.terms.hostname, self._witness.door)
        self._witness.sessions = lambda: self._door.sessions
        self._task(self._queue.run())
        await self._listen(settings)
        self._certificates(settings)
        self._background(settings)
        self._watch_signals()
        addresses = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self._door.addresses]
        event_log(Event.STARTED, listen=addresses, http=self._http.address if self._http else None)
        # What lives as long as the daemon is no garbage: the collector need not look at 10,000 clients again and again.
        gc.collect()
        gc.freeze()
        self._systemd.ready(f"listening on {', '.join(addresses)}")

    async def until_stopped(self) -> int:
        """Wait for SIGTERM (or a broken spool), drain, put everything away; the exit code."""
        await self._stop.wait()
        self._systemd.stopping("finishing what is in hand")
        event_log(Event.STOPPING)
        await self._door.drain(DRAIN_SECONDS)
        cut = await self._queue.drain(DRAIN_SECONDS)
        await self.close()
        event_log(Event.STOPPED, unfinished=cut, code=self._code)
        return self._code

    async def close(self) -> None:
        """Let go of whatever was brought up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._smarthosts.close()
        if self._http is not None:
            await self._http.close()
        if self._pool is not None:
            await self._pool.close()
        if self._spool is not None:
            await self._spool.close()

    async def reload(self) -> None:
        """SIGHUP: the new configuration whole, or none of it."""
        self._systemd.reloading("reading the configuration")
        result = await self._in_force.reload()
        for fault in (*result.faults, *result.warnings):
            event_log(Event.RELOAD_FAILED if not result.ok else Event.RELOADED, fault=str(fault))
        if result.ok:
            self._take(self._in_force.settings)
            await self._take_key(self._in_force.settings)
        else:
            self._metrics.reload_failed()
        self._systemd.ready("running" if result.ok else "running with the old configuration: the new one has faults")
        event_log(
            Event.RELOADED if result.ok else Event.RELOAD_FAILED, clients=len(self._in_force.settings.terms.clients)
        )

    def _take(self, settings: Settings) -> None:
        """What else a new configuration changes beside `in_force`."""
        check, terms = settings.terms.check, settings.terms
        if self._pool is not None:
            self._pool.configure(check.workers, check.timeout)
        if self._spool is not None:
            self._spool.ceiling = settings.retry.ceiling
        self._metrics.configured(len(terms.clients), len(terms.firms), terms.destinations, settings.smarthosts)
        self._certificates(settings)
        try:
            self._door.reload()
        except PostFault as error:
            event_log(Event.RELOAD_FAILED, fault=str(error))
            self._metrics.reload_failed()

    async def _take_key(self, settings: Settings) -> None:
        if (fault := await self._signing.take(settings.dkim)) is not None:
            event_log(Event.RELOAD_FAILED, fault=fault)
            self._metrics.reload_failed()

    def _certificates(self, settings: Settings) -> None:
        """When the certificate of each door ends; one that cannot be read was told of by the door."""
        for listener in settings.listen:
            if listener.certificate is not None:
                with suppress(OSError, ValueError):
                    self._metrics.certificate(str(listener), expiry(Path(listener.certificate)))

    async def _configured(self) -> Settings:
        result = await self._in_force.reload()
        if not result.ok:
            raise NotStarted(CONFIG_FAULT, *(str(fault) for fault in (*result.faults, *result.warnings)))
        settings = self._in_force.settings
        configure(settings.log.level, settings.log.format, on_fault=self._metrics.fault)
        if (useless := await self._signing.take(settings.dkim)) is not None:
            raise NotStarted(CONFIG_FAULT, useless)
        for fault in result.warnings:
            event_log(Event.CONFIG_WARNING, fault=str(fault))
        terms = settings.terms
        self._metrics.configured(len(terms.clients), len(terms.firms), terms.destinations, settings.smarthosts)
        return settings

    async def _opened(self, settings: Settings) -> Spool:
        try:
            spool = await asyncio.to_thread(open_spool, settings.spool, ceiling=settings.retry.ceiling)
        except (SpoolError, ValueError) as error:
            raise NotStarted(TRY_LATER, str(error)) from error
        for notice in getattr(spool, "notices", ()):
            event_log(Event.MAIL_CORRUPT, text=notice)
        stats = await spool.stats()
        event_log(Event.SPOOL_OPENED, deliveries={state.value: number for state, number in stats.by_state.items()})
        return spool

    async def _checkers(self, settings: Settings) -> Pool:
        check = settings.terms.check
        pool = Pool(check.workers, check.timeout, on_event=self._witness.worker)
        try:
            await pool.start()
        except OSError as error:
            raise NotStarted(TRY_LATER, f"no worker process can be started: {error.strerror or error}") from error
        self._witness.self_test(pool.self_test)
        return pool

    def _ports(self, secret: bytes) -> Ports:
        routes = Routes(lambda: self._in_force.settings)
        return Ports(
            send=self._smarthosts.send,
            route=routes.route,
            render=_rendered,
            sign=self._signing.sign,
            retry=lambda: self._in_force.settings.retry,
            witness=self._witness,
            broken=self._broken,
            rate=routes.rate,
            report=self._reports,
            sender=lambda delivery, plan: _sender(delivery, plan, secret),
        )

    def _reports(self, mail: Mail, delivery: Delivery, transition: Transition) -> tuple[Mail, ...]:
        """What the platform's sender is told of a failure or a delay."""
        settings = self._in_force.settings
        reports = status_report(
            mail, delivery, transition, hostname=settings.terms.hostname, retry=settings.retry, now=time.time()
        )
        for report in reports:
            self._witness.told(transition.report or "failed", report.queue_id, 1)
        return reports

    async def _listen(self, settings: Settings) -> None:
        try:
            await self._door.start()
            if settings.http is not None:
                watch = self._watch
                self._http = Http(str(settings.http), self._metrics, watch.healthy, watch.ready, watch.scrape)
                await self._http.start()
        except OSError as error:
            addresses = ", ".join(str(listener) for listener in settings.listen)
            raise NotStarted(
                TRY_LATER, f"cannot listen ({addresses}; http {settings.http}): {error.strerror or error}"
            ) from error
        except PostFault as error:
            raise NotStarted(CONFIG_FAULT, str(error)) from error

    def _background(self, settings: Settings) -> None:
        lag = Lag()
        self._metrics.event_loop_lag(lag.worst)
        watchdog = Watchdog(self._systemd, lambda: not self._watch.healthy())
        assert self._spool is not None
        self._task(lag.run())
        self._task(watchdog.run())
        self._task(self._watch.report_status())
        self._task(Notices(self._spool, lambda: self._in_force.settings, self._witness, self._queue.notify).run())
        self._task(housekeeping(self._spool, lambda: settings.keep_delivered))

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: self._task(self.reload()))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    def _broken(self, why: str) -> None:
        """The spool can promise nothing any more: stop, so that the next start reads again what is really there."""
        if self._code == OK:
            event_log(Event.SPOOL_BROKEN, why=why)
        self._code = IO_ERROR
        self._stop.set()

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            event_log(Event.FAULT, where=task.get_name(), exception=error)


def _sender(delivery: Delivery, plan: Plan, secret: bytes) -> str:
    """A return path of its own for each delivery, so that a late bounce finds its mail; none for mails of ours."""
    if not plan.return_path:
        return ""
    return verp(plan.return_path, delivery.queue_id, delivery.number, secret)


def _rendered(mail: Mail, plan: Plan) -> list[memoryview]:
    return render(mail.raw, plan.prepend, plan.cuts)
