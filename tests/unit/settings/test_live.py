"""CurrentSettings: a reload puts everything in force or nothing."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relay.inspection import Severity
from relay.settings import live as settings_live
from relay.settings import reload_worker
from relay.settings.live import NONE, CurrentSettings, Firms, LoadResult, WorkerFailed, receive
from relay.settings.load import load
from tests.support.config_faults import FIRM, RELAY, without_incomplete, write
from tests.support.many_clients import write as write_many

SILENT = FIRM.replace("original_pdf: false", "link_name: Agiris")


async def current(folder: Path) -> CurrentSettings:
    found = CurrentSettings(folder)
    result = await found.reload()
    assert result.ok, result.faults
    return found


async def test_first_reload_loads_and_settings_before_it_are_an_error(tmp_path: Path) -> None:
    fresh = CurrentSettings(write(tmp_path))
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


async def test_the_file_allow_removal_allows_the_loss_for_an_hour(tmp_path: Path) -> None:
    live = await current(write(tmp_path))
    write(tmp_path, b=FIRM.replace('"1"', '"2"').replace("one@", "two@"))
    (tmp_path / "firms" / "a.yaml").unlink()
    allowed = tmp_path / "allow-removal"
    allowed.touch()
    for age in (3700, -3700):
        os.utime(allowed, (time.time() - age,) * 2)
        (fault,) = (await live.reload()).faults
        assert f"touch {allowed}, and reload within an hour" in fault.fix
    allowed.touch()
    assert (await live.reload()).ok
    assert list(live.settings.terms.clients) == ["b/2"]


async def test_no_client_left_is_refused(tmp_path: Path) -> None:
    live = await current(write(tmp_path))
    write(tmp_path, a=FIRM[: FIRM.index("clients:")] + "clients: []\n")
    result = await live.reload()
    assert [fault.what for fault in result.faults] == ["1 of 1 clients would disappear"]
    assert len(live.settings.terms.clients) == 1


async def test_a_key_read_once_is_reported_to_need_a_restart(tmp_path: Path) -> None:
    live = await current(write(tmp_path))
    write(tmp_path, relay=RELAY.replace("relay.test", "other.test") + "http: 127.0.0.1:9999\n")
    result = await live.reload()
    assert result.ok
    assert [(fault.what, fault.severity) for fault in without_incomplete(result.warnings)] == [
        ('key "hostname" was changed: it takes a restart', Severity.WARNING),
        ('key "http" was changed: it takes a restart', Severity.WARNING),
    ]


async def test_reloads_at_once_come_one_after_the_other(tmp_path: Path) -> None:
    live = await current(write(tmp_path))
    results = await asyncio.gather(live.reload(), live.reload(), live.reload())
    assert all(result.ok for result in results)


async def test_a_child_that_dies_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = await current(write(tmp_path))
    monkeypatch.setattr(settings_live.sys, "executable", "/bin/false")
    result = await live.reload()
    assert not result.ok
    assert "the process that reads the configuration failed" in result.faults[0].what


async def test_a_child_that_cannot_be_started_is_a_fault_and_worth_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await current(write(tmp_path))
    monkeypatch.setattr(settings_live.sys, "executable", str(tmp_path / "nothing"))
    result = await live.reload()
    assert (result.ok, result.unread) == (False, True)
    assert "no process can be started to read the configuration" in result.faults[0].what


async def replay(lines: list[bytes], before: Firms = NONE) -> LoadResult:
    source = iter(lines)

    async def readline() -> bytes:
        return next(source, b"")

    return await receive(readline, before)


async def test_what_the_child_says_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    loaded = load(write_many(tmp_path / "config", 120, 3))
    sent = [line + b"\n" for line in reload_worker.lines(loaded)]
    assert [line.split(b" ")[0].decode() for line in sent] == [
        *("faults", "settings"),
        *(["firm", "clients", "claims", "claims", "claims", "claims"] * 3),
        "end",
    ]
    taken = await replay(sent)
    assert (taken.settings, taken.faults, taken.reread) == (loaded.settings, loaded.faults, 3)
    for end in range(len(sent)):
        with pytest.raises(WorkerFailed):
            await replay(sent[:end])
    for lost in range(1, len(sent)):
        if sent[lost].startswith((b"settings", b"clients", b"end")):
            with pytest.raises(WorkerFailed):
                await replay([*sent[:lost], *sent[lost + 1 :]])
    with pytest.raises(WorkerFailed):
        await replay([*sent[:-1], b"end 119\n"])


async def test_only_what_has_changed_is_read_again(tmp_path: Path) -> None:
    folder = write_many(tmp_path / "config", 120, 3)
    live = CurrentSettings(folder)
    assert (await live.reload()).reread == 3
    before = dict(live.settings.terms.clients)
    assert (await live.reload()).reread == 0
    changed = folder / "firms" / "cabinet-0001.yaml"
    changed.write_text(changed.read_text().replace("original_pdf: false", "original_pdf: true"))
    assert (await live.reload()).reread == 1
    assert live.settings == load(folder).settings
    after = live.settings.terms.clients
    assert {key.split("/")[0] for key in before if after[key] is not before[key]} == {"cabinet-0001"}


async def test_relay_yaml_touches_all_that_is_inherited_from_it(tmp_path: Path) -> None:
    live = await current(write(tmp_path, relay=RELAY, a=SILENT))
    write(tmp_path, relay=RELAY + "defaults: {original_pdf: true}\n", a=SILENT)
    assert (await live.reload()).reread == 1
    assert live.settings.terms.clients["a/1"].original_pdf


async def test_a_warning_of_a_file_left_alone_is_reported_again(tmp_path: Path) -> None:
    folder = write(tmp_path, a=FIRM.rstrip("\n"))
    live = CurrentSettings(folder)
    first = await live.reload()
    again = await live.reload()
    assert again.reread == 0
    assert again.warnings == first.warnings
    assert any("half written" in fault.what for fault in again.warnings)


async def test_a_mode_that_changes_is_reported_though_the_file_is_the_same(tmp_path: Path) -> None:
    live = await current(write(tmp_path))
    (tmp_path / "firms" / "a.yaml").chmod(0o666)
    result = await live.reload()
    assert result.reread == 0
    assert any("anyone on this machine can write this file" in fault.what for fault in result.warnings)


async def test_a_changed_file_is_compared_with_those_left_alone(tmp_path: Path) -> None:
    folder = write_many(tmp_path / "config", 20, 2)
    live = await current(folder)
    taken = folder / "firms" / "cabinet-0000.yaml"
    taken.write_text(taken.read_text().replace("c0@", "c1@"))
    result = await live.reload()
    assert not result.ok
    assert [str(fault) for fault in result.faults] == [str(fault) for fault in load(folder).faults]
    assert "claimed by clients" in result.faults[0].what
    assert (folder / "firms" / "cabinet-0001.yaml").name in str(result.faults[0])


async def test_the_same_that_was_never_read_is_refused(tmp_path: Path) -> None:
    loaded = load(write_many(tmp_path / "config", 2, 1))
    head = [line + b"\n" for line in reload_worker.lines(loaded)][:2]
    with pytest.raises(WorkerFailed):
        await replay([*head, b'same "firms/cabinet-0000.yaml"\n', b"end 0\n"])


def test_what_another_release_tells_is_not_understood_and_forgotten() -> None:
    assert reload_worker.known([b'firm {"place": 3}\n']) == {}
    assert reload_worker.known([b"claims [[1]]\n"]) == {}


def test_the_daemon_loads_neither_pydantic_nor_pyyaml() -> None:
    code = "import sys, relay.daemon.daemon; print({'pydantic', 'yaml'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


async def test_clients_share_the_texts_that_are_equal(tmp_path: Path) -> None:
    live = await current(write_many(tmp_path / "config", 20, 2))
    first, second = (live.settings.terms.clients[f"cabinet-0000/{number:08d}"] for number in (2, 4))
    assert first.destination is second.destination and first.origins.own is second.origins.own
    assert first.addresses.purchases is first.addresses.sales
