"""Whatever leaves the daemon is signed, and dkimpy verifies it as it arrived."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.sample_pdf import facturx_pdf, original_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import BAKERY, GARAGE, SUPPLIER, Attached, Scene
from relay.demo.stage import CHECK_YAML, Stage
from tests.support.dkim_keys import DOMAIN, SELECTOR, key, pem, verified
from tests.support.peer import Peer
from tests.support.peer_script import Drop, Say

MARTIN, PETIT = "martin@export.relay.example", "petit@export.relay.example"
YAML = CHECK_YAML + f"dkim: {{domain: {DOMAIN}, selector: {SELECTOR}, private_key: dkim.pem}}\n"


def pair(recipient: str, number: str, client: str) -> Scene:
    """A purchase with its original PDF."""
    xml = invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=client)
    invoice = Attached(f"{number}.pdf", facturx_pdf(xml, text=f"Facture {number}"))
    return Scene("", recipient, (invoice, Attached("original.pdf", original_pdf(xml))), None)


def give_key(stage: Stage, kind: str) -> None:
    path = stage.config / "dkim.pem"
    path.write_bytes(pem(kind))
    path.chmod(0o600)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
async def test_every_message_is_signed_cut_or_whole(
    kind: str, stages: Callable[..., Stage], receiver: Receiver
) -> None:
    stage = stages(receiver.port, more=YAML)
    give_key(stage, kind)
    assert await stage.start(), stage.log.read_text()
    cut, whole = pair(MARTIN, "DKIM-1", BAKERY), pair(PETIT, "DKIM-2", GARAGE)
    assert stage.submit(cut.recipient, cut.mail()).code == 250
    assert stage.submit(whole.recipient, whole.mail()).code == 250
    assert await receiver.wait(2, 30)
    arrived = {each.message_id: each for each in receiver.arrivals}
    assert len(arrived[cut.message_id].documents()) == 1
    assert len(arrived[whole.message_id].documents()) == 2
    for each in receiver.arrivals:
        assert verified(each.content, key(kind))
        assert not verified(each.content.replace(b"Bonjour", b"Bonsoir"), key(kind))


async def test_another_key_signs_after_sighup(stages: Callable[..., Stage], receiver: Receiver) -> None:
    stage = stages(receiver.port, more=YAML)
    give_key(stage, "rsa")
    assert await stage.start(), stage.log.read_text()
    give_key(stage, "ed25519")
    stage.send_signal(signal.SIGHUP)
    await stage.logged("reloaded")
    scene = pair(MARTIN, "DKIM-3", BAKERY)
    stage.submit(scene.recipient, scene.mail())
    assert await receiver.wait(1, 30)
    assert verified(receiver.arrivals[0].content, key("ed25519"))


async def test_a_useless_key_keeps_the_daemon_from_starting(
    stages: Callable[..., Stage], receiver: Receiver, tmp_path: Path
) -> None:
    stage = stages(receiver.port, more=YAML, expected_exits=(78,))
    (stage.config / "dkim.pem").write_text("secret\n")
    (stage.config / "dkim.pem").chmod(0o600)
    assert not await stage.start()
    assert "no private key in PEM form is in it" in stage.log.read_text()


async def test_each_attempt_sends_the_same_octets(stages: Callable[..., Stage]) -> None:
    async with Peer() as peer:
        peer.on("body", Drop(), times=1)
        stage = stages(peer.port, more=YAML + "retry: {first: 1 s, ceiling: 1 s}\n")
        give_key(stage, "rsa")
        assert await stage.start(), stage.log.read_text()
        stage.submit(MARTIN, pair(MARTIN, "DKIM-4", BAKERY).mail())
        first, second = await peer.wait(2, 60)
    assert verified(first.content, key("rsa"))
    assert first.content == second.content


async def test_our_own_messages_are_signed(stages: Callable[..., Stage]) -> None:
    async with Peer() as peer:
        peer.on("rcpt", Say("550 5.1.1 no such mailbox"), when=lambda line: "@agiris.example" in line)
        stage = stages(peer.port, more=YAML)
        give_key(stage, "ed25519")
        assert await stage.start(), stage.log.read_text()
        stage.submit(MARTIN, pair(MARTIN, "DKIM-5", BAKERY).mail())  # a status report to the platform
        stage.submit(MARTIN, pair(MARTIN, "DKIM-6", "775670417").mail())  # a notice to the operator: a stranger's
        mails = await peer.wait(2, 60)
    assert {mail.recipients for mail in mails} == {("noreply@jefacture.example",), ("exploitation@cabinet.example",)}
    assert all(verified(mail.content, key("ed25519")) for mail in mails)
