"""The operator's commands on the spool of a running daemon."""

import asyncio
import json
from collections.abc import Callable

from relay.cli.queue import operator
from relay.demo.receiver import Receiver
from relay.demo.sample_pdf import facturx_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import BAKERY, FIRM_YAML, STRANGER, SUPPLIER, Attached, Scene
from relay.demo.stage import CHECK_YAML, Stage

MARTIN = "martin@export.relay.example"
HELD = 100
NEWCOMER = f"""\
  - dossier: "00012350"
    name: Nouveau
    siren: "{STRANGER}"
    share_with_firm: true
    connection: agiris
    agiris_address: 00012350@agiris.example
    recipients: [nouveau@export.relay.example]
"""


def scene(number: str, recipient: str = MARTIN, buyer: str = BAKERY) -> Scene:
    pdf = facturx_pdf(invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=buyer), text=number)
    return Scene("", recipient, (Attached("x.pdf", pdf),), None)


async def test_held_messages_leave_once_after_the_yaml_is_fixed_and_replan(
    stages: Callable[..., Stage], receiver: Receiver
) -> None:
    stage = stages(receiver.port, more=CHECK_YAML + "destinations: {agiris: {max_mails_per_minute: 100000}}\n")
    assert await stage.start(), stage.log.read_text()
    sent = [scene(f"RP-{number}", "nouveau@export.relay.example", STRANGER) for number in range(HELD)]
    # In a thread: the daemon's log is read by this loop, and a full pipe would hold the daemon up.
    ids = [(await asyncio.to_thread(stage.submit, each.recipient, each.mail())).text for each in sent]
    held = await stage.command("queue", "list", "--state", "held")
    assert sorted(each["queue_id"] for each in held) == sorted(ids)
    assert {each["reason"] for each in held} == {"unknown_client"}
    (stage.config / "firms" / "cabinet-demo.yaml").write_text(FIRM_YAML + NEWCOMER)
    dry = await stage.command("queue", "replan", "--dry-run", *ids)
    assert [each["after"][0]["disposition"] for each in dry] == ["relay"] * HELD
    assert await stage.command("queue", "list", "--state", "held") == held
    assert receiver.relayed == []
    await stage.command("queue", "replan", *ids)
    assert await receiver.wait_relayed(HELD, 120)
    again = await stage.command("queue", "replan", *ids)
    assert len(again) == HELD
    last = scene("RP-LAST")
    stage.submit(MARTIN, last.mail())
    # What a second order would send again stands before this last message in the queue.
    assert await receiver.wait_relayed(HELD + 1, 60)
    assert await stage.stop() == 0
    assert sorted(each.message_id for each in receiver.relayed) == sorted(each.message_id for each in (*sent, last))
    arrived = {each.message_id: each for each in receiver.relayed}
    for each in sent:
        there = arrived[each.message_id]
        assert there.recipient == "00012350@agiris.example"
        assert list(there.documents()) == [each.attached[0].sha256]
    assert await stage.command("queue", "list", "--state", "held") == []


async def test_release_sends_what_was_withheld(stage: Stage, receiver: Receiver) -> None:
    sent = scene("RL-1", buyer=STRANGER)
    queue_id = stage.submit(MARTIN, sent.mail()).text
    assert [each["state"] for each in await stage.command("queue", "list")] == ["held"]
    await stage.command("queue", "release", queue_id, "--reason", "checked")
    assert await receiver.wait_relayed(1, 30)
    assert receiver.relayed[0].recipient == "00012345@agiris.example"
    (shown,) = await stage.command("queue", "show", queue_id)
    assert "released" in str(shown)
    assert "checked" in str(shown)


async def test_the_daemon_logs_who_ordered_what_and_why_once_for_ever(
    stages: Callable[..., Stage], receiver: Receiver
) -> None:
    await receiver.close()  # what is released stays deferred
    stage = stages(receiver.port)
    assert await stage.start(), stage.log.read_text()
    first, second = (stage.submit(MARTIN, scene(number, buyer=STRANGER).mail()).text for number in ("OP-1", "OP-2"))
    await stage.command("queue", "release", first, "--reason", "checked with the client")
    await stage.logged("deferred")
    await stage.command("queue", "retry", first, "--reason", "Agiris is back")
    await stage.logged("retried")
    await stage.command("queue", "replan", second, "--reason", "new SIREN")
    await stage.command("queue", "drop", second)
    await stage.logged("dropped")
    assert await stage.stop() == 0
    await stage.command("queue", "hold", first, "--reason", "while it was down")
    assert await stage.start()
    await stage.logged("held")
    assert await stage.stop() == 0
    assert await stage.start()
    third = stage.submit(MARTIN, scene("OP-3", buyer=STRANGER).mail()).text
    await stage.command("queue", "drop", third, "--reason", "the last one")
    await stage.logged("dropped")
    assert await stage.stop() == 0
    lines = [json.loads(line) for line in stage.log.read_text(encoding="utf-8").splitlines()]
    reported = [
        (each["event"], each["queue_id"], each["delivery"], each["why"]) for each in lines if "operator" in each
    ]
    assert reported == [
        ("released", first, f"{first}.1", "checked with the client"),
        ("retried", first, f"{first}.1", "Agiris is back"),
        ("replanned", second, None, "new SIREN"),
        ("dropped", second, f"{second}.2", None),
        ("held", first, f"{first}.1", "while it was down"),
        ("dropped", third, f"{third}.1", "the last one"),
    ]
    assert {each["operator"] for each in lines if "operator" in each} == {operator()}


async def test_a_dropped_message_never_leaves(stage: Stage, receiver: Receiver) -> None:
    first = stage.submit(MARTIN, scene("DR-1", buyer=STRANGER).mail()).text
    await stage.command("queue", "drop", first)
    await stage.command("queue", "release", first)
    second = scene("DR-2")
    stage.submit(MARTIN, second.mail())
    assert await receiver.wait_relayed(1, 30)
    assert [each.message_id for each in receiver.relayed] == [second.message_id]


async def test_trace_finds_a_document_by_each_of_its_names(stage: Stage, receiver: Receiver) -> None:
    sent = scene("TR-1")
    queue_id = stage.submit(MARTIN, sent.mail()).text
    assert await receiver.wait_relayed(1, 30)
    for term in (queue_id, sent.message_id, "TR-1", sent.attached[0].sha256, "00012345", BAKERY):
        found = await stage.command("trace", term)
        assert [each["queue_id"] for each in found] == [queue_id], term
    assert await stage.command("trace", "TR-9") == []


async def test_export_gives_back_the_message_octet_for_octet(stage: Stage, receiver: Receiver) -> None:
    sent = scene("EX-1")
    queue_id = stage.submit(MARTIN, sent.mail()).text
    target = stage.folder / "mail.eml"
    await stage.command("queue", "export", queue_id, "--to", str(target))
    assert target.read_bytes() == sent.mail()


async def test_explain_tells_the_same_and_writes_the_message(stage: Stage, receiver: Receiver) -> None:
    sent = scene("EP-1")
    mail = stage.folder / "in.eml"
    mail.write_bytes(sent.mail())
    out = stage.folder / "out.eml"
    (reported,) = await stage.command("explain", str(mail), "--recipient", MARTIN, "--write", str(out))
    assert (reported["disposition"], reported["client"]["dossier"], reported["client"]["by"]) == (
        "relay",
        "00012345",
        "recipient",
    )
    assert reported["mails"][0]["to"] == ["00012345@agiris.example"]
    assert reported["mails"][0]["documents"][0]["verdict"] == "valid"
    assert out.read_bytes().endswith(sent.mail().partition(b"\r\n\r\n")[2])
    assert receiver.relayed == []
