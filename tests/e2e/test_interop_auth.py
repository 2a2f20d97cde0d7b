"""A next hop of another make that takes mail only from whom it knows: Postfix, over TLS, by password and by token."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.stage import Stage, free_port
from tests.e2e.test_interop import MARTIN, arrived, good_mail, needs
from tests.support.postfix import Postfix
from tests.support.sasl_server import SaslServer
from tests.support.smtp_server import self_signed

NAME, SECRET = "relay@cabinet.example", "eyJ0eXAi.c2lnbmVk"
pytestmark = needs("postfix")


def next_hop(sasl: SaslServer, receiver: Receiver, folder: Path, tls: str = "required") -> Postfix:
    certificate, key = self_signed(folder)
    return Postfix(
        free_port(),
        {
            "relayhost": f"[127.0.0.1]:{receiver.port}",
            "smtp_tls_security_level": "none",
            "smtpd_tls_security_level": "encrypt",
            "smtpd_tls_wrappermode": "yes" if tls == "implicit" else "no",
            "smtpd_tls_cert_file": certificate,
            "smtpd_tls_key_file": key,
            **sasl.postfix,
        },
    )


async def started(stages: Callable[..., Stage], postfix: Postfix, folder: Path, key: str, tls: str) -> Stage:
    """The relay, with the secret in a file `secret` under `key`, and this one certificate as all that it trusts."""
    stage = stages(postfix.port)
    file = folder / "secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    path = stage.config / "relay.yaml"
    text = path.read_text(encoding="utf-8")
    text = text.replace("tls: none", f"tls: {tls}, username: {NAME}, {key}: {file}")
    path.write_text(text + "retry: {first: 1s, ceiling: 1s}\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
        assert await stage.start(), stage.log.read_text(encoding="utf-8")
    return stage


@pytest.mark.parametrize(
    ("tls", "key", "offered", "used"),
    [
        ("required", "password_file", ("PLAIN", "LOGIN", "XOAUTH2"), "PLAIN"),
        ("implicit", "password_file", ("LOGIN",), "LOGIN"),
        ("required", "token_file", ("PLAIN", "LOGIN", "XOAUTH2"), "XOAUTH2"),
        ("implicit", "token_file", ("XOAUTH2",), "XOAUTH2"),
    ],
)
async def test_postfix_takes_messages_from_us_alone(
    stages: Callable[..., Stage],
    receiver: Receiver,
    tmp_path: Path,
    tls: str,
    key: str,
    offered: tuple[str, ...],
    used: str,
) -> None:
    async with SaslServer({NAME: SECRET}, offered) as sasl, next_hop(sasl, receiver, tmp_path, tls) as postfix:
        stage = await started(stages, postfix, tmp_path, key, tls)
        assert (await asyncio.to_thread(stage.submit, MARTIN, good_mail("AUTH-1"))).code == 250
        if not await receiver.wait(1, 40):
            pytest.fail(postfix.log() + stage.log.read_text(encoding="utf-8"))
        await arrived(receiver)
        assert sasl.tried == [(used, NAME, True)]
        assert f"sasl_method={used}, sasl_username={NAME}" in postfix.log()
        assert SECRET not in stage.log.read_text(encoding="utf-8")


async def test_an_expired_token_bounces_nothing_and_a_fresh_one_needs_no_reload(
    stages: Callable[..., Stage], receiver: Receiver, tmp_path: Path
) -> None:
    async with SaslServer({NAME: "fresh"}) as sasl, next_hop(sasl, receiver, tmp_path) as postfix:
        stage = await started(stages, postfix, tmp_path, "token_file", "required")
        assert (await asyncio.to_thread(stage.submit, MARTIN, good_mail("AUTH-2"))).code == 250
        await stage.logged("deferred")
        lines = [json.loads(line) for line in stage.log.read_text(encoding="utf-8").splitlines()]
        deferred = next(each for each in lines if each["event"] == "deferred")
        assert deferred["reply"].startswith("535 5.7.8") and deferred["alert"] is True
        (waiting,) = await stage.command("queue", "list")  # deferred, or attempted again at this moment
        assert waiting["last_reply"].startswith("535 5.7.8")
        (tmp_path / "secret").write_text("fresh\n")
        assert await receiver.wait(1, 40), postfix.log()
        await arrived(receiver)  # the invoice, and no notice of a failure
        assert SECRET not in stage.log.read_text(encoding="utf-8")
        assert sasl.tried[0] == ("XOAUTH2", NAME, False) and sasl.tried[-1] == ("XOAUTH2", NAME, True)
