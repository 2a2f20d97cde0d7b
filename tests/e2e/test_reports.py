"""What comes back: failures to the platform's sender, late bounces to their mail, what is held to the operator."""

import smtplib
from collections.abc import AsyncIterator, Callable

import pytest

from relay.demo.sample_pdf import facturx_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import BAKERY, FIRM_YAML, STRANGER, SUPPLIER, Attached, Scene
from relay.demo.stage import Stage
from relay.dsn.bounces import parse_dsn
from relay.dsn.writer import Notice, report
from tests.support.peer import Peer
from tests.support.peer_script import Say

MARTIN = "martin@export.relay.example"
SENDER = "noreply@jefacture.example"
SECOND_FIRM = """\
firm: Second cabinet
operator: chef@second.example
connections:
  agiris: {type: email}
clients:
  - {dossier: "7", connection: agiris, agiris_address: sept@agiris.example, recipients: [sept@export.relay.example]}
"""


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as made:
        yield made


@pytest.fixture
async def stage(stages: Callable[..., Stage], peer: Peer) -> Stage:
    made = stages(peer.port)
    assert await made.start()
    return made


def scene(number: str) -> Scene:
    pdf = facturx_pdf(invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=BAKERY), text=number)
    return Scene("", MARTIN, (Attached("x.pdf", pdf),), None)


async def test_a_refusal_of_the_next_hop_is_reported_to_the_platform(stage: Stage, peer: Peer) -> None:
    peer.on("rcpt", Say("550 5.1.1 no such mailbox"), when=lambda line: "00012345@" in line)
    reply = stage.submit(MARTIN, scene("DSN-1").mail())
    (mail,) = await peer.wait(1, 30)
    assert (mail.sender, mail.recipients) == ("", (SENDER,))
    bounce = parse_dsn(mail.content)
    assert bounce is not None
    assert (bounce.action, bounce.status, bounce.recipient) == ("failed", "5.1.1", MARTIN)
    (delivery,) = [each for each in await stage.command("queue", "list", "--all") if each["queue_id"] == reply.text]
    assert (delivery["state"], delivery["last_reply"]) == ("failed", "550 5.1.1 no such mailbox")


async def test_dsn_parameters_are_honoured(stage: Stage, peer: Peer) -> None:
    peer.on("rcpt", Say("550 5.1.1 no mailbox 00012345@agiris.example"), when=lambda line: "00012345@" in line)
    sent = scene("DSN-2").mail()
    with smtplib.SMTP("127.0.0.1", stage.smtp, timeout=30) as client:
        client.sendmail(
            SENDER, [MARTIN], sent, ["RET=FULL", "ENVID=a+2Bb"], ["NOTIFY=FAILURE,SUCCESS", "ORCPT=rfc822;m+2Bx@y"]
        )
    (mail,) = await peer.wait(1, 30)
    assert mail.recipients == (SENDER,)
    for reported in (b"Original-Envelope-Id: a+b\r\n", b"Original-Recipient: rfc822;m+x@y\r\n", b"message/rfc822"):
        assert reported in mail.content
    assert b"agiris.example" not in mail.content.replace(sent, b"")
    assert sent.strip() in mail.content


async def test_a_sender_who_asks_is_notified_of_a_relayed_message(stage: Stage, peer: Peer) -> None:
    with smtplib.SMTP("127.0.0.1", stage.smtp, timeout=30) as client:
        client.sendmail(SENDER, [MARTIN], scene("DSN-3").mail(), [], ["NOTIFY=SUCCESS"])
    mails = await peer.wait(2, 30)
    (reported,) = [each for each in mails if each.recipients == (SENDER,)]
    bounce = parse_dsn(reported.content)
    assert bounce is not None
    assert (reported.sender, bounce.action, bounce.recipient) == ("", "relayed", MARTIN)
    assert b"agiris.example" not in reported.content


async def test_the_hosts_operator_is_notified_of_an_unknown_client(stages: Callable[..., Stage], peer: Peer) -> None:
    stage = stages(
        peer.port,
        firms={"cabinet-demo": FIRM_YAML, "second": SECOND_FIRM},
        more="defaults: {operator: ops@host.example}\n",
    )
    assert await stage.start(), stage.log.read_text(encoding="utf-8")
    pdf = facturx_pdf(invoice_xml(number="N-9", seller_siren=SUPPLIER, buyer_siren=STRANGER), text="N-9")
    unknown = Scene("", MARTIN, (Attached("x.pdf", pdf),), None).mail()
    queue_id = stage.submit("inconnu@export.relay.example", unknown).text
    (mail,) = await peer.wait(1, 60)
    assert mail.recipients == ("ops@host.example",)
    assert queue_id.encode() in mail.content


async def test_a_late_bounce_finds_its_message(stage: Stage, peer: Peer) -> None:
    queue_id = stage.submit(MARTIN, scene("LATE-1").mail()).text
    (mail,) = await peer.wait(1, 30)
    await stage.logged("delivered")
    bounce = report(
        hostname="agiris.example",
        queue_id="X1",
        to=mail.sender,
        at=1_795_000_000.0,
        arrived=1_795_000_000.0,
        notices=[Notice("00012345@agiris.example", "failed", "5.2.2", "552 5.2.2 mailbox full")],
    )
    with smtplib.SMTP("127.0.0.1", stage.smtp, timeout=30) as client:
        assert client.sendmail("", [mail.sender], bounce) == {}
    (shown,) = await stage.command("queue", "show", queue_id)
    assert "mailbox full" in str(shown)
    (delivery,) = await stage.command("queue", "list", "--all", "--client", "00012345")
    assert delivery["state"] == "failed"


async def test_a_forged_return_path_is_refused(stage: Stage, peer: Peer) -> None:
    stage.submit(MARTIN, scene("FORGE-1").mail())
    (mail,) = await peer.wait(1, 30)
    local, _, domain = mail.sender.partition("@")
    forged = f"{local[:-1]}{'A' if local[-1] != 'A' else 'B'}@{domain}"
    for address in (forged, f"bounces@{domain}"):
        with smtplib.SMTP("127.0.0.1", stage.smtp, timeout=30) as client:
            client.ehlo()
            client.mail("")
            assert client.rcpt(address)[0] == 550


async def test_the_firms_operator_is_notified_of_what_is_held(stage: Stage, peer: Peer) -> None:
    other = facturx_pdf(invoice_xml(number="N-1", seller_siren=SUPPLIER, buyer_siren="775670417"), text="N-1")
    queue_id = stage.submit(MARTIN, Scene("", MARTIN, (Attached("x.pdf", other),), None).mail()).text
    (mail,) = await peer.wait(1, 60)
    assert (mail.sender, mail.recipients) == ("", ("exploitation@cabinet.example",))
    assert queue_id.encode() in mail.content
