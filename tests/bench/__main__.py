"""The bench: `python -m tests.bench COMMAND --help`. README.md in this folder tells how it measures."""

import importlib
import sys

COMMANDS = {
    "compare": "ours against Postfix, plain and with a milter: rate, CPU, memory, side by side in one run",
    "profile": "where the time of one message goes, by thread, package and function",
    "path": "how many modules and functions of the daemon one message passes",
    "growth": "more of it: waiting mails, clients, sessions, octets, destinations",
    "latency": "p50 and p99 at a steady rate, ours against Postfix, also on a slow disk",
    "hostile": "a huge mail, and one that takes a worker its whole time-out: what the others lose",
}


def main() -> None:
    """Run the command named first."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        width = max(map(len, COMMANDS))
        lines = "\n".join(f"  {name:{width}}  {what}" for name, what in COMMANDS.items())
        sys.exit(f"usage: python -m tests.bench COMMAND [--help]\n\n{lines}")
    name = sys.argv.pop(1)
    sys.argv[0] = f"python -m tests.bench {name}"
    sys.exit(importlib.import_module(f"tests.bench.commands.{name}").main())


if __name__ == "__main__":
    main()
