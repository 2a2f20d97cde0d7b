"""A reload that reads only what has changed says what reading everything says, whatever was done to the files."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.settings import reload_worker
from relay.settings.live import NONE, Firms, LoadResult, receive
from relay.settings.load import load
from tests.support.config_faults import RELAY

RELAYS = [
    RELAY,
    RELAY + "defaults: {original_pdf: true, operator: host@example.org}\n",
    RELAY + "defaults: {share_with_firm: false}\n",
    RELAY + "accept: {recipients: ['*@export.relay.example']}\n",
    RELAY + "accept: {recipients: ['*@else.example']}\nidentify: [recipient]\n",
    RELAY + "destinations: {slow: {max_mails_per_minute: 5}}\n",
    RELAY + "digest: daily\nreturn_path: one@export.relay.example\n",
    RELAY + "nonsense: 1\n",
    "",
]
SIRENS = ["404833048", "732829320", "123456789", ""]
HEADS = [
    "connections: {agiris: {}}",
    "connections: {agiris: {original_pdf: false}}",
    "connections: {agiris: {destination: slow}}",
    "connections: {other: {}}",
]
Edit = Callable[[Path], None]


def seldom(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 19)) == 19


@st.composite
def firm_texts(draw: st.DrawFn, name: str) -> str:
    """A firm's file; most are sound alone, some clash with the file of another firm or with relay.yaml."""
    clients = []
    for number in range(draw(st.integers(0, 3))):
        who = draw(st.sampled_from(["a0", "B1", "one", "a0+2"])) if seldom(draw) else f"{name}{number}"
        to = "a0@export.relay.example" if seldom(draw) else "a@agiris.example"
        lines = [f'dossier: "{0 if seldom(draw) else number}"', "connection: agiris", f"agiris_address: {to}"]
        lines.append(f"recipients: [{who}@export.relay.example]")
        if siren := draw(st.sampled_from(SIRENS)):
            lines.append(f'siren: "{siren}"')
        clients.append("  - " + "\n    ".join(lines) + "\n")
    text = "firm: Durand\n" + HEADS[draw(st.integers(0, 3)) if seldom(draw) else draw(st.integers(0, 1))] + "\n"
    text += "clients:\n" + "".join(clients) if clients else "clients: []\n"
    return text.rstrip("\n") if seldom(draw) else text


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    name, other = draw(st.sampled_from("abc")), draw(st.sampled_from("abc"))
    text, relay = draw(firm_texts(name)), draw(st.sampled_from(RELAYS))

    def write(folder: Path) -> None:
        (folder / "firms" / f"{name}.yaml").write_text(text)

    def write_relay(folder: Path) -> None:
        (folder / "relay.yaml").write_text(relay)

    def remove(folder: Path) -> None:
        (folder / "firms" / f"{name}.yaml").unlink(missing_ok=True)

    def rename(folder: Path) -> None:
        if (file := folder / "firms" / f"{name}.yaml").exists():
            file.replace(folder / "firms" / f"{other}.yaml")

    def swap(folder: Path) -> None:
        one, two = (folder / "firms" / f"{each}.yaml" for each in (name, other))
        if one.exists() and two.exists():
            texts = one.read_text(), two.read_text()
            two.write_text(texts[0])
            one.write_text(texts[1])

    return draw(st.sampled_from([write, write, write, write_relay, remove, rename, swap]))


def reload(folder: Path, before: Firms) -> LoadResult:
    """What Current.reload() takes, the child played in this process."""
    kept = reload_worker.known(line for reported in before.values() for line in reported.lines)
    sent = iter([line + b"\n" for line in reload_worker.lines(load(folder, kept))])

    async def readline() -> bytes:
        return next(sent, b"")

    return asyncio.run(receive(readline, before))


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.tuples(*map(firm_texts, "abc")), st.lists(edits(), min_size=1, max_size=8))
def test_a_reload_says_what_a_start_says(texts: tuple[str, ...], steps: list[Edit]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), NONE
        (folder / "firms").mkdir()
        (folder / "relay.yaml").write_text(RELAY)
        for firm, text in zip("abc", texts, strict=True):
            (folder / "firms" / f"{firm}.yaml").write_text(text)
        for edit in [lambda _: None, *steps]:
            edit(folder)
            whole, taken = load(folder), reload(folder, before)
            assert taken.faults == whole.faults
            assert taken.settings == whole.settings
            if whole.settings is not None and taken.settings is not None:
                assert list(taken.settings.terms.clients) == list(whole.settings.terms.clients)
                before = taken.firms
