"""Odd MIME with real documents, and the two settings of the second button: what is kept stays, octet for octet.

Each document says by how it was made what it is: an original, the XML of an invoice, or something that never goes.
"""

import email
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.demo.sample_pdf import facturx_pdf, plain_pdf
from relay.demo.samples import invoice_xml
from relay.mime.parser import parse
from relay.mime.rewriting import render
from relay.model import Action, Disposition, DocumentPart
from tests.support import mails
from tests.support.originals import HYBRID, ORIGINALS, OTHERS, B, decided, page, sums

PETIT, STRANGER = "356000000", "552100554"
LAYOUTS = ("narrow no-break space between thousands", "English", "each glyph by itself", "total with VAT only")
SECOND = B.xml().replace(b"F-2026-117", b"F-2026-118")


@dataclass(frozen=True)
class Made:
    """what: facturx | foreign (another client's) | original | scan | xml | other. of: the number it belongs to."""

    what: str
    content: bytes
    of: str = ""


@cache
def documents() -> tuple[Made, ...]:
    lines = ["Moulins Durand", "Facture F-2026-118", "27/11/2026", *sums(B)]
    foreign = invoice_xml(number="F-2026-117", seller_siren=STRANGER, buyer_siren=PETIT)
    changed = B.xml().replace(b"Boulangerie Martin", b"Boulangerie Martin et fils")
    return (
        *(Made("facturx", facturx_pdf(B.xml(), text=text), "F-2026-117") for text in (HYBRID, "")),
        Made("facturx", facturx_pdf(SECOND, text=HYBRID), "F-2026-118"),
        Made("facturx", facturx_pdf(changed, text=HYBRID), "F-2026-117"),
        Made("foreign", facturx_pdf(foreign, text="Facture F-2026-117")),
        *(Made("original", ORIGINALS[layout]().original, "F-2026-117") for layout in LAYOUTS),
        Made("original", page(lines), "F-2026-118"),
        Made("scan", plain_pdf("")),
        Made("xml", B.xml(), "F-2026-117"),
        *(Made("other", page(other)) for other in OTHERS.values()),
    )


NAMES = st.sampled_from(
    [
        None,
        "facture.pdf",
        "F-2026-117.pdf",
        "F-2026-117_facturx.pdf",
        "F-2026-118.pdf",
        "scan.pdf",
        "é à.pdf",
        "a;b.PDF",
    ]
)
LEAF = st.fixed_dictionaries(
    {
        "index": st.integers(0, 11 + len(OTHERS)),
        "filename": NAMES,
        "media_type": st.sampled_from(
            ["application/pdf", "application/octet-stream", "application/x-pdf", "image/pdf", "text/plain"]
        ),
        "encoding": st.sampled_from(["base64", "base64", "quoted-printable"]),
        "disposition": st.sampled_from(["attachment", "inline"]),
        "style": st.sampled_from(["quoted", "rfc2231", "continued", "rfc2047"]),
    }
).filter(lambda leaf: leaf["filename"] or leaf["media_type"] != "text/plain")
TREE = st.recursive(LEAF, lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=5)
SHAPE = st.fixed_dictionaries(
    {
        "closed": st.booleans(),
        "preamble": st.sampled_from([b"", b"This is a multi-part message.\r\n"]),
        "epilogue": st.sampled_from([b"", b"-- \r\nadded by a list\r\n"]),
        "forwarded": st.booleans(),
        "letter": st.sampled_from(["", "Bonjour.\r\n", "F-2026-117 \r\n-- \r\nfin"]),
    }
)


def entity(tree: object, depth: int = 0) -> bytes:
    """A leaf, or a multipart of what is below."""
    if isinstance(tree, list):
        subtype = "mixed" if depth != 1 else "related"
        return mails.multipart([entity(each, depth + 1) for each in tree], subtype, boundary=f"=_{depth}_{len(tree)}")
    assert isinstance(tree, dict)
    how = {key: value for key, value in tree.items() if key != "index"}
    content = documents()[tree["index"]].content
    if how.pop("encoding") == "quoted-printable":
        return mails.part(
            _quoted(content), encoding="", headers=[("Content-Transfer-Encoding", "quoted-printable")], **how
        )
    return mails.part(content, encoding="base64", **how)


def _quoted(content: bytes) -> bytes:
    """Every octet as =XX: what is binary survives."""
    coded = [b"=%02X" % octet for octet in content]
    return b"=\r\n".join(b"".join(coded[at : at + 24]) for at in range(0, len(coded), 24))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TREE, min_size=1, max_size=4), SHAPE, st.booleans(), st.booleans())
def test_only_originals_are_removed_and_what_is_kept_stays(
    trees: list[object], shape: dict[str, object], button: bool, always_paired: bool
) -> None:
    how = {key: shape[key] for key in ("closed", "preamble", "epilogue")}
    parts = [mails.text(str(shape["letter"])), *(entity(tree, 1) for tree in trees)]
    whole = mails.multipart(parts, boundary="=_outermost", **how)  # type: ignore[arg-type]
    if shape["forwarded"]:
        whole = mails.multipart([mails.text(), mails.rfc822(b"From: a@b.example\r\n" + whole)], boundary="=_forward")
    raw = mails.mail(entity=whole)
    message, decision = parse(raw), decided(raw, button, always_paired)
    by_digest = {sha256(each.content).hexdigest(): each for each in documents()}
    sent = {by_digest[digest].of for digest in _digests(raw) if by_digest[digest].what == "facturx"}
    for plan in decision.plans:
        left = b"".join(render(raw, plan.prepend, plan.cuts))
        for document in plan.documents:
            made = by_digest.get(document.report.sha256)
            start, end = document.span
            if document.action is Action.KEEP:
                assert raw[start:end] in left
                relayed = plan.disposition is Disposition.RELAY
                assert not (relayed and made is not None and made.what == "foreign")
                continue
            assert made is not None
            if document.part is DocumentPart.XML:
                assert made.what == "xml"
                continue
            assert not button
            assert made.what in ("original", "scan", "facturx")
            assert made.what != "original" or made.of in sent
            if made.what == "facturx":  # a copy with the same XML: another one stays
                kept = [each.report for each in plan.documents if each.action is Action.KEEP]
                assert document.report.xml_sha256 in {each.xml_sha256 for each in kept}
        kept_digests = [each.report.sha256 for each in plan.documents if each.action is Action.KEEP]
        assert sorted(_digests(left)) == sorted(each for each in kept_digests if each in by_digest)
    assert message.raw == raw


def _digests(raw: bytes) -> list[str]:
    """Of the documents that an independent parser finds."""
    found = []
    known = {sha256(each.content).hexdigest() for each in documents()}
    for part in email.message_from_bytes(raw).walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            digest = sha256(payload if isinstance(payload, bytes) else b"").hexdigest()
            found += [digest] if digest in known else []
    return found
