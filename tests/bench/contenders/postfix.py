"""Postfix as a contender, plain or with a milter; tuned as its administrator would for a relay of one next hop.

cleanup(8) syncs the queue file before it answers, which no setting turns off: 250 means on disk, as with ours.
"""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from relay.demo.stage import free_port
from tests.bench.load.bench import Target
from tests.support.daemon_process import ROOT
from tests.support.postfix import Postfix as Server

SETTINGS = {
    "default_process_limit": "150",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_event_limit_exceptions": "127.0.0.0/8",
    "in_flow_delay": "0",
    "smtp_tls_security_level": "none",
    "smtp_tls_loglevel": "0",
    "smtpd_tls_loglevel": "0",
    "message_size_limit": "104857600",
    "initial_destination_concurrency": "20",
    "qmgr_message_active_limit": "200000",
    "qmgr_message_recipient_limit": "200000",
}


@dataclass
class Postfix:
    """`with Postfix(sink_port) as postfix`: runs meanwhile. preload: a library loaded into every process of it."""

    sink: int
    milter: bool = False
    preload: str = ""

    @property
    def name(self) -> str:
        return "Postfix + milter" if self.milter else "Postfix"

    @property
    def target(self) -> Target:
        master = int((self._server.folder / "queue/pid/master.pid").read_text())
        roots = (master, self._milter.pid) if self._milter is not None else (master,)
        return Target(self.name, self._server.port, roots, None, original=not self.milter)

    def __enter__(self) -> "Postfix":
        self._milter: subprocess.Popen[str] | None = None
        settings = {**SETTINGS, "relayhost": f"[127.0.0.1]:{self.sink}"}
        if self.milter:
            settings |= {"smtpd_milters": f"unix:{self._start_milter()}", "milter_protocol": "6"}
        if self.preload:
            settings["import_environment"] = f"MAIL_CONFIG TZ LANG=C POSTLOG_SERVICE LD_PRELOAD={self.preload}"
        self._server = Server(free_port(), settings)
        try:
            asyncio.run(self._server.__aenter__())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run(self._server.__aexit__())
        if self._milter is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._milter.pid, signal.SIGKILL)
            self._milter.wait()
            self._place.cleanup()

    def _start_milter(self) -> Path:
        self._place = TemporaryDirectory(prefix="relay-bench-", dir="/tmp")
        Path(self._place.name).chmod(0o755)
        path = Path(self._place.name, "milter")
        self._milter = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.contenders.milter", str(path)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._milter.stdout is not None
        if not self._milter.stdout.readline():
            raise RuntimeError("the milter did not start")
        return path


def missing(milter: bool) -> str | None:
    """Why this contender cannot run here."""
    if os.geteuid() != 0:
        return "Postfix is started by root only"
    if not any((Path(folder) / "postfix").exists() for folder in ("/usr/sbin", "/usr/local/sbin")):
        return "no postfix: apt-get install postfix"
    if milter:
        done = subprocess.run(
            [sys.executable, "-c", "from tests.bench.contenders import milter; milter.library()"],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            return "no pymilter: apt-get install python3-milter (for this Python), or pip install pymilter"
    return None
