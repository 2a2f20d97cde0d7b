"""The life of the process: start, run, reload on SIGHUP, drain on SIGTERM, stop."""

import asyncio
import gc
import signal
import sys
from functools import partial
from pathlib import Path

from relay.checker import CheckerPool
from relay.daemon.configuration import Configuration
from relay.daemon.health import EventLoopLag, HealthMonitor, housekeeping
from relay.daemon.notices import Digests, Notices
from relay.daemon.operator_log import log_operator_actions
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
"""By default each of them ends the process, though nobody asks it to stop by them: logged, and nothing else."""

GARBAGE_THRESHOLD = 5000
"""New objects between two runs of the garbage collector, in place of 700: a message leaves only those of its session,
about thirty, and each run visits those of all messages under way."""


async def serve(folder: Path) -> int:
    """Run the daemon of the configuration in `folder` until it is asked to stop; the exit code."""
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
    """Every part of the relay, and their connections."""

    def __init__(self, folder: Path) -> None:
        self._metrics = Metrics()
        self.observe = Observer(self._metrics).observe
        self._configuration = Configuration(folder, self.observe, self._metrics.internal_error)
        self._systemd = Systemd()
        self._smarthosts = ConnectionPools()
        self._stop = asyncio.Event()
        self._code = OK
        self._supervisor = Supervisor(self.observe)
        self._started = self._connected = self._reload_wanted = False
        self._spool: Spool | None = None
        self._pool: CheckerPool | None = None
        self._http: Http | None = None

    async def start(self) -> None:
        """Bring everything up; messages are accepted when it returns. Raises StartError.

        Nothing is claimed before every port is ours: a start that fails for one leaves the queue as it was.
        """
        self._handle_signals()
        settings = await self._configuration.first()
        spool = self._spool = await open_the_spool(settings, self.observe)
        pool = self._pool = await start_workers(settings, self.observe)
        directory = self._configuration.in_force.directory
        await pool.load(directory)
        pool.use(directory)
        await self._connect(settings, spool, pool)
        await listen(settings, self._smtp_server, self._http)
        self._background(settings, spool, pool)
        addresses = [
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self._smtp_server.addresses
        ]
        self.observe(Started(addresses, self._http.address if self._http else None))
        # What lives as long as the daemon is no garbage: the collector need not look at 10,000 clients again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD)
        self._systemd.ready(f"listening on {', '.join(addresses)}")
        self._started = True
        if self._reload_wanted:
            self._reload_soon()

    def failed(self, why: str) -> None:
        """Say to the service manager why there was no start: the first line of what the log says in full."""
        self._systemd.status(why.partition("\n")[0])

    async def until_stopped(self) -> int:
        """Wait for SIGTERM (or a broken spool), drain, close everything; the exit code."""
        await self._stop.wait()
        self._systemd.stopping("finishing what is under way")
        self.observe(Stopping())
        await self._smtp_server.drain(DRAIN_SECONDS)
        cut = await self._queue.drain(DRAIN_SECONDS)
        await self.close()
        self.observe(Stopped(cut, self._code))
        return self._code

    async def give_up(self) -> None:
        """After a start that failed: let sessions end, give claims back, close everything."""
        if self._connected:
            await self._smtp_server.drain(DRAIN_SECONDS)
            await self._queue.drain(DRAIN_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Close whatever was brought up."""
        await self._supervisor.close()
        await self._smarthosts.close()
        if self._http is not None:
            await self._http.close()
        if self._pool is not None:
            await self._pool.close()
        if self._spool is not None:
            await self._spool.close()

    async def _connect(self, settings: Settings, spool: Spool, pool: CheckerPool) -> None:
        configuration, observe = self._configuration, self.observe
        secret = await spool.secret()
        outbound = Outbound(lambda: configuration.settings, secret, observe)
        self._queue = QueueManager(
            spool, outbound.ports(self._smarthosts, configuration.signing, self._on_spool_failure)
        )
        self._notices = Notices(spool, lambda: configuration.settings, observe, self._queue.notify)
        intake = Intake(
            directory=lambda: configuration.in_force.directory,
            spool=spool,
            checker=pool,
            observe=observe,
            queue=self._queue,
            stored=self._stored,
            broken=self._on_spool_failure,
            secret=secret,
        )
        hostname = settings.terms.hostname
        self._smtp_server = SmtpServer(settings.listen, configuration.in_force.limits, intake, hostname, observe)
        self._health = HealthMonitor(
            spool=spool,
            pool=pool,
            queue=self._queue,
            metrics=self._metrics,
            observe=observe,
            systemd=self._systemd,
            sessions=lambda: self._smtp_server.sessions,
            config_error=lambda: configuration.config_error,
            failures=self._supervisor.failures,
        )
        self._connected = True
        if settings.http is not None:
            health = self._health
            self._http = Http(str(settings.http), self._metrics, health.healthy, health.ready, observe, health.scrape)

    def _background(self, settings: Settings, spool: Spool, pool: CheckerPool) -> None:
        lag = EventLoopLag()
        self._metrics.event_loop_lag(lag.worst)
        digests = Digests(spool, lambda: self._configuration.settings, self.observe, self._queue.notify)
        for name, work in {
            "queue manager": self._queue.run,
            "event loop lag": lag.run,
            "watchdog": Watchdog(self._systemd, lambda: not self._health.healthy(), self.observe).run,
            "status": self._health.report_status,
            "notices": self._notices.run,
            "digests": digests.run,
            "log of operators' actions": lambda: log_operator_actions(spool, self.observe),
            "housekeeping": lambda: housekeeping(spool, lambda: settings.keep_delivered, self.observe),
            "self-test": lambda: repeat_self_test(pool, self.observe),
        }.items():
            self._supervisor.run(name, work)

    def _handle_signals(self) -> None:
        """From the first moment on: by default each of them ends the process without a log line."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop.set)
        for number in IGNORED_SIGNALS:
            loop.add_signal_handler(number, partial(self.observe, SignalIgnored(number.name)))

    def _reload_soon(self) -> None:
        """Now, or when the start is done: the files it has read may have changed since."""
        if self._started:
            self._supervisor.once("reload", self._reload)
        else:
            self._reload_wanted = True

    async def _reload(self) -> None:
        spool, pool = self._spool, self._pool
        assert spool is not None and pool is not None
        self._systemd.reloading("reading the configuration")
        done = await self._configuration.reload(spool, pool, self._smtp_server)
        self._systemd.ready("running" if done else "running with the old configuration: the new one has faults")

    def _stored(self, message: Message, stored: Stored) -> None:
        if stored.held or any(plan.disposition is Disposition.HOLD for plan in message.plans):
            self._notices.check_soon()

    def _on_spool_failure(self, why: str) -> None:
        """The spool can promise nothing any more: stop, so that the next start reads again what is really there."""
        if self._code == OK:
            self.observe(SpoolBroken(why))
        self._code = IO_ERROR
        self._stop.set()
