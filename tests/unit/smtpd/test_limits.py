import ipaddress

import pytest

from relay.observability.events import RejectCause
from relay.smtpd.limits import (
    AUTH_FAILURES_PER_HOST,
    AuthFailureLimiter,
    ConnectionCounter,
    MemoryBudget,
    RateLimiter,
    allowed,
    host_of,
)
from tests.support.smtp_server import Limits


@pytest.mark.parametrize(
    "peer, host",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_host_of(peer: str, host: str) -> None:
    assert host_of(peer) == host


def test_networks() -> None:
    networks = [ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32")]
    assert allowed("192.0.2.7", networks) and allowed("::ffff:192.0.2.7", networks)
    assert allowed("2001:db8::1%eth0", networks)
    assert not allowed("198.51.100.1", networks) and not allowed("", networks) and not allowed("x", networks)


def test_connections_are_counted_by_host_and_in_all_but_rejected_ones_are_not() -> None:
    counter, limits = ConnectionCounter(), Limits(max_connections=3, max_connections_per_host=2)
    assert counter.enter("192.0.2.1", limits) is None
    assert counter.enter("192.0.2.1", limits) is None
    assert counter.enter("192.0.2.1", limits) is RejectCause.HOST_LIMIT
    assert counter.enter("192.0.2.2", limits) is None
    assert counter.enter("192.0.2.3", limits) is RejectCause.SERVER_LIMIT
    assert counter.total == 3
    counter.leave("192.0.2.1")
    counter.leave("192.0.2.2")
    assert counter.total == 1
    assert counter.enter("192.0.2.1", limits) is None


def test_wrong_passwords_are_forgotten_after_ten_minutes() -> None:
    now = 0.0
    limiter = AuthFailureLimiter(lambda: now)
    for _ in range(AUTH_FAILURES_PER_HOST):
        assert not limiter.blocked("2001:db8::1")
        limiter.record("2001:db8::1")
    assert limiter.blocked("2001:db8::2")
    now = 601.0
    assert not limiter.blocked("2001:db8::1")


def test_memory_budget_refuses_a_second_message_but_never_the_only_one() -> None:
    memory = MemoryBudget(100)
    assert memory.reserve(500, held=0)
    assert memory.reserve(500, held=500)
    assert not memory.reserve(1, held=0)
    memory.release(1000)
    assert memory.used == 0 and memory.reserve(60, held=0) and not memory.reserve(50, held=0)


def test_host_may_send_its_limit_and_no_more_in_any_minute() -> None:
    now = [0.0]
    rate = RateLimiter(lambda: now[0])
    assert [rate.admit("192.0.2.1", 3) for _ in range(4)] == [True, True, True, False]
    assert rate.admit("192.0.2.2", 3)
    now[0] = 20.0
    assert [rate.admit("192.0.2.1", 3) for _ in range(2)] == [True, False]
    now[0] = 3600.0
    assert [rate.admit("192.0.2.1", 3) for _ in range(4)] == [True, True, True, False]
    assert all(rate.admit("192.0.2.1", 0) for _ in range(100))
