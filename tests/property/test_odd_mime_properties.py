"""Messages of random odd MIME × the two buttons: what is kept does not change, nothing but originals is removed, and
nothing of another client leaves. What each document is, is known from how it was made."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.demo.sample_pdf import plain_pdf
from relay.mime.parser import parse
from relay.mime.rewriting import render
from relay.model import Action, Disposition
from tests.support import odd_mime
from tests.support.odd_mime import NAMED, OTHER, TOP, WORDS, invoice, judged, mixed, original, part

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")


@dataclass(frozen=True)
class Made:
    """One leaf: role, what it is; content; raw, the part; payload, its body as it stands in the message."""

    role: str
    content: bytes
    raw: bytes
    payload: bytes


CONTENTS: dict[str, Callable[[str], bytes]] = {
    "facturx": lambda number: invoice(number),
    "original": original,
    "annex": lambda number: plain_pdf(f"Feuille de temps pour les travaux du chantier {number[-1]}"),
    "wrong": lambda number: invoice("W-" + number, buyer=OTHER),
    "logo": lambda number: PNG + number.encode(),
}
BODIES: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("base64", odd_mime.b64),
    ("base64", lambda content: odd_mime.b64(content, 10**6)),
    ("BASE64", lambda content: odd_mime.b64(content, 60, b"\r\n\r\n")),
    ("base64", odd_mime.pieces),
    ("base64", lambda content: odd_mime.b64(content).replace(b"=", b"")),
    ("quoted-printable", odd_mime.qp),
    ("x-uuencode", odd_mime.uu),
    ("binary", odd_mime.raw8),
    ("7bit", odd_mime.b64),
    ("base64", odd_mime.uu),
    ("x-enigma", odd_mime.b64),
]
HEADERS = [
    NAMED,
    b"Content-Type: application/pdf; name=f.pdf\r\n",
    b"Content-Type: text/plain\r\n",
    b"Content-Type: PDF\r\nContent-Disposition: inline\r\n",
    b"Content-Type:\r\n",
    b"",
    b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=x.bin\r\n",
    b"Content-Type: image/png\r\nContent-ID: <a>\r\n",
    b"Content-Type: text/plain\r\nno field\r\n",
    b"Content-Type: text/plain\r\n\r\n",
]
USUAL = st.just(NAMED) | st.sampled_from(HEADERS)
NUMBERS = ("FA-2026-7781", "FA-2026-7782")


@st.composite
def leaf(draw: st.DrawFn) -> Made:
    role = draw(st.sampled_from(["facturx", "facturx", "original", "original", "annex", "wrong", "logo"]))
    content = CONTENTS[role](draw(st.sampled_from(NUMBERS)))
    encoding, how = draw(st.sampled_from(BODIES[:4]) | st.sampled_from(BODIES))
    payload = how(content)
    header = draw(USUAL) if role != "logo" else b"Content-Type: image/png\r\nContent-ID: <a>\r\n"
    return Made(role, content, part(header, encoding, payload), payload)


@st.composite
def message(draw: st.DrawFn) -> tuple[bytes, list[Made]]:
    leaves = draw(st.lists(leaf(), min_size=1, max_size=4))
    numbers = count(1)

    def nested(parts: list[bytes], depth: int) -> bytes:
        boundary = f"b{next(numbers)}".encode()
        if depth and len(parts) > 1 and draw(st.booleans()):
            cut = draw(st.integers(1, len(parts) - 1))
            parts = [*parts[:cut], nested(parts[cut:], depth - 1)]
        subtype = draw(st.sampled_from([b"mixed", b"mixed", b"related", b"alternative"]))
        head = b"Content-Type: multipart/" + subtype + b"; boundary=" + boundary + b"\r\n"
        return mixed(*parts, boundary=boundary, head=head, closed=draw(st.sampled_from([True, True, True, False])))

    raw = TOP + nested([WORDS, *(each.raw for each in leaves)], 2)
    odd = draw(st.sampled_from(["", "", "", "no field", "early blank", "epilogue", "text"]))
    if odd == "no field":
        raw = b"no field\r\n" + raw
    elif odd == "early blank":
        raw = raw.replace(b"MIME-Version: 1.0\r\n", b"MIME-Version: 1.0\r\n\r\n", 1)
    elif odd == "epilogue":
        raw += b"--b1\r\n" + leaves[-1].raw
    elif odd == "text":
        raw = raw.replace(b"multipart/mixed", b"text/plain", 1)
    return raw, leaves


@settings(max_examples=150, deadline=None)
@given(message(), st.booleans())
def test_odd_mime_loses_nothing_changes_nothing_and_tells_nobody(made: tuple[bytes, list[Made]], button: bool) -> None:
    raw, leaves = made
    result = judged(raw, original_pdf=button)
    planned: set[bytes] = set()
    for plan in result.decision.plans:
        documents = [(each, _role(raw[each.span.start : each.span.end], leaves)) for each in plan.documents]
        removed = [(each, role) for each, role in documents if each.action is Action.REMOVE]
        kept = [each for each, _ in documents if each.action is Action.KEEP]
        planned |= {raw[each.span.start : each.span.end].strip() for each, _ in documents}
        if plan.disposition is not Disposition.RELAY:
            continue
        assert not (button and removed)
        assert all(each.part == "original" and role in ("original", "facturx") for each, role in removed)
        # A removed Factur-X is a further copy of one that leaves.
        left = {each.report.xml_sha256 for each in kept}
        assert all(each.report.xml_sha256 in left for each, role in removed if role == "facturx")
        leaving = b"".join(render(raw, plan.prepend, plan.cuts))
        assert all(each.payload.strip() not in leaving for each in leaves if each.role == "wrong")
        assert all(raw[each.span.start : each.span.end] in leaving for each in kept)
        assert WORDS.rstrip() in leaving
        again = parse(leaving)
        found = [leaving[each.span.start : each.span.end].strip() for each in again.attachments]
        decorations = [each for each in found if _role(each, leaves) == "logo"]
        assert [each for each in found if each not in decorations] == [
            raw[each.span.start : each.span.end].strip() for each in kept
        ]
    relayed = [plan for plan in result.decision.plans if plan.disposition is Disposition.RELAY]
    if relayed:  # then every document was seen, and is in one of the plans
        assert all(any(each.payload.strip() in part for part in planned) for each in leaves if each.role != "logo")


def _role(octets: bytes, leaves: list[Made]) -> str:
    """Of the leaf whose body these octets hold."""
    return next((each.role for each in leaves if each.payload.strip() in octets), "unknown")


def test_the_generator_makes_originals_that_are_removed() -> None:
    parts = [part(NAMED, "base64", odd_mime.b64(CONTENTS[role](NUMBERS[0]))) for role in ("facturx", "original")]
    (plan,) = judged(TOP + mixed(WORDS, *parts)).decision.plans
    assert [each.action for each in plan.documents] == [Action.KEEP, Action.REMOVE]
    (plan,) = judged(TOP + mixed(WORDS, *parts), original_pdf=True).decision.plans
    assert [each.action for each in plan.documents] == [Action.KEEP, Action.KEEP]
