"""A Postfix of one's own: every folder temporary, one port of 127.0.0.1, no DNS, stopped at the end."""

import asyncio
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix n - n 60  1 pickup
cleanup   unix n - n -   0 cleanup
qmgr      unix n - n 1   1 qmgr
rewrite   unix - - n -   - trivial-rewrite
bounce    unix - - n -   0 bounce
defer     unix - - n -   0 bounce
trace     unix - - n -   0 bounce
verify    unix - - n -   1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n -   - proxymap
smtp      unix - - n -   - smtp
relay     unix - - n -   - smtp
error     unix - - n -   - error
retry     unix - - n -   - error
discard   unix - - n -   - discard
local     unix - n n -   - local
anvil     unix - - n -   1 anvil
scache    unix - - n -   1 scache
tlsmgr    unix - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """`async with Postfix(port, {main.cf settings})`: runs meanwhile."""

    def __init__(self, port: int, settings: Mapping[str, str]) -> None:
        self.port = port
        # Its processes run as `postfix` and must reach the folder: not below pytest's private one.
        self.folder = Path(tempfile.mkdtemp(prefix="relay-postfix-", dir="/tmp"))
        self.folder.chmod(0o755)
        for name in ("etc", "queue", "data"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        main = {
            "compatibility_level": "3.6",
            "queue_directory": str(self.folder / "queue"),
            "data_directory": str(self.folder / "data"),
            "maillog_file": str(self.folder / "data" / "log"),
            "maillog_file_prefixes": str(self.folder),
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "myhostname": "postfix.example",
            "mydestination": "",
            "local_transport": "error:none here",
            "alias_maps": "",
            "mynetworks": "127.0.0.0/8",
            "disable_dns_lookups": "yes",
            "smtp_host_lookup": "native",
            "smtp_tls_loglevel": "1",
            "smtpd_tls_loglevel": "1",
            "multi_instance_enable": "yes",
            "default_process_limit": "20",
            **settings,
        }
        (self.folder / "etc" / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in main.items()))
        (self.folder / "etc" / "master.cf").write_text(MASTER.format(port=port))

    async def __aenter__(self) -> "Postfix":
        await asyncio.to_thread(self._control, "start")
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return self
            except OSError:
                await asyncio.sleep(0.05)
        raise AssertionError(f"Postfix does not listen\n{self.log()}")

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._control, "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _control(self, verb: str) -> None:
        command = [
            shutil.which("postfix", path="/usr/sbin:/usr/bin") or "postfix",
            "-c",
            str(self.folder / "etc"),
            verb,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr + self.log()

    def submit(self, sender: str, recipient: str, mail: bytes) -> None:
        """Hand a message to this Postfix."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            assert client.sendmail(sender, [recipient], mail) == {}

    def log(self) -> str:
        path = self.folder / "data" / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
