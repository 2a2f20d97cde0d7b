"""The life of the process: start, run, reload on SIGHUP, drain on SIGTERM, stop."""

import asyncio
import gc
import signal
import sys
from functools import partial
from pathlib import Path

from relay.checker import CheckerPool
from relay.daemon.configuration import Configuration
from relay.daemon.health import HealthMonitor, housekeeping
from relay.daemon.notices import Digests, Notices
from relay.daemon.observer import log_operator_actions
from relay.daemon.outbound import Outbound
from relay.daemon.start import (
    IO_ERROR,
    OK,
    TRY_LATER,
    StartError,
    listen,
    open_the_spool,
    repeat_self_test,
    start_workers,
)
from relay.daemon.supervisor import Supervisor
from relay.intake import Intake
from relay.model import Disposition, Message
from relay.observability.events import InternalError, SignalIgnored, SpoolBroken, Started, Stopped, Stopping
from relay.observability.health import Lag
from relay.observability.http import Http
from relay.observability.metrics import Metrics
from relay.observability.observer import Observer
from relay.observability.systemd import Systemd, Watchdog
from relay.queue import QueueManager
from relay.settings.settings import Settings
from relay.smtp_client import ConnectionPools
from relay.smtpd import SmtpServer
from relay.spool.port import Spool, Stored

DRAIN_SECONDS = 25.0
"""Shorter than TimeoutStopSec of the unit."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
IGNORED_SIGNALS = (
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM),
    *(signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGXCPU),
)
"""What would end the process, though nobody asks it to stop by them: logged, and nothing else."""

GARBAGE = 5000
"""New objects between two looks for garbage, in place of 700: of a message only its session's are left, about thirty,
and each look goes over those of all messages in hand."""


async def serve(folder: Path) -> int:
    """Run the daemon of the configuration in `folder` until it is told to stop; the exit code."""
    daemon = Daemon(folder)
    try:
        await daemon.start()
    except StartError as error:
        print(error, file=sys.stderr)
        daemon.failed(str(error))
        await daemon.give_up()
        return error.code
    except Exception as error:
        daemon.observe(InternalError("start", error))
        await daemon.give_up()
        return TRY_LATER
    return await daemon.until_stopped()


class Daemon:
    """Every organ of the relay, joined."""

    def __init__(self, folder: Path) -> None:
        self._metrics = Metrics()
        self.observe = Observer(self._metrics).observe
        self._configuration = Configuration(folder, self.observe, self._metrics.internal_error)
        self._systemd = Systemd()
        self._smarthosts = ConnectionPools()
        self._stop = asyncio.Event()
        self._code = OK
        self._supervisor = Supervisor(self.observe)
        self._started = self._joined = self._reload_wanted = False
        self._spool: Spool | None = None
        self._pool: CheckerPool | None = None
        self._http: Http | None = None

    async def start(self) -> None:
        """Bring everything up; messages are taken when it returns. Raises NotStarted.

        Nothing is claimed before every port is ours: a start that fails for one leaves the queue as it was.
        """
        self._watch_signals()
        settings = await self._configuration.first()
        spool = self._spool = await open_the_spool(settings, self.observe)
        pool = self._pool = await start_workers(settings, self.observe)
        await self._join(settings, spool, pool)
        await listen(settings, self._door, self._http)
        self._background(settings, spool, pool)
        addresses = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self._door.addresses]
        self.observe(Started(addresses, self._http.address if self._http else None))
        # What lives as long as the daemon is no garbage: the collector need not look at 10,000 clients again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE)
        self._systemd.ready(f"listening on {', '.join(addresses)}")
        self._started = True
        if self._reload_wanted:
            self._reload_soon()

    def failed(self, why: str) -> None:
        """Tell the service manager why there was no start: the first line of what the log says whole."""
        self._systemd.status(why.partition("\n")[0])

    async def until_stopped(self) -> int:
        """Wait for SIGTERM (or a broken spool), drain, put everything away; the exit code."""
        await self._stop.wait()
        self._systemd.stopping("finishing what is in hand")
        self.observe(Stopping())
        await self._door.drain(DRAIN_SECONDS)
        cut = await self._queue.drain(DRAIN_SECONDS)
        await self.close()
        self.observe(Stopped(cut, self._code))
        return self._code

    async def give_up(self) -> None:
        """After a start that failed: let sessions end, give claims back, put everything away."""
        if self._joined:
            await self._door.drain(DRAIN_SECONDS)
            await self._queue.drain(DRAIN_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Let go of whatever was brought up."""
        await self._supervisor.close()
        await self._smarthosts.close()
        if self._http is not None:
            await self._http.close()
        if self._pool is not None:
            await self._pool.close()
        if self._spool is not None:
            await self._spool.close()

    async def _join(self, settings: Settings, spool: Spool, pool: CheckerPool) -> None:
        configuration, observe = self._configuration, self.observe
        secret = await spool.secret()
        outbound = Outbound(lambda: configuration.settings, secret, observe)
        self._queue = QueueManager(spool, outbound.ports(self._smarthosts, configuration.signing, self._broken))
        self._notices = Notices(spool, lambda: configuration.settings, observe, self._queue.notify)
        intake = Intake(
            directory=lambda: configuration.in_force.directory,
            spool=spool,
            checker=pool,
            observe=observe,
            queue=self._queue,
            stored=self._stored,
            broken=self._broken,
            secret=secret,
        )
        hostname = settings.terms.hostname
        self._door = SmtpServer(settings.listen, configuration.in_force.limits, intake, hostname, observe)
        self._watch = HealthMonitor(
            spool=spool,
            pool=pool,
            queue=self._queue,
            metrics=self._metrics,
            observe=observe,
            systemd=self._systemd,
            sessions=lambda: self._door.sessions,
            trouble=lambda: configuration.trouble,
            failures=self._supervisor.failures,
        )
        self._joined = True
        if settings.http is not None:
            watch = self._watch
            self._http = Http(str(settings.http), self._metrics, watch.healthy, watch.ready, observe, watch.scrape)

    def _background(self, settings: Settings, spool: Spool, pool: CheckerPool) -> None:
        lag = Lag()
        self._metrics.event_loop_lag(lag.worst)
        digests = Digests(spool, lambda: self._configuration.settings, self.observe, self._queue.notify)
        for name, work in {
            "queue manager": self._queue.run,
            "event loop lag": lag.run,
            "watchdog": Watchdog(self._systemd, lambda: not self._watch.healthy(), self.observe).run,
            "status": self._watch.report_status,
            "notices": self._notices.run,
            "digests": digests.run,
            "log of operators' orders": lambda: log_operator_actions(spool, self.observe),
            "housekeeping": lambda: housekeeping(spool, lambda: settings.keep_delivered, self.observe),
            "self-test": lambda: repeat_self_test(pool, self.observe),
        }.items():
            self._supervisor.run(name, work)

    def _watch_signals(self) -> None:
        """From the first moment on: by default each of them ends the process without a word."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop.set)
        for number in IGNORED_SIGNALS:
            loop.add_signal_handler(number, partial(self.observe, SignalIgnored(number.name)))

    def _reload_soon(self) -> None:
        """Now, or when the start is done: what it has read may have changed since."""
        if self._started:
            self._supervisor.once("reload", self._reload)
        else:
            self._reload_wanted = True

    async def _reload(self) -> None:
        spool, pool = self._spool, self._pool
        assert spool is not None and pool is not None
        self._systemd.reloading("reading the configuration")
        done = await self._configuration.reload(spool, pool, self._door)
        self._systemd.ready("running" if done else "running with the old configuration: the new one has faults")

    def _stored(self, mail: Message, stored: Stored) -> None:
        if stored.held or any(plan.disposition is Disposition.HOLD for plan in mail.plans):
            self._notices.look()

    def _broken(self, why: str) -> None:
        """The spool can promise nothing any more: stop, so that the next start reads again what is really there."""
        if self._code == OK:
            self.observe(SpoolBroken(why))
        self._code = IO_ERROR
        self._stop.set()
