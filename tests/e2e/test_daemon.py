"""Start, reload, stop: what an operator sees of the daemon."""

import json
import signal
import smtplib
import socket
import urllib.request
from collections.abc import Callable

from relay.demo.receiver import Receiver
from relay.demo.sample_pdf import facturx_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import BAKERY, FIRM_YAML, SUPPLIER, Attached, Scene
from relay.demo.stage import Stage

MARTIN = "martin@export.relay.example"


def scene(number: str) -> Scene:
    pdf = facturx_pdf(invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=BAKERY), text=number)
    return Scene("", MARTIN, (Attached("x.pdf", pdf),), None)


def page(stage: Stage, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{stage.http}{path}", timeout=10) as response:
        return str(response.read().decode())


async def test_a_faulty_configuration_ends_with_78_and_names_every_fault(
    stages: Callable[..., Stage], receiver: Receiver
) -> None:
    firm = FIRM_YAML.replace("connection: silent", "connection: silnet").replace("type: email", "type: ftp", 1)
    stage = stages(receiver.port, firms={"cabinet-demo": firm})
    stage.expected_exits = (78,)
    assert not await stage.start()
    log = stage.log.read_text(encoding="utf-8")
    assert "cabinet-demo.yaml:6:11: error: " in log
    assert 'Did you mean "silent"?' in log


async def test_a_port_that_is_taken_ends_with_75(stages: Callable[..., Stage], receiver: Receiver) -> None:
    stage = stages(receiver.port)
    stage.expected_exits = (75,)
    with socket.create_server(("127.0.0.1", stage.smtp)):
        assert not await stage.start()
    assert f"127.0.0.1:{stage.smtp}" in stage.log.read_text(encoding="utf-8")


async def test_a_spool_in_use_ends_with_75_and_names_its_holder(
    stages: Callable[..., Stage], stage: Stage, receiver: Receiver
) -> None:
    second = stages(receiver.port)
    second.expected_exits = (75,)
    text = (second.config / "relay.yaml").read_text(encoding="utf-8")
    (second.config / "relay.yaml").write_text(text.replace(str(second.folder), str(stage.folder)), encoding="utf-8")
    assert not await second.start()
    assert f"pid {stage.pid}" in second.log.read_text(encoding="utf-8")


async def test_a_bad_reload_changes_nothing_and_shows_in_a_metric(stage: Stage, receiver: Receiver) -> None:
    path = stage.config / "firms" / "cabinet-demo.yaml"
    path.write_text(FIRM_YAML.replace("agiris_address: 00012345@agiris.example", "agiris_address: nowhere"))
    stage.send_signal(signal.SIGHUP)
    await stage.logged("reload_failed")
    assert "agiris_relay_config_last_reload_success 0.0" in page(stage, "/metrics")
    first = scene("R-1")
    assert stage.submit(MARTIN, first.mail()).code == 250
    assert await receiver.wait_relayed(1, 30)
    assert receiver.relayed[0].recipient == "00012345@agiris.example"


async def test_a_reload_is_in_force_for_the_next_message(stage: Stage, receiver: Receiver) -> None:
    path = stage.config / "firms" / "cabinet-demo.yaml"
    path.write_text(FIRM_YAML.replace("00012345@agiris.example", "moved@agiris.example"))
    stage.send_signal(signal.SIGHUP)
    await stage.logged("reloaded")
    assert stage.submit(MARTIN, scene("R-2").mail()).code == 250
    assert await receiver.wait_relayed(1, 30)
    assert receiver.relayed[0].recipient == "moved@agiris.example"


async def test_the_pages_tell_health_and_figures(stage: Stage, receiver: Receiver) -> None:
    assert stage.submit(MARTIN, scene("M-1").mail()).code == 250
    assert await receiver.wait_relayed(1, 30)
    await stage.logged("delivered")
    metrics = page(stage, "/metrics")
    assert 'agiris_relay_messages_received_total{result="accepted"} 1.0' in metrics
    assert 'agiris_relay_documents_total{kind="factur-x",verdict="valid"} 1.0' in metrics
    assert 'agiris_relay_delivery_attempts_total{outcome="delivered",smarthost="default"} 1.0' in metrics
    assert page(stage, "/healthz").strip() == "ok"
    ready = json.loads(page(stage, "/readyz"))
    assert set(ready["checks"].values()) == {"ok"}


async def test_one_queue_id_from_reception_to_delivery_and_no_content_in_the_log(
    stage: Stage, receiver: Receiver
) -> None:
    sent = scene("LOG-1")
    reply = stage.submit(MARTIN, sent.mail())
    assert await receiver.wait_relayed(1, 30)
    await stage.logged("delivered")
    records = [json.loads(line) for line in stage.log.read_text(encoding="utf-8").splitlines()]
    story = [record["event"] for record in records if record.get("queue_id") == reply.text]
    assert story == ["accepted", "checked", "queued", "attempt", "delivered"]
    text = stage.log.read_text(encoding="utf-8")
    assert "LOG-1" not in text
    assert "x.pdf" not in text
    assert MARTIN not in text


async def test_a_rejected_recipient_and_a_message_over_the_limit_leave_their_domains_and_a_count(
    stages: Callable[..., Stage], receiver: Receiver
) -> None:
    stage = stages(receiver.port)
    path = stage.config / "relay.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("accept:\n", "accept:\n  max_mail_size: 2 KiB\n", 1))
    assert await stage.start(), stage.log.read_text(encoding="utf-8")
    with smtplib.SMTP("127.0.0.1", stage.smtp, timeout=30) as client:
        client.ehlo("plateforme.jefacture.example")
        assert client.mail("noreply@jefacture.example")[0] == 250
        assert client.rcpt("martin@exprot.relay.example")[0] == 550
        assert client.rcpt(MARTIN)[0] == 250
        assert client.data(b"Subject: x\r\n\r\n" + b"x\r\n" * 1000)[0] == 552
    figures = page(stage, "/metrics")
    assert 'agiris_relay_messages_received_total{result="rejected"} 1.0' in figures
    assert 'agiris_relay_rejections_total{cause="recipient",stage="rcpt"} 1.0' in figures
    assert 'agiris_relay_rejections_total{cause="message_size",stage="data"} 1.0' in figures
    assert await stage.stop() == 0
    text = stage.log.read_text(encoding="utf-8")
    lines = [each for each in map(json.loads, text.splitlines()) if each["event"] == "rejected"]
    assert [each["recipient_domains"] for each in lines] == [["exprot.relay.example"], ["export.relay.example"]]
    assert {each["sender_domain"] for each in lines} == {"jefacture.example"}
    assert "martin" not in text and "noreply" not in text


async def test_a_drain_finishes_and_ends_with_0(stage: Stage, receiver: Receiver) -> None:
    assert stage.submit(MARTIN, scene("D-1").mail()).code == 250
    assert await stage.stop() == 0
    events = [json.loads(line)["event"] for line in stage.log.read_text(encoding="utf-8").splitlines()]
    assert events[-1] == "stopped"


async def test_a_removed_client_with_messages_under_way_is_warned_of(stages: Callable[..., Stage]) -> None:
    gone = Receiver()
    await gone.start()
    await gone.close()  # a next hop that is down: the message stays in the queue
    extra = "".join(
        f'  - {{dossier: "2{number:04}", name: N, siren: "{BAKERY}", share_with_firm: true, connection: agiris,'
        f" agiris_address: n{number}@agiris.example, recipients: [n{number}@export.relay.example]}}\n"
        for number in range(20)
    )
    stage = stages(gone.port, firms={"cabinet-demo": FIRM_YAML + extra})
    assert await stage.start()
    assert stage.submit("n7@export.relay.example", scene("RM-1").mail()).code == 250
    await stage.logged("deferred")
    path = stage.config / "firms" / "cabinet-demo.yaml"
    path.write_text("".join(line for line in (FIRM_YAML + extra).splitlines(True) if '"20007"' not in line))
    stage.send_signal(signal.SIGHUP)
    await stage.logged("reloaded")
    log = stage.log.read_text(encoding="utf-8")
    assert 'client \\"cabinet-demo/20007\\" removed; 1 queued mails keep their old route' in log
