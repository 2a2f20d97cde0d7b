"""`python -m relay.cli`: the same as the console script `agiris-relay`."""

from relay.cli import main

main(prog_name="agiris-relay")
