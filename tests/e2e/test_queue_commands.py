"""The operator's commands on the spool of a running daemon."""

from relay.demo.receiver import Receiver
from relay.demo.scenes import BAKERY, FIRM_YAML, STRANGER, SUPPLIER, Attached, Scene
from relay.demo.stage import Stage
from relay.facturx.samples import facturx_pdf, invoice_xml

MARTIN = "martin@export.relay.example"


def scene(number: str, recipient: str = MARTIN, buyer: str = BAKERY) -> Scene:
    pdf = facturx_pdf(invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=buyer), text=number)
    return Scene("", recipient, (Attached("x.pdf", pdf),), None)


async def test_held_mails_leave_once_after_the_yaml_is_mended_and_replan(stage: Stage, receiver: Receiver) -> None:
    sent = [scene(f"RP-{number}", "nouveau@export.relay.example", STRANGER) for number in range(5)]
    ids = [stage.submit(each.recipient, each.mail()).text for each in sent]
    assert {each["reason"] for each in await stage.command("queue", "list")} == {"unknown_client"}
    (stage.config / "firms" / "cabinet-demo.yaml").write_text(
        FIRM_YAML
        + f"""\
  - dossier: "00012350"
    name: Nouveau
    siren: "{STRANGER}"
    share_with_firm: true
    connection: agiris
    agiris_address: 00012350@agiris.example
    recipients: [nouveau@export.relay.example]
"""
    )
    dry = await stage.command("queue", "replan", "--dry-run", *ids)
    assert [each["after"][0]["disposition"] for each in dry] == ["relay"] * 5
    assert {each["state"] for each in await stage.command("queue", "list")} == {"held"}
    await stage.command("queue", "replan", *ids)
    assert await receiver.wait_relayed(5, 30)
    assert sorted(each.message_id for each in receiver.relayed) == sorted(each.message_id for each in sent)
    assert {each.recipient for each in receiver.relayed} == {"00012350@agiris.example"}


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


async def test_a_dropped_mail_never_leaves(stage: Stage, receiver: Receiver) -> None:
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


async def test_export_gives_back_the_mail_octet_for_octet(stage: Stage, receiver: Receiver) -> None:
    sent = scene("EX-1")
    queue_id = stage.submit(MARTIN, sent.mail()).text
    target = stage.folder / "mail.eml"
    await stage.command("queue", "export", queue_id, "--to", str(target))
    assert target.read_bytes() == sent.mail()


async def test_explain_tells_the_same_and_writes_the_mail(stage: Stage, receiver: Receiver) -> None:
    sent = scene("EP-1")
    mail = stage.folder / "in.eml"
    mail.write_bytes(sent.mail())
    out = stage.folder / "out.eml"
    (told,) = await stage.command("explain", str(mail), "--recipient", MARTIN, "--write", str(out))
    assert (told["disposition"], told["client"]["dossier"], told["client"]["by"]) == ("relay", "00012345", "recipient")
    assert told["mails"][0]["to"] == ["00012345@agiris.example"]
    assert told["mails"][0]["documents"][0]["verdict"] == "valid"
    assert out.read_bytes().endswith(sent.mail().partition(b"\r\n\r\n")[2])
    assert receiver.relayed == []
