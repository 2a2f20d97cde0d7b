"""The corpus of real documents: the folder that `AGIRIS_RELAY_CORPUS` names, else one beside the checkout; and a
configuration that belongs to it. Neither is part of the repository: without them their tests are skipped."""

import csv
import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("AGIRIS_RELAY_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus"))
MANIFEST = FOLDER / "MANIFEST.tsv"
CONFIG_EXAMPLE = FOLDER.parent / "config-example"

needed = pytest.mark.skipif(not MANIFEST.is_file(), reason=f"no corpus at {FOLDER}; set AGIRIS_RELAY_CORPUS")


def rows() -> list[dict[str, str]]:
    """The manifest's rows; empty without a corpus."""
    if not MANIFEST.is_file():
        return []
    with MANIFEST.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
