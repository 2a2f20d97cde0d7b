"""Mutated dialogues: no hang, no 5xx for an internal error, no traceback; the server still serves (a fixed seed)."""

import asyncio
import random

from relay.observability.events import InternalError
from tests.support.smtp_fuzz import faults, mutated, replies
from tests.support.smtp_server import Events, Limits, Listener, Recorder, SmtpServer

SESSIONS = 300


async def test_mutated_dialogues_cause_no_internal_error() -> None:
    random_, recorder, events = random.Random(7), Recorder(), Events()
    server = SmtpServer([Listener()], lambda: Limits(idle_timeout=5.0), recorder, "mx.example", events, auth_delay=0.0)
    await server.start()
    try:
        async with asyncio.timeout(120):
            for _ in range(SESSIONS):
                stream = mutated(random_, b"c@export.example")
                assert faults(await replies(server.addresses[0], stream, random_)) == [], stream
        assert events.of(InternalError) == []
        assert recorder.mails, "the mutation is too wild to test anything"
    finally:
        await server.drain(5.0)
    assert server.sessions == 0
