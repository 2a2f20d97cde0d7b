"""All dialogues for the plain listener against one server, and where it answers otherwise.

    python -m tests.dialogs.run --server 127.0.0.1:2525
    python -m tests.dialogs.run --postfix shipped|hardened     (starts one for the time; needs Postfix, and root)

Tells a line for each script: `same`, or where it is answered otherwise first; then how many were answered alike. Codes
are compared, and enhanced codes; not the words after them.
"""

import argparse
import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from relay.demo.stage import free_port
from tests.dialogs import script as scripts
from tests.dialogs.script import Mismatch, Script, Step, play, read
from tests.support.postfix import Postfix

SHIPPED = {
    "myhostname": "mx.example",
    "mynetworks": "192.0.2.0/24",
    "relay_domains": "export.example",
    "message_size_limit": "100000",
    "smtpd_recipient_limit": "5",
    "smtpd_recipient_overshoot_limit": "1000",
    "smtpd_error_sleep_time": "0",
    "default_transport": "discard:",
    "relay_transport": "discard:",
}
"""As Debian ships it, but for what makes it the server of the scripts."""

HARDENED = SHIPPED | {
    "smtpd_helo_required": "yes",
    "strict_rfc821_envelopes": "yes",
    "disable_vrfy_command": "yes",
    "smtpd_forbid_bare_newline": "reject",
    "smtpd_forbid_bare_newline_exclusions": "",
    "smtpd_forbid_unauth_pipelining": "yes",
    "smtpd_data_restrictions": "reject_unauth_pipelining",
    "strict_smtputf8": "yes",
    "smtpd_helo_restrictions": "reject_invalid_helo_hostname",
    "smtpd_relay_restrictions": "reject_unauth_destination",
}
"""What its manual offers against odd clients."""

ELSEWHERE = {
    "an-internal-error-at-rcpt-is-451-and-in-step",
    "an-internal-error-is-451-and-reveals-nothing",
    "a-451-of-the-intake-is-passed-on",
}
"""Scripts that need the recording intake."""


def _without_words(script: Script) -> Script:
    def step_of_code(step: Step) -> Step:
        found = re.match(r"\d{3}( [245]\.\d\.\d+)?(?= )", step.text) if step.verb == "S" else None
        return replace(step, text=f"{found[0]} *") if found else step

    return replace(script, steps=tuple(map(step_of_code, script.steps)))


def answer(script: Script, address: tuple[str, int]) -> str:
    """`same`, or in what the server differs first."""
    try:
        play(script, address, receipts=False)
    except Mismatch as mismatch:
        return str(mismatch)
    except OSError as error:
        return f"{script.name}.dlg: {error}"
    return "same"


def run(address: tuple[str, int]) -> dict[str, str]:
    """Name of each script -> its answer."""
    found = [_without_words(read(path)) for path in sorted(Path(__file__).parent.glob("*.dlg"))]
    plain = [each for each in found if each.listener == "plain" and each.name not in ELSEWHERE]
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda each: answer(each, address), plain)
        return {each.name: said for each, said in zip(plain, answers, strict=True)}


async def against_postfix(settings: dict[str, str]) -> dict[str, str]:
    async with Postfix(free_port(), settings) as postfix:
        return await asyncio.to_thread(run, ("127.0.0.1", postfix.port))


def main() -> None:
    parser = argparse.ArgumentParser(description="play the dialogues with another server")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--server", help="host:port")
    which.add_argument("--postfix", choices=("shipped", "hardened"))
    parser.add_argument("--seconds", type=float, default=5.0, help="to wait for an answer (default: %(default)s)")
    options = parser.parse_args()
    scripts.SECONDS = options.seconds
    if options.server:
        host, _, port = options.server.rpartition(":")
        found = run((host.strip("[]"), int(port)))
    else:
        found = asyncio.run(against_postfix(SHIPPED if options.postfix == "shipped" else HARDENED))
    for name, said in found.items():
        print(said if said != "same" else f"{name}: same")
    print(f"{sum(said == 'same' for said in found.values())} of {len(found)} scripts are answered as here")


if __name__ == "__main__":
    main()
