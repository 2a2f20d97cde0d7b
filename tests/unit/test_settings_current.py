"""Current: a reload puts everything in force or nothing."""

import asyncio
import json
from pathlib import Path

import pytest

from relay.report import Severity
from relay.settings import child, handover
from relay.settings.current import Current
from relay.settings.handover import Broken, receive
from relay.settings.load import load
from tests.support.config_faults import FIRM, RELAY, write
from tests.support.many_clients import write as write_many


async def current(folder: Path) -> Current:
    found = Current(folder)
    result = await found.reload()
    assert result.ok, result.faults
    return found


async def test_first_reload_loads_and_settings_before_it_are_an_error(tmp_path: Path) -> None:
    fresh = Current(write(tmp_path))
    with pytest.raises(RuntimeError):
        _ = fresh.settings
    assert (await fresh.reload()).ok
    assert fresh.settings == load(tmp_path).settings


async def test_reload_takes_a_change(tmp_path: Path) -> None:
    live = await current(write(tmp_path))
    before = live.settings
    write(tmp_path, a=FIRM.replace("false", "true"))
    assert (await live.reload()).ok
    assert live.settings.terms.clients["a/1"].original_pdf
    assert not before.terms.clients["a/1"].original_pdf


@pytest.mark.parametrize("content", ["", "firm: [\n", FIRM.replace("false", "oui"), FIRM[: len(FIRM) // 2]])
async def test_a_bad_reload_changes_nothing(tmp_path: Path, content: str) -> None:
    live = await current(write(tmp_path))
    before = live.settings
    write(tmp_path, a=content)
    result = await live.reload()
    assert not result.ok
    assert result.faults and result.faults[0].file == str(tmp_path / "firms" / "a.yaml")
    assert live.settings is before


async def test_sudden_loss_of_clients_is_refused_unless_allowed(tmp_path: Path) -> None:
    folder = write_many(tmp_path / "config", 100, 10)
    live = await current(folder)
    (folder / "firms" / "cabinet-0000.yaml").unlink()
    assert (await live.reload()).ok, "a tenth may go"
    (folder / "firms" / "cabinet-0001.yaml").unlink()
    result = await live.reload()
    assert not result.ok
    assert [fault.what for fault in result.faults] == ["10 of 90 clients would disappear"]
    assert len(live.settings.terms.clients) == 90
    assert (await live.reload(allow_loss=True)).ok
    assert len(live.settings.terms.clients) == 80


async def test_no_client_left_is_refused(tmp_path: Path) -> None:
    live = await current(write(tmp_path))
    write(tmp_path, a=FIRM[: FIRM.index("clients:")] + "clients: []\n")
    result = await live.reload()
    assert [fault.what for fault in result.faults] == ["1 of 1 clients would disappear"]
    assert len(live.settings.terms.clients) == 1


async def test_a_key_read_once_is_told_to_take_a_restart(tmp_path: Path) -> None:
    live = await current(write(tmp_path))
    write(tmp_path, relay=RELAY.replace("relay.test", "other.test") + "http: 127.0.0.1:9999\n")
    result = await live.reload()
    assert result.ok
    assert [(fault.what, fault.severity) for fault in result.warnings] == [
        ('key "hostname" was changed: it takes a restart', Severity.WARNING),
        ('key "http" was changed: it takes a restart', Severity.WARNING),
    ]


async def test_reloads_at_once_come_one_after_the_other(tmp_path: Path) -> None:
    live = await current(write(tmp_path))
    results = await asyncio.gather(live.reload(), live.reload(), live.reload())
    assert all(result.ok for result in results)


async def test_a_child_that_dies_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = await current(write(tmp_path))
    monkeypatch.setattr(handover.sys, "executable", "/bin/false")
    result = await live.reload()
    assert not result.ok
    assert "the process that reads the configuration failed" in result.faults[0].what


async def test_what_the_child_says_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    loaded = load(write_many(tmp_path / "config", 120, 3))
    sent = [line + b"\n" for line in child.lines(loaded)]
    assert len(sent) == 2 + 3 + 1

    async def replay(lines: list[bytes]) -> object:
        source = iter(lines)

        async def readline() -> bytes:
            return next(source, b"")

        return await receive(readline)

    assert await replay(sent) == (loaded.settings, loaded.faults)
    for end in range(len(sent)):
        with pytest.raises(Broken):
            await replay(sent[:end])
    with pytest.raises(Broken):
        await replay([*sent[:2], *sent[3:]])
    with pytest.raises(Broken):
        await replay([*sent[:-1], json.dumps({"clients": 119}).encode() + b"\n"])
