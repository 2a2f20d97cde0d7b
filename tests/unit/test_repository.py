"""What stands in the repository: no reference to a file that is not in it, and lock files that fit pyproject.toml."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ABSENT = re.compile(
    r"\bDESIGN\b|\b(?:SMTP|FAULTS|CLI|FACTURX|SPEED|PAGE|NAMES|CONTRIBUTING)\.md\b|\bshared/|/work/|\bissue #?\d"
)
"""Notes of those who wrote it, which a reader has not: the rule itself must stand where it is needed."""

LOCKS = ("systemd/requirements.lock", ".ci/requirements.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the repository but this one, with its path below the root."""
    folders = (".ci", "config", "relay", "systemd", "tests")
    files = [*ROOT.glob("*.md"), *ROOT.glob("*.toml")]
    files += [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in sorted(files):
        if "__pycache__" in path.parts or path == Path(__file__):
            continue
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_text_refers_to_a_file_outside_of_the_repository() -> None:
    references = [
        f"{name}:{number}: {line}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if ABSENT.search(line)
    ]
    assert references == []


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Release and number of hashes of each package in a lock file."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / name).read_text(encoding="utf-8")).replace("\\\n", " ")
    packages = {}
    for line in text.splitlines():
        found = re.match(r"([\w.-]+)==([^\s;]+)", line)
        assert found is not None, line
        packages[canonicalize_name(found[1])] = (found[2], line.count("--hash=sha256:"))
    return packages


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_fits_pyproject_and_has_a_hash_for_each_package(name: str) -> None:
    required = PROJECT["project"]["dependencies"] + PROJECT["build-system"]["requires"]
    if name.startswith(".ci"):
        required = required + PROJECT["project"]["optional-dependencies"]["test"]
    packages = locked(name)
    for requirement in map(Requirement, required):
        release, _ = packages[canonicalize_name(requirement.name)]
        assert release in requirement.specifier, f"{requirement} but {release} in {name}: run .ci/lock"
    assert all(hashes > 0 for _, hashes in packages.values())


def test_the_service_runs_the_releases_that_were_tested() -> None:
    service, tested = map(locked, LOCKS)
    assert service.items() <= tested.items()


def test_only_what_is_reached_into_or_decides_verdicts_is_pinned() -> None:
    pinned = [each for each in PROJECT["project"]["dependencies"] if "==" in each]
    assert [Requirement(each).name for each in pinned] == ["aiosmtpd", "factur-x", "saxonche"]


def test_no_two_modules_of_the_program_have_one_name() -> None:
    names = [path.stem for path in (ROOT / "relay").rglob("*.py") if not path.stem.startswith("__")]
    commands = {path.stem for path in (ROOT / "relay" / "cli").glob("*.py")}  # a command has the name of what it is of
    assert sorted(name for name in {*names} if names.count(name) > 1 and name not in commands) == []
