"""T1: the clock jumps while mails are deferred."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faketime import faketime
from tests.support.message_ledger import Balance, Books
from tests.support.rig import NextHop, Rig, wait_until
from tests.support.senders import invoice_mail, submit


@pytest.mark.parametrize("jump", ["+6d", "-1d"])
def test_clock_jumps(
    jump: str,
    rigs: Callable[..., Rig],
    sink: NextHop,
    books: Books,
    settle: Callable[..., Balance],
    check: Callable[[Balance], None],
    say: Callable[[str], None],
    tmp_path: Path,
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    rig = rigs(sink.port, environment=faketime(clock))
    sink.refuse()
    rig.start()
    for number in range(10):
        assert submit(rig.smtp, invoice_mail(f"T1A{number}", number % 4), books)
    wait_until(lambda: len(rig.events("deferred")) >= 10, 30, rig.tail)
    clock.write_text(jump)
    seen = len(rig.events("deferred"))
    # After the jump each is attempted again, and again refused: nothing may be given up for that.
    wait_until(lambda: len(rig.events("deferred")) >= seen + 20, 60, rig.tail)
    failed = rig.command("queue", "list", "--state", "failed")
    assert not failed, f"a clock that jumped by {jump} ended {len(failed)} deliveries"
    sink.behave()
    wait_until(lambda: sink.count() >= 10, 60, lambda: f"stuck after the jump:\n{rig.tail()}")
    found = settle(rig, sink, books)
    say(found.line(f"T1 {jump}", f"{len(failed)} given up"))
    check(found)
    assert rig.terminate() == 0
