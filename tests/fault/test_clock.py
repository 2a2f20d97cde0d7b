"""The system clock jumps while messages are deferred."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, NextHopProcess, wait_until
from tests.support.faketime import faketime
from tests.support.message_ledger import Balance, Ledger
from tests.support.senders import invoice_mail, submit


@pytest.mark.parametrize("jump", ["+6d", "-1d"])
def test_clock_jump_ends_no_deferred_delivery(
    jump: str,
    daemons: Callable[..., DaemonProcess],
    next_hop: NextHopProcess,
    ledger: Ledger,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
    tmp_path: Path,
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    daemon = daemons(next_hop.port, environment=faketime(clock))
    next_hop.refuse()
    daemon.start()
    for number in range(10):
        assert submit(daemon.smtp, invoice_mail(f"T1A{number}", number % 4), ledger)
    wait_until(lambda: len(daemon.events("deferred")) >= 10, 30, daemon.tail)
    clock.write_text(jump)
    seen = len(daemon.events("deferred"))
    # After the jump each is attempted again, and again refused: nothing may be given up for that.
    wait_until(lambda: len(daemon.events("deferred")) >= seen + 20, 60, daemon.tail)
    failed = daemon.command("queue", "list", "--state", "failed")
    assert not failed, f"a clock that jumped by {jump} ended {len(failed)} deliveries"
    next_hop.behave()
    wait_until(lambda: next_hop.count() >= 10, 60, lambda: f"stuck after the jump:\n{daemon.tail()}")
    found = settle(daemon, next_hop, ledger)
    say(found.line(f"clock jump {jump}", f"{len(failed)} given up"))
    check(found)
    assert daemon.terminate() == 0
