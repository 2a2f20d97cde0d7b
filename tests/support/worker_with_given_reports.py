"""A worker as it is, but for the check of documents: see daemon_with_given_reports."""

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import relay.facturx.inspect
from relay import serialization
from relay.checker import worker
from relay.inspection import Candidate, Options, Report

GIVEN: dict[str, str] = json.loads(Path(os.environ["GIVEN_REPORTS"]).read_text("utf-8"))


def inspect(candidates: Sequence[Candidate], options: Options, *_: Any, **__: Any) -> tuple[Report, ...]:
    return tuple(serialization.load(Report, GIVEN[sha256(each.content).hexdigest()]) for each in candidates)


if __name__ == "__main__":
    relay.facturx.inspect.inspect = inspect  # type: ignore[assignment]
    relay.facturx.inspect.self_test = lambda: None
    worker.main()
