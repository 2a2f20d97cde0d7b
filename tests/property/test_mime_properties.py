"""Any MIME tree, any plan: what is kept is what was received. Any octets: a tree or MalformedMail, in linear time."""

import email
import email.policy
import sys
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.dsn.bounces import parse_dsn
from relay.mime.classification import has_tnef, is_auto_submitted, is_encrypted, is_partial, is_signed
from relay.mime.encoded_words import decode_words
from relay.mime.fingerprint import fingerprint
from relay.mime.header_writer import header
from relay.mime.headers import parse_value
from relay.mime.message import MalformedMail
from relay.mime.parser import parse
from relay.mime.rewriting import merge, part_cuts, render, size
from relay.mime.text import octets, safe_filename, text
from relay.model import Envelope, Recipient, Span
from tests.support import mails


@dataclass
class Node:
    """A tree to be built: a leaf (content, a file name of its own) or a multipart or a forwarded mail."""

    kind: str
    content: bytes = b""
    encoding: str = "base64"
    children: list["Node"] = field(default_factory=list)
    closed: bool = True
    preamble: bytes = b""
    epilogue: bytes = b""
    name: str = ""

    def leaves(self) -> list["Node"]:
        return [self] if self.kind == "leaf" else [leaf for child in self.children for leaf in child.leaves()]


# Bodies that look like what the parser searches for; "B1" and "B11" are boundaries below (one the prefix of another).
_LINES = st.sampled_from(
    [b"", b"--", b"--B", b"--B1", b"--B1--", b"--B11x", b" --B1", b"x", b"--X--", b"\x80\xff", b"."]
)
_BODIES = st.lists(_LINES, max_size=5).map(b"\r\n".join)
_BLOCKS = st.lists(st.sampled_from([b"", b"text", b"--not", b" "]), max_size=2).map(
    lambda each: b"".join(x + b"\r\n" for x in each)
)
_LEAVES = st.builds(
    Node, kind=st.just("leaf"), content=_BODIES, encoding=st.sampled_from(["base64", "8bit", "quoted-printable"])
)


def _branches(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.builds(
        Node,
        kind=st.just("multipart"),
        children=st.lists(children, min_size=1, max_size=4),
        closed=st.integers(0, 3).map(bool),
        preamble=_BLOCKS,
        epilogue=_BLOCKS,
    )


TREES = _branches(st.recursive(_LEAVES, _branches, max_leaves=10))


def number(tree: Node) -> None:
    for place, leaf in enumerate(tree.leaves()):
        leaf.name = f"{place}.pdf"


def build(node: Node, gone: frozenset[str] = frozenset(), path: str = "B1") -> bytes:
    """The octets of `node` less the leaves `gone`. Only base64 may hold a line like a delimiter of ours."""
    if node.kind == "leaf":
        content = node.content.replace(b"--B1", b"--C1") if node.encoding != "base64" else node.content
        return mails.part(content, "application/pdf", node.name, encoding=node.encoding)
    kept = [child for child in node.children if not {leaf.name for leaf in child.leaves()} <= gone]
    # The path keeps boundaries distinct, each the prefix of those below; epilogues of unclosed multiparts do not exist.
    places = [node.children.index(child) for child in kept]
    parts = [build(child, gone, f"{path}{place + 1}") for child, place in zip(kept, places, strict=True)]
    return mails.multipart(
        parts, boundary=path, closed=node.closed, preamble=node.preamble, epilogue=node.epilogue if node.closed else b""
    )


def give_preambles(node: Node) -> None:
    """Where the closing delimiter is missing, cutting the first part leaves an empty line as preamble: give it one."""
    node.preamble = node.preamble or (b"" if node.closed else b"x\r\n")
    for child in node.children:
        give_preambles(child)


@st.composite
def planned(draw: st.DrawFn) -> tuple[Node, frozenset[str]]:
    tree = draw(TREES)
    number(tree)
    names = [leaf.name for leaf in tree.leaves()]
    gone = frozenset(draw(st.sets(st.sampled_from(names), max_size=len(names) - 1)))
    return tree, gone


def python_view(raw: bytes) -> list[tuple[str, bytes]]:
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    return [(part.get_filename(), part.get_payload(decode=True)) for part in message.walk() if part.get_filename()]


def our_view(raw: bytes) -> list[tuple[str | None, bytes]]:
    message = parse(raw)
    return [(entity.filename, octets(message, entity)) for entity in message.attachments]


@settings(max_examples=100, deadline=None)
@given(planned())
def test_a_cut_message_is_the_message_that_never_had_the_parts(plan):
    tree, gone = plan
    give_preambles(tree)
    raw = mails.mail(entity=build(tree))
    message = parse(raw)
    cuts = part_cuts(message, [entity for entity in message.attachments if entity.filename in gone])
    left = b"".join(render(raw, b"", cuts))
    assert left == mails.mail(entity=build(tree, gone))
    assert size(raw, b"", cuts) == len(left)
    assert [name for name, _ in our_view(left)] == [leaf.name for leaf in tree.leaves() if leaf.name not in gone]
    if not gone:
        assert left == raw and cuts == ()


@settings(max_examples=100, deadline=None)
@given(planned())
def test_single_cuts_need_no_helper(plan):
    """Entity.cut alone, as long as no multipart is emptied: kept leaves octet for octet, for both parsers."""
    tree, gone = plan
    raw = mails.mail(entity=build(tree))
    message = parse(raw)
    before = {entity.filename: raw[entity.span.start : entity.span.end] for entity in message.attachments}
    cuts = merge(entity.cut for entity in message.attachments if entity.filename in gone)
    left = b"".join(render(raw, b"", cuts))
    after = parse(left)
    kept = [leaf.name for leaf in tree.leaves() if leaf.name not in gone]
    assert [entity.filename for entity in after.attachments] == kept
    for entity in after.attachments:
        assert left[entity.span.start : entity.span.end] == before[entity.filename]
    assert [name for name, _ in python_view(left)] == kept


@settings(max_examples=80, deadline=None)
@given(planned())
def test_we_read_what_python_reads(plan):
    raw = mails.mail(entity=build(plan[0]))
    # Python hands out quoted-printable and 8bit payloads less line ends at the very end in a few defective cases.
    ours, theirs = our_view(raw), python_view(raw)
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    assert [body.rstrip(b"\r\n") for _, body in ours] == [body.rstrip(b"\r\n") for _, body in theirs]


FRAGMENTS = st.sampled_from(
    (
        "\r\n|\n|\r|\r\n\r\n|--|--b|--b--|--b\r\n|b| |\t|;|=|\"|\\|:|*0*=|*=|''|%41|\x00|é|\udce9"
        '|Content-Type: |multipart/mixed; boundary=b|multipart/x; boundary="b"|message/rfc822|message/delivery-status'
        "|Content-Disposition: attachment; filename|=?utf-8?B?|=?utf-8?Q?|?=|Content-Transfer-Encoding: base64\r\n"
        "|From |Message-ID: <a>\r\n|Action: failed"
    )
    .encode("utf-8", "surrogateescape")
    .split(b"|")
)
SOUP = st.one_of(
    st.binary(max_size=200), st.lists(st.one_of(FRAGMENTS, st.binary(max_size=3)), max_size=40).map(b"".join)
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = bytearray(mails.mail(entity=build(draw(TREES))))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(raw)))
        raw[place : place + draw(st.integers(0, 8))] = draw(FRAGMENTS)
    return bytes(raw)


def read_all(raw: bytes) -> None:
    """Everything that reads a message, and the invariants of the tree."""
    envelope = Envelope("a@b", (Recipient("c@d"),))
    assert len(fingerprint(envelope, raw)) == 64
    parse_dsn(raw)
    try:
        message = parse(raw)
    except MalformedMail as error:
        assert str(error) and error.defect
        return
    for entity in message.root.walk():
        assert 0 <= entity.cut.start <= entity.span.start <= entity.body.start <= entity.body.end == entity.span.end
        # An empty part shares its line break with the next delimiter, and without a closing one the cut leaves that.
        assert min(entity.span.end, entity.span.start - 1) <= entity.cut.end <= len(raw)
        assert entity.span.start == entity.span.end or entity.span.end <= entity.cut.end
        places = [place for child in entity.children for place in child.span]
        assert places == sorted(places) and all(entity.body.start <= place <= entity.body.end for place in places)
        text(message, entity)
        assert safe_filename(entity.filename).isprintable()
        assert entity.filename is None or entity.filename.isprintable()
        render(raw, b"", part_cuts(message, [entity]))
    for test in (is_signed, is_encrypted, is_partial, has_tnef, is_auto_submitted):
        test(message)


@settings(max_examples=300, deadline=None)
@given(SOUP)
@example(b"")
@example(b"\r\n")
@example(b":")
@example(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b")
def test_soup_is_read_or_refused(raw):
    read_all(raw)


@settings(max_examples=100, deadline=None)
@given(mutated())
def test_a_damaged_message_is_read_or_refused(raw):
    read_all(raw)


@settings(max_examples=300, deadline=None)
@given(st.text(), st.text(max_size=30))
def test_a_header_line_never_becomes_two(value, start):
    raw = header("X-Relay", start + value)
    assert raw.isascii() and raw.endswith(b"\r\n") and b"\n" not in raw[:-2].replace(b"\r\n ", b"")
    assert [each.name for each in parse(raw + b"\r\n").root.headers] == ["x-relay"]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: Span(*pair)), max_size=8))
def test_merged_spans_cover_the_same_octets(spans):
    merged = merge(spans)
    covered = {place for span in spans for place in range(span.start, span.end)}
    assert {place for span in merged for place in range(span.start, span.end)} == covered
    assert all(one.end < other.start for one, other in pairwise(merged))
    assert all(span.start < span.end for span in merged)


def operations(function, argument) -> int:
    """Python lines executed, calls into C not counted: a bound that no busy machine moves."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(argument)
    except MalformedMail:
        pass
    finally:
        sys.settrace(before)
    return count


HOSTILE = [
    lambda n: mails.mail([b"\r\n" + b"x\r\n" * n]),
    lambda n: mails.mail([b"\r\n" + b"\r\n" * n]),
    lambda n: mails.mail([b"\r\n" + b"--Bx\r\n" * n], boundary="B"),
    lambda n: mails.mail([b"\r\n" + b"--B--x\r\n" * n], boundary="B"),
    lambda n: mails.mail([b"\r\n--B" + b" " * n + b"x"], boundary="B"),
    lambda n: b"X: " + b";" * n + b"\r\n\r\n",
    lambda n: b"Content-Type: text/plain" + b";" * n + b"\r\n\r\n",
    lambda n: b"Content-Type: text/plain; a=" + b'"' * n + b"\r\n\r\n",
    lambda n: b"Content-Type: text/plain; a=" + b"\\" * n + b"\r\n\r\n",
    lambda n: b"Content-Type: text/plain" + b"; a" * n + b"\r\n\r\n",
    lambda n: b"Content-Type: text/plain; " + b"a" * n + b"\r\n\r\n",
    lambda n: b"Content-Type: text/plain; " + b" " * n + b"\r\n\r\n",
    lambda n: b'Content-Type: text/plain; name="' + b"=?utf-8?q?a" * (n // 12) + b'"\r\n\r\n',
    lambda n: b'Content-Type: text/plain; name="' + b"=?utf-8?q?a?= " * (n // 14) + b'"\r\n\r\n',
    lambda n: b"Content-Type: text/plain" + b"".join(b"; name*%d=a" % place for place in range(n // 12)) + b"\r\n\r\n",
    lambda n: b"A" * n + b"\r\n\r\n",
    lambda n: b"A" + b" " * n + b"\r\n\r\n",
]


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_twice_the_octets_at_most_twice_the_work(place):
    small, large = (operations(parse, HOSTILE[place](size)) for size in (20_000, 40_000))
    assert large <= 2.2 * small + 200
    assert large < 10_000


def test_parts_over_the_limit_are_not_counted_to_the_end():
    operations(parse, mails.mail([b""] * 4_000))  # what is done but once in a process is not counted below
    few, many = (operations(parse, mails.mail([b""] * size)) for size in (4_000, 40_000))
    assert few == many


def test_delimiters_cost_no_line_of_python_per_line_of_a_body():
    short, long = (operations(parse, mails.mail([b"\r\n" + b"x\r\n" * size])) for size in (10, 100_000))
    assert short == long


@pytest.mark.parametrize(
    "piece", ['"', "\\", ";", " ", "a=", '" ', '"a', "=?utf-8?q?", "=?a?b?", "%", "'", "*0*=", "\t;"]
)
def test_a_quarter_megabyte_of_anything_is_read(piece):
    """Work inside of C (regular expressions) is not counted above: quadratic there would take minutes here."""
    value = "x/y; name=" + piece * (250_000 // len(piece))
    parse_value(value)
    parse_value(value.replace("name=", 'name="'))
    decode_words(value)
