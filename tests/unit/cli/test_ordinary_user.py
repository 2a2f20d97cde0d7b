"""A command run by another user than the service's says which user it is, and the command that works."""

import asyncio
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay.daemon.start import StartError, open_the_spool
from relay.observability.systemd import acting_as, current_user, denied, owner_of
from relay.routing.policy import Terms
from relay.settings.settings import Settings
from relay.spool.open import open_spool
from tests.support.as_user import needs_checkout_open_to_all
from tests.support.whole_config import give_to, remove, write_whole

ROOT = Path(__file__).parents[3]
OTHER, OWNER = "nobody", "daemon"


def exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or not exists(OTHER) or not exists(OWNER), reason="needs root, to be users nobody and daemon"
    ),
    needs_checkout_open_to_all,
]


@pytest.fixture(scope="module")
def host() -> Iterator[Path]:
    """A configuration and a spool that belong to OWNER, in a folder that all may enter."""
    folder = Path(tempfile.mkdtemp(prefix="ordinary-user-"))
    folder.chmod(0o755)
    write_whole(folder / "config")
    (folder / "config" / "relay.yaml").write_text(
        (folder / "config" / "relay.yaml").read_text().replace("sqlite:spool.db", f"sqlite://{folder}/spool/spool.db")
    )
    (folder / "mail.eml").write_text("To: one@export.relay.example\n\nx\n")
    (folder / "x.xml").write_text("<x/>")

    async def make() -> None:
        await open_spool(f"sqlite://{folder}/spool/spool.db").close()

    asyncio.run(make())
    give_to(folder / "config", pwd.getpwnam(OWNER).pw_uid)
    give_to(folder / "spool", pwd.getpwnam(OWNER).pw_uid)
    yield folder
    remove(folder)


def run_as(user: str, host: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.as_user", user, *words, "--config", str(host / "config")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


ON_SPOOL = (
    ("queue", "list"),
    ("queue", "show", "ABC"),
    ("queue", "hold", "ABC"),
    ("queue", "export", "ABC", "--to", "-"),
    ("trace", "F-1"),
    ("spool", "check"),
    ("spool", "backup", "/tmp/ordinary-user-copy.db"),
)
ON_CONFIG = (
    ("config", "check"),
    ("config", "show"),
    ("explain", "{host}/mail.eml"),
    ("facturx", "check", "{host}/x.xml"),
    ("dkim", "record"),
    ("queue", "replan", "ABC"),
)


def reported(done: subprocess.CompletedProcess[str]) -> None:
    assert "unforeseen" not in done.stderr
    assert "Traceback" not in done.stderr
    assert f"user {OTHER}" in done.stderr, done.stderr
    assert f"sudo runuser -u {OWNER} -- agiris-relay " in done.stderr, done.stderr


@pytest.mark.parametrize("words", ON_SPOOL, ids=" ".join)
def test_commands_on_the_spool_of_another_user_say_which_user_may(host: Path, words: tuple[str, ...]) -> None:
    (host / "config").chmod(0o755)
    done = run_as(OTHER, host, *words)
    reported(done)
    assert done.returncode == 2


@pytest.mark.parametrize("words", (*ON_CONFIG, *ON_SPOOL), ids=" ".join)
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["closed folder", "closed secrets"])
def test_commands_on_the_configuration_of_another_user_say_which_user_may(
    host: Path, words: tuple[str, ...], mode: int
) -> None:
    """With an open folder, the secrets that relay.yaml names are closed all the same."""
    (host / "config").chmod(mode)
    done = run_as(OTHER, host, *(word.format(host=host) for word in words))
    reported(done)
    assert done.returncode == (78 if mode == 0o700 or words in ON_CONFIG else 2)


def test_the_owner_gets_no_hint(host: Path) -> None:
    (host / "config").chmod(0o700)
    for words, code in ((("config", "check"), 0), (("queue", "list"), 1), (("spool", "check"), 0)):
        done = run_as(OWNER, host, *words)
        assert done.returncode == code, done.stderr
        assert "permission denied" not in done.stderr


def test_config_check_reads_as_the_user_asked_for(host: Path) -> None:
    (host / "config").chmod(0o755)
    as_owner = run_as("root", host, "config", "check", "--user", OWNER)
    assert as_owner.returncode == 0, as_owner.stderr
    assert f"(read as user {OWNER})" in as_owner.stdout
    as_other = run_as("root", host, "config", "check", "--user", OTHER)
    assert as_other.returncode == 78
    for name in ("users", "password", "token", "dkim.pem", "tls2/key.pem"):
        assert f"{name}: cannot read as user {OTHER}: Permission denied" in as_other.stderr
    assert as_other.stderr.endswith(f"(read as user {OTHER})\n")
    assert run_as(OTHER, host, "config", "check", "--user", OWNER).returncode == 2
    nobody = run_as("root", host, "config", "check", "--user", "no-such-user")
    assert (nobody.returncode, nobody.stderr) == (2, "there is no user no-such-user on this machine\n")


def test_acting_as_a_user_ends_also_after_an_error() -> None:
    before = os.geteuid(), os.getegid(), os.getgroups()
    with pytest.raises(ZeroDivisionError), acting_as(OTHER):
        assert current_user() == OTHER
        raise ZeroDivisionError
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before


def test_the_owner_of_what_cannot_be_seen_is_that_of_the_folder_above(host: Path) -> None:
    (host / "config").chmod(0o700)
    with acting_as(OTHER):
        assert owner_of(host / "config" / "firms" / "a.yaml") == OWNER
        assert f"permission denied for user {OTHER}: /x" in denied("/x") or "it belongs to" in denied("/x")


def may_execute_python() -> bool:
    with acting_as(OTHER):
        return os.access(sys.executable, os.X_OK, effective_ids=True)


@pytest.mark.parametrize(("mode", "code"), [(0o700, 78), (0o755, 78)], ids=["closed folder", "closed secrets"])
def test_the_daemon_with_the_configuration_of_another_user_says_which_user_may(
    host: Path, mode: int, code: int
) -> None:
    if not may_execute_python():
        pytest.skip("the interpreter, which reads the configuration in a process of its own, is closed to others")
    (host / "config").chmod(mode)
    done = run_as(OTHER, host, "run")
    reported(done)
    assert done.returncode == code


async def test_the_daemon_reports_a_spool_of_another_user_at_start(host: Path) -> None:
    settings = replace(
        Settings(terms=Terms("relay.example", ("*@export.example",))), spool=f"sqlite://{host}/spool/spool.db"
    )
    with acting_as(OTHER), pytest.raises(StartError) as fault:
        await open_the_spool(settings, lambda event: None)
    assert f"permission denied for user {OTHER}" in str(fault.value)
    assert f"sudo runuser -u {OWNER} -- " in str(fault.value)
