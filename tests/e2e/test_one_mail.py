"""One mail from the platform's SMTP client to the Agiris address, by the daemon in its own process."""

import shutil
import subprocess
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest

from relay.demo.receiver import Receiver
from relay.demo.sample_pdf import facturx_pdf, original_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import ARTISAN, BAKERY, GARAGE, STRANGER, SUPPLIER, Attached, Scene
from relay.demo.stage import Stage

MARTIN = "martin@export.relay.example"
PETIT = "petit@export.relay.example"
ATELIER = "atelier@export.relay.example"


def facturx(number: str, seller: str, buyer: str) -> bytes:
    return facturx_pdf(invoice_xml(number=number, seller_siren=seller, buyer_siren=buyer), text=f"Facture {number}")


def original(number: str, seller: str, buyer: str) -> bytes:
    return original_pdf(invoice_xml(number=number, seller_siren=seller, buyer_siren=buyer))


def pair(recipient: str, number: str, client: str) -> Scene:
    """A purchase with its original PDF."""
    return Scene(
        "pair",
        recipient,
        (
            Attached(f"{number}.pdf", facturx(number, SUPPLIER, client)),
            Attached("original.pdf", original(number, SUPPLIER, client)),
        ),
        None,
    )


def body(mail: bytes) -> bytes:
    return mail.partition(b"\r\n\r\n")[2]


async def test_button_off_cuts_the_original_and_nothing_else(stage: Stage, receiver: Receiver) -> None:
    scene = pair(MARTIN, "E2E-1", BAKERY)
    assert stage.submit(scene.recipient, scene.mail()).code == 250
    assert await receiver.wait_relayed(1, 30)
    arrival = receiver.relayed[0]
    assert arrival.recipient == "00012345@agiris.example"
    assert list(arrival.documents()) == [scene.attached[0].sha256]
    sent, arrived = body(scene.mail()), body(arrival.content)
    boundary = message_from_bytes(scene.mail()).get_boundary()
    assert boundary is not None
    delimiter = b"--" + boundary.encode()
    kept = [part for part in sent.split(delimiter) if b"original.pdf" not in part]
    assert arrived == delimiter.join(kept)


async def test_button_on_leaves_every_octet_of_the_body(stage: Stage, receiver: Receiver) -> None:
    scene = pair(PETIT, "E2E-2", GARAGE)
    assert stage.submit(scene.recipient, scene.mail()).code == 250
    assert await receiver.wait_relayed(1, 30)
    arrival = receiver.relayed[0]
    assert arrival.recipient == "achats.petit@agiris.example"
    assert body(arrival.content) == body(scene.mail())
    assert arrival.message["To"] == "achats.petit@agiris.example"
    assert arrival.message["Subject"] == message_from_bytes(scene.mail())["Subject"]
    assert "by relay.demo.example" in arrival.message["Received"]


async def test_another_clients_invoice_is_held_and_says_why(stage: Stage, receiver: Receiver) -> None:
    scene = Scene("", MARTIN, (Attached("x.pdf", facturx("E2E-3", SUPPLIER, STRANGER)),), None)
    reply = stage.submit(scene.recipient, scene.mail())
    assert reply.code == 250
    (delivery,) = await stage.command("queue", "list")
    assert (delivery["queue_id"], delivery["state"], delivery["reason"]) == (reply.text, "held", "wrong_client")
    shown = subprocess.run(
        [*stage.command_line("queue", "show", reply.text)], capture_output=True, text=True, check=True
    ).stdout
    assert "neither seller nor buyer of the invoice is the client" in shown
    assert receiver.relayed == []


async def test_another_known_clients_invoice_is_held_and_names_both(stage: Stage, receiver: Receiver) -> None:
    scene = Scene("", MARTIN, (Attached("x.pdf", facturx("E2E-10", SUPPLIER, GARAGE)),), None)
    assert stage.submit(scene.recipient, scene.mail()).code == 250
    (delivery,) = await stage.command("queue", "list")
    assert (delivery["state"], delivery["reason"]) == ("held", "contradiction")
    assert receiver.relayed == []


async def test_nothing_leaves_while_transmission_is_off(stage: Stage, receiver: Receiver) -> None:
    scene = Scene("", ATELIER, (Attached("x.pdf", facturx("E2E-4", ARTISAN, SUPPLIER)),), None)
    assert stage.submit(scene.recipient, scene.mail()).code == 250
    (delivery,) = await stage.command("queue", "list")
    assert (delivery["state"], delivery["reason"]) == ("withheld", "transmission_off")
    assert receiver.relayed == []


async def test_a_stranger_is_refused(stage: Stage) -> None:
    reply = stage.submit("someone@elsewhere.example", b"Subject: x\r\n\r\nx\r\n")
    assert (reply.code, reply.enhanced) == (550, "5.7.1")


async def test_what_was_accepted_survives_kill_9_and_arrives_once(
    stages: Callable[..., Stage], receiver: Receiver
) -> None:
    await receiver.close()  # the next hop is down: nothing can be delivered before the kill
    stage = stages(receiver.port, more="retry: {first: 1 s, ceiling: 1 s}\n")
    assert await stage.start()
    scene = pair(MARTIN, "E2E-5", BAKERY)
    reply = stage.submit(scene.recipient, scene.mail())
    await stage.kill()
    again = Receiver(port=receiver.port)
    await again.start()
    assert await stage.start()
    assert await again.wait_relayed(1, 30)
    # Another message delivered later proves that the first is not sent a second time meanwhile.
    other = pair(MARTIN, "E2E-6", BAKERY)
    stage.submit(other.recipient, other.mail())
    assert await again.wait_relayed(2, 30)
    assert [each.message_id for each in again.relayed] == [scene.message_id, other.message_id]
    await stage.logged("delivered", times=2)
    states = {each["queue_id"]: each["state"] for each in await stage.command("queue", "list", "--all")}
    assert states[reply.text] == "delivered"
    await again.close()


async def test_a_resubmission_gets_the_same_queue_id_and_is_sent_once(stage: Stage, receiver: Receiver) -> None:
    scene = pair(MARTIN, "E2E-7", BAKERY)
    first, second = (stage.submit(scene.recipient, scene.mail()) for _ in range(2))
    assert first == second
    assert await receiver.wait_relayed(1, 30)
    assert len(await stage.command("queue", "list", "--all")) == 1


async def test_the_words_of_the_readme_send_a_message(stage: Stage, receiver: Receiver, tmp_path: Path) -> None:
    if shutil.which("swaks") is None or shutil.which("curl") is None:
        pytest.skip("swaks or curl is not installed")
    readme = (Path(__file__).parents[2] / "config" / "README.md").read_text(encoding="utf-8")
    try_it = readme.partition("## The platform's screens and the keys")[2]
    lines = [line for line in try_it.splitlines() if line.startswith(("swaks ", "curl smtp"))]
    assert [line.split()[0] for line in lines] == ["swaks", "curl"]
    (tmp_path / "invoice.pdf").write_bytes(facturx("E2E-8", SUPPLIER, BAKERY))
    (tmp_path / "mail.eml").write_bytes(pair(MARTIN, "E2E-9", BAKERY).mail())
    for number, line in enumerate(lines, 1):
        command = line.replace("127.0.0.1:2525", f"127.0.0.1:{stage.smtp}")
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert await receiver.wait_relayed(number, 30)
