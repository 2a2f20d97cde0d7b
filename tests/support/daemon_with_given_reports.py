"""The daemon as it is, but for the check of documents: it answers what the file $GIVEN_REPORTS says of each.

Documents that no sample can be made of (a worker crash, a broken encryption) have their row in the decision table too.
"""

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from relay import serialization
from relay.checker.pool import CheckerPool
from relay.cli import main
from relay.inspection import Candidate, Options, Report

GIVEN: dict[str, str] = json.loads(Path(os.environ["GIVEN_REPORTS"]).read_text("utf-8"))


async def inspect(self: CheckerPool, candidates: Sequence[Candidate], options: Options) -> tuple[Report, ...]:
    return tuple(serialization.load(Report, GIVEN[sha256(each.content).hexdigest()]) for each in candidates)


if __name__ == "__main__":
    CheckerPool.inspect = inspect  # type: ignore[method-assign]
    main()
