"""`defaults` of relay.yaml through the daemon: what a silent firm does, who is told, and what a reload changes."""

import asyncio
import signal
from collections.abc import Callable
from email.header import decode_header, make_header

from relay.demo.receiver import Receiver
from relay.demo.sample_pdf import facturx_pdf, original_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import BAKERY, FIRM_YAML, STRANGER, SUPPLIER, Attached, Scene
from relay.demo.stage import CHECK_YAML, Stage

MARTIN = "martin@export.relay.example"
SILENT = FIRM_YAML.replace("    original_pdf: false\n", "").replace("operator: exploitation@cabinet.example\n", "")


def pair(number: str, buyer: str = BAKERY) -> Scene:
    """A purchase with its original PDF."""
    xml = invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=buyer)
    invoice = Attached(f"{number}.pdf", facturx_pdf(xml, text=f"Facture {number}"))
    return Scene("", MARTIN, (invoice, Attached("original.pdf", original_pdf(xml))), None)


async def test_a_silent_firm_obeys_the_host_and_a_reload_of_it(
    stages: Callable[..., Stage], receiver: Receiver
) -> None:
    defaults = "defaults: {original_pdf: true, operator: host@ops.example}\n"
    stage = stages(receiver.port, firms={"silent": SILENT}, more=CHECK_YAML + defaults)
    assert await stage.start(), stage.log.read_text()
    with_original, without = pair("DF-1001"), pair("DF-1002")
    await asyncio.to_thread(stage.submit, MARTIN, with_original.mail())
    assert await receiver.wait_relayed(1, 30)
    relay_yaml = stage.config / "relay.yaml"
    relay_yaml.write_text(relay_yaml.read_text().replace("original_pdf: true", "original_pdf: false"))
    stage.send_signal(signal.SIGHUP)
    await stage.logged("reloaded")
    await asyncio.to_thread(stage.submit, MARTIN, without.mail())
    assert await receiver.wait_relayed(2, 30)
    first, second = receiver.relayed
    assert list(first.documents()) == [each.sha256 for each in with_original.attached]
    assert list(second.documents()) == [without.attached[0].sha256]


async def test_who_is_notified_of_a_firm_that_names_nobody(stages: Callable[..., Stage], receiver: Receiver) -> None:
    defaults = "defaults: {operator: host@ops.example}\n"
    stage = stages(receiver.port, firms={"silent": SILENT}, more=CHECK_YAML + defaults)
    assert await stage.start(), stage.log.read_text()
    await asyncio.to_thread(stage.submit, MARTIN, pair("DF-2001", STRANGER).mail())
    assert await receiver.wait(1, 60)
    (notice,) = receiver.arrivals
    assert (notice.recipient, notice.sender) == ("host@ops.example", "")
    assert "Cabinet de démonstration" in str(make_header(decode_header(str(notice.message["Subject"]))))
