"""Odd messages through the daemon: what must leave leaves as it came, what cannot be told is held, nothing is lost."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from hashlib import sha256
from itertools import chain

import pytest

from relay.demo.receiver import Arrival, Receiver
from relay.demo.sample_pdf import facturx_pdf, original_pdf
from relay.demo.samples import invoice_xml
from relay.demo.scenes import ARTISAN, BAKERY, FIRM_YAML, SUPPLIER
from relay.demo.stage import CHECK_YAML, Stage
from tests.support.mails import mail, multipart, part, pdf, text

MARTIN = "martin@export.relay.example"
AGIRIS = "00012345@agiris.example"
WIDE = "destinations: {agiris: {max_mails_per_minute: 100000, attachment_types: []}}\n"


def invoice(number: str) -> bytes:
    return facturx_pdf(_xml(number), text=f"Facture {number}")


def original(number: str) -> bytes:
    return original_pdf(_xml(number))


def _xml(number: str) -> bytes:
    return invoice_xml(number=number, seller_siren=SUPPLIER, buyer_siren=BAKERY)


FLOWED = "Bonjour, \r\nune ligne qui \r\n>> continue \r\n-- \r\n--  \r\nfin \r\n"


@dataclass(frozen=True)
class Odd:
    """name: also the invoice number's stem. keeps: digests that must arrive, in order; cut: those that must not."""

    name: str
    parts: Callable[[str], bytes]
    keeps: Callable[[str], Sequence[bytes]]
    exact: bytes = b""


def _flowed(number: str) -> bytes:
    letter = part(FLOWED, "text/plain; charset=utf-8; format=flowed; delsp=yes", encoding="8bit")
    return multipart([letter, pdf(invoice(number), "f.pdf"), pdf(original(number), "o.pdf")])


def _boundary(boundary: str, **how: object) -> Callable[[str], bytes]:
    def made(number: str) -> bytes:
        return multipart(
            [text(), pdf(invoice(number), "f.pdf"), pdf(original(number), "o.pdf")],
            boundary=boundary,
            **how,  # type: ignore[arg-type]
        )

    return made


def _nested(number: str) -> bytes:
    inner = multipart([pdf(invoice(number), "f.pdf")], boundary="b")
    deeper = multipart([multipart([text()], "alternative", boundary="bbb"), inner], boundary="bb")
    return multipart([deeper, pdf(original(number), "o.pdf")], boundary="bbbb")


def _empty(number: str) -> bytes:
    return multipart([text(), pdf(invoice(number), "f.pdf"), pdf(b"", "vide.pdf"), pdf(original(number), "o.pdf")])


def _lying(number: str) -> bytes:
    """The invoice calls itself a program, the original calls itself the Factur-X."""
    return multipart(
        [text(), part(invoice(number), "application/octet-stream", "setup.exe"), pdf(original(number), "factur-x.pdf")]
    )


EVIL = 'f.pdf"\r\nBcc: thief@evil.example\r\nX: "'


def _injection(number: str) -> bytes:
    return multipart(
        [
            text(),
            pdf(invoice(number), EVIL, style="rfc2231"),
            pdf(original(number), EVIL.replace("f.pdf", "o.pdf"), style="rfc2231"),
        ]
    )


def both(number: str) -> Sequence[bytes]:
    return [invoice(number)]


ODD = [
    Odd("FLOWED", _flowed, both, FLOWED.encode()),
    Odd("BOUNDARY", _boundary("'()+_,-./:=? b"), both),
    Odd("LONG", _boundary("x" * 70), both),
    Odd(
        "PADDED", _boundary("=_p", preamble=b"This is a multi-part message.\r\n", epilogue=b"--=_p\r\nafter\r\n"), both
    ),
    Odd("OPEN", _boundary("=_o", closed=False), both),
    Odd("NESTED", _nested, both),
    Odd("EMPTY", _empty, lambda number: [invoice(number), b""]),
    Odd("LYING", _lying, both),
    Odd("INJECT", _injection, both),
]


def documents(arrival: Arrival) -> list[str]:
    parts = message_from_bytes(arrival.content, policy=default).walk()
    return [sha256(each.get_payload(decode=True)).hexdigest() for each in parts if each.get_filename()]


@pytest.fixture
async def wide(stages: Callable[..., Stage], receiver: Receiver) -> Stage:
    stage = stages(receiver.port, more=CHECK_YAML + WIDE)
    assert await stage.start(), stage.log.read_text()
    return stage


async def test_what_is_odd_but_readable_is_relayed_and_its_original_cut(wide: Stage, receiver: Receiver) -> None:
    subjects = {}
    for each in ODD:
        number = f"{each.name}-7781"
        subject = "=?utf-8?Q?Facture=0D=0ABcc:_thief=40evil.example?="
        raw = mail(entity=each.parts(number), message_id=f"<{each.name}@x.example>", subject=subject)
        subjects[f"<{each.name}@x.example>"] = each
        reply = await asyncio.to_thread(wide.submit, MARTIN, raw)
        assert reply.code == 250, (each.name, reply)
    assert await receiver.wait_relayed(len(ODD), 60), await wide.command("queue", "list", "--all")
    for arrival in receiver.relayed:
        each = subjects[arrival.message_id]
        wanted = [sha256(content).hexdigest() for content in each.keeps(f"{each.name}-7781")]
        assert documents(arrival) == wanted, each.name
        assert arrival.recipient == AGIRIS
        assert each.exact in arrival.content, each.name
        header = arrival.content.partition(b"\r\n\r\n")[0]
        assert b"\r\nbcc" not in header.lower(), each.name
        assert b"Subject: =?utf-8?Q?Facture=0D=0ABcc:_thief=40evil.example?=\r\n" in arrival.content
    assert wide.log.read_text("utf-8").count("thief@evil.example") == 0


async def test_a_thousand_attachments_leave_ten_by_ten(wide: Stage, receiver: Receiver) -> None:
    number = "MANY-7781"
    contents = [invoice(number), *(b"%%PDF-1.4\n%%%d\n" % index for index in range(999))]
    raw = mail(entity=multipart([text(), *(pdf(each, f"{index}.pdf") for index, each in enumerate(contents))]))
    assert (await asyncio.to_thread(wide.submit, MARTIN, raw)).code == 250
    assert await receiver.wait_relayed(100, 120)
    arrived = [documents(each) for each in receiver.relayed]
    assert [len(each) for each in arrived] == [10] * 100
    assert sorted(chain.from_iterable(arrived)) == sorted(sha256(each).hexdigest() for each in contents)
    assert len({each.message_id for each in receiver.relayed}) == 100
    later = [each for each in receiver.relayed if each.message_id != "<1@jefacture.example>"]
    assert len(later) == 99 and all("<1@jefacture.example>" in each.message["References"] for each in later)


async def test_what_makes_more_than_a_hundred_messages_is_held_whole(wide: Stage, receiver: Receiver) -> None:
    many = [pdf(b"%%PDF-1.4\n%%%d\n" % index, f"{index}.pdf") for index in range(1_001)]
    raw = mail(entity=multipart([text(), *many]))
    assert (await asyncio.to_thread(wide.submit, MARTIN, raw)).code == 250
    (held,) = await wide.command("queue", "list", "--state", "held")
    assert (held["reason"], held["detail"]) == ("too_many_attachments", "101 > 100")
    assert receiver.relayed == []


async def test_a_link_instead_of_a_document_is_named_and_never_fetched(
    stages: Callable[..., Stage], receiver: Receiver
) -> None:
    asked: list[bytes] = []

    async def seen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(seen, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    stage = stages(receiver.port, more="check: {on_missing: hold}\n")
    assert await stage.start(), stage.log.read_text()
    letter = text(f'<a href="http://{place}/facture.pdf?key=SECRET">ici</a> <img src="http://{place}/x.png">', "html")
    raw = mail(entity=multipart([letter]))
    queue_id = (await asyncio.to_thread(stage.submit, MARTIN, raw)).text
    (held,) = await stage.command("queue", "list", "--state", "held")
    assert (held["reason"], held["detail"]) == ("no_document", " (links: 1)")
    saved = stage.folder / "mail.eml"
    saved.write_bytes(raw)
    (reported,) = await stage.command("explain", str(saved), "--recipient", MARTIN)
    assert f"{place}/facture.pdf" in str(reported["steps"]) and "SECRET" not in str(reported)
    await stage.command("queue", "release", queue_id)
    assert await receiver.wait_relayed(1, 30)
    assert await stage.stop() == 0
    server.close()
    assert asked == []
    assert "SECRET" not in stage.log.read_text("utf-8")


async def test_what_left_once_is_a_loop_when_it_comes_back(wide: Stage, receiver: Receiver) -> None:
    raw = mail(entity=multipart([text(), pdf(invoice("LOOP-7781"), "f.pdf")]))
    assert (await asyncio.to_thread(wide.submit, MARTIN, raw)).code == 250
    assert await receiver.wait_relayed(1, 30)
    reply = await asyncio.to_thread(wide.submit, MARTIN, receiver.relayed[0].content)
    assert (reply.code, reply.enhanced) == (554, "5.4.6")
    await wide.logged("delivered")
    assert [each["state"] for each in await wide.command("queue", "list", "--all") if each["recipient"] == AGIRIS] == [
        "delivered"
    ]


@pytest.mark.parametrize("order", ["release", "replan"])
async def test_what_was_withheld_leaves_once_it_may(order: str, stage: Stage, receiver: Receiver) -> None:
    xml = invoice_xml(number="WH-7781", seller_siren=ARTISAN, buyer_siren=SUPPLIER)
    content = facturx_pdf(xml, text="Facture WH-7781")
    raw = mail(entity=multipart([text(), pdf(content, "f.pdf")]))
    queue_id = (await asyncio.to_thread(stage.submit, "atelier@export.relay.example", raw)).text
    (withheld,) = await stage.command("queue", "list")
    assert (withheld["state"], withheld["reason"]) == ("withheld", "transmission_off")
    if order == "replan":
        (stage.config / "firms" / "cabinet-demo.yaml").write_text(
            FIRM_YAML.replace("transmit_documents: false", "transmit_documents: true")
        )
    await stage.command("queue", order, queue_id)
    assert await receiver.wait_relayed(1, 30)
    assert await stage.stop() == 0
    (arrived,) = receiver.relayed
    assert (arrived.recipient, documents(arrived)) == ("00012347@agiris.example", [sha256(content).hexdigest()])
