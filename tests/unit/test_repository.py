"""What stands in the repository: no reference to a file that is not in it, and lock files that fit pyproject.toml."""

import re
import subprocess
import tomllib
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


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_text_refers_to_a_file_outside_of_the_repository() -> None:
    references = []
    for path in tracked_files():
        if path == Path(__file__) or ROOT / "relay" in path.parents:
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        name = path.relative_to(ROOT)
        references += [f"{name}:{number}: {line}" for number, line in enumerate(lines, 1) if ABSENT.search(line)]
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
