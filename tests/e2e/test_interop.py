"""Programs of other makes as the sender and as the next hop of the whole relay: in clear, by STARTTLS, with AUTH."""

import asyncio
import os
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.sample_pdf import facturx_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import BAKERY, SUPPLIER, Attached, Scene
from relay.demo.stage import Stage, free_port
from tests.support.postfix import Postfix
from tests.support.smtp_server import self_signed, six_listeners

MARTIN, SENDER = "martin@export.relay.example", "noreply@jefacture.example"
NAME, PASSWORD = "jefacture", "correct horse"


def needs(program: str) -> pytest.MarkDecorator:
    missing = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin") is None
    return pytest.mark.skipif(missing, reason=f"{program} is not installed")


@dataclass
class Open:
    """A running relay with its six listeners. mail: one good message in a file, CRLF lines."""

    stage: Stage
    doors: dict[str, tuple[str, int]]
    mail: Path
    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "cert.pem"

    def port(self, door: str) -> int:
        return self.doors[door][1]


def good_mail(number: str) -> bytes:
    pdf = facturx_pdf(invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=BAKERY), text=number)
    return Scene("", MARTIN, (Attached("facture.pdf", pdf),), None).mail()


@pytest.fixture
async def opened(stages: Callable[..., Stage], receiver: Receiver, tmp_path: Path) -> AsyncIterator[Open]:
    stage = stages(receiver.port)
    doors = six_listeners(stage, tmp_path, {NAME: PASSWORD}, "")
    mail = tmp_path / "mail.eml"
    mail.write_bytes(good_mail("INTEROP-1"))
    assert await stage.start(), stage.log.read_text(encoding="utf-8")
    yield Open(stage, doors, mail, tmp_path)


async def run(*command: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> None:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(env or {})},
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate(stdin)
    assert process.returncode == 0, said.decode("utf-8", "replace")


async def arrived(receiver: Receiver) -> None:
    assert await receiver.wait(1, 30)
    assert receiver.arrivals[0].recipient == "00012345@agiris.example"
    assert len(receiver.arrivals[0].documents()) == 1


WAYS = ("plain", "starttls", "implicit", "outside")
"""Doors; outside: only AUTH after STARTTLS lets one in."""


def swaks_speaks_tls() -> bool:
    """swaks runs without Net::SSLeay (Debian only recommends it), but then it has no TLS."""
    perl = shutil.which("perl")
    return perl is not None and subprocess.run([perl, "-MNet::SSLeay", "-e", "1"], capture_output=True).returncode == 0


@needs("swaks")
@pytest.mark.parametrize("way", WAYS)
async def test_swaks(opened: Open, receiver: Receiver, way: str) -> None:
    if way != "plain" and not swaks_speaks_tls():
        pytest.skip("swaks has no TLS here: libnet-ssleay-perl (Net::SSLeay) is not installed")
    words = {"plain": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"], "outside": ["--tls"]}[way]
    if way in ("implicit", "outside"):
        words += ["--auth", "PLAIN" if way == "implicit" else "LOGIN", "--auth-user", NAME, "--auth-password", PASSWORD]
    host = ["--server", "127.0.0.1", "--port", str(opened.port(way)), "--helo", "client.example"]
    await run("swaks", *host, "--from", SENDER, "--to", MARTIN, "--data", f"@{opened.mail}", *words)
    await arrived(receiver)


@needs("curl")
@pytest.mark.parametrize("way", WAYS)
async def test_curl(opened: Open, receiver: Receiver, way: str) -> None:
    scheme = "smtps" if way == "implicit" else "smtp"
    words = ["--ssl-reqd", "--cacert", opened.authority] if way != "plain" else []
    if way in ("implicit", "outside"):
        words += ["--user", f"{NAME}:{PASSWORD}"]
    url = f"{scheme}://localhost:{opened.port(way)}/client.example"
    letter = ["--mail-from", SENDER, "--mail-rcpt", MARTIN, "--upload-file", opened.mail]
    await run("curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30", "-4", url, *words, *letter)
    await arrived(receiver)


@pytest.mark.parametrize("way", WAYS)
async def test_smtplib(opened: Open, receiver: Receiver, way: str) -> None:
    def submit() -> None:
        context = ssl.create_default_context(cafile=str(opened.authority))
        port = opened.port(way)
        client = (
            smtplib.SMTP_SSL("localhost", port, timeout=30, context=context)
            if way == "implicit"
            else smtplib.SMTP("localhost", port, timeout=30)
        )
        with client:
            if way in ("starttls", "outside"):
                client.starttls(context=context)
            if way in ("implicit", "outside"):
                client.login(NAME, PASSWORD)
            assert client.sendmail(SENDER, [MARTIN], opened.mail.read_bytes(), ["BODY=8BITMIME"]) == {}

    await asyncio.to_thread(submit)
    await arrived(receiver)


NODEMAILER = """
const nodemailer = require('nodemailer');
const [port, way, user, pass, from, to, raw] = process.argv.slice(2);
const options = {host: '127.0.0.1', port: Number(port), secure: way === 'implicit', name: 'client.example',
  tls: {rejectUnauthorized: false}};
if (way === 'plain') options.ignoreTLS = true; else if (way !== 'implicit') options.requireTLS = true;
if (way === 'implicit' || way === 'outside') options.auth = {user, pass};
nodemailer.createTransport(options).sendMail({envelope: {from, to}, raw: {path: raw}})
  .then(() => process.exit(0), error => { console.error(error); process.exit(1); });
"""


@needs("node")
@pytest.mark.parametrize("way", WAYS)
async def test_nodemailer(opened: Open, receiver: Receiver, way: str) -> None:
    modules = Path(os.environ.get("RELAY_NODE_MODULES", "/tmp/relay-node/node_modules"))
    if not (modules / "nodemailer").is_dir():
        pytest.skip(f"no nodemailer in {modules}: npm install --prefix {modules.parent} nodemailer")
    words = [str(opened.port(way)), way, NAME, PASSWORD, SENDER, MARTIN, str(opened.mail)]
    await run("node", "-", *words, stdin=NODEMAILER.encode(), env={"NODE_PATH": str(modules)})
    await arrived(receiver)


# Postfix.


@needs("postfix")
@pytest.mark.parametrize("way", ["plain", "starttls", "outside"])
async def test_postfix_as_the_sender(opened: Open, receiver: Receiver, tmp_path: Path, way: str) -> None:
    password = tmp_path / "sasl"
    password.write_text(f"[127.0.0.1]:{opened.port(way)} {NAME}:{PASSWORD}\n")
    settings = {
        "relayhost": f"[127.0.0.1]:{opened.port(way)}",
        "smtp_tls_security_level": "none" if way == "plain" else "encrypt",
    }
    if way == "outside":
        settings |= {
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_password_maps": f"texthash:{password}",
            "smtp_sasl_security_options": "noanonymous",
            "smtp_sasl_tls_security_options": "noanonymous",
        }
    async with Postfix(free_port(), settings) as postfix:
        await asyncio.to_thread(postfix.submit, SENDER, MARTIN, opened.mail.read_bytes())
        async with asyncio.timeout(60):
            if not await receiver.wait(1, 40):
                pytest.fail(postfix.log())
    await arrived(receiver)


@needs("postfix")
@pytest.mark.parametrize("way", ["none", "starttls"])
async def test_postfix_as_the_next_hop(
    stages: Callable[..., Stage], receiver: Receiver, tmp_path: Path, way: str
) -> None:
    """agiris-relay -> Postfix -> receiver."""
    certificate, key = self_signed(tmp_path)
    settings = {"relayhost": f"[127.0.0.1]:{receiver.port}", "smtp_tls_security_level": "none"}
    if way != "none":
        settings |= {"smtpd_tls_security_level": "may", "smtpd_tls_cert_file": certificate, "smtpd_tls_key_file": key}
    async with Postfix(free_port(), settings) as postfix:
        stage = stages(postfix.port)
        path = stage.config / "relay.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("tls: none", f"tls: {way}"), encoding="utf-8")
        # The system's authorities are read from SSL_CERT_FILE: this one certificate is all that is trusted.
        os.environ["SSL_CERT_FILE"] = certificate
        try:
            assert await stage.start()
        finally:
            del os.environ["SSL_CERT_FILE"]
        reply = await asyncio.to_thread(stage.submit, MARTIN, good_mail("POSTFIX-1"))
        assert reply.code == 250
        if not await receiver.wait(1, 40):
            pytest.fail(postfix.log() + stage.log.read_text(encoding="utf-8"))
        await arrived(receiver)
        assert ("TLS connection established" in postfix.log()) == (way != "none")
