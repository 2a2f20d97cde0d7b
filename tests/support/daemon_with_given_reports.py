"""The daemon as it is, but for the check of documents: its workers answer what the file $GIVEN_REPORTS says of each.

Documents that no sample can be made of (a worker crash, a broken encryption) have their row in the decision table too.
"""

from relay.checker import process
from relay.cli import main

if __name__ == "__main__":
    process.CHILD = "tests.support.worker_with_given_reports"
    process.KEPT_ENVIRONMENT = (*process.KEPT_ENVIRONMENT, "GIVEN_REPORTS")
    main()
