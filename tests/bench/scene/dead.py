"""A next hop that is dead in the worst way: it takes the connection and never says a word."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.contenders.ours import Ours
from tests.bench.load import sender
from tests.bench.load.bench import sending
from tests.bench.load.template import Template

MAILS = 100


@contextmanager
def blackhole() -> Iterator[int]:
    """Its port: the kernel completes connections, nobody greets."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield int(listener.getsockname()[1])


def send(ours: Ours, mail: Template) -> None:
    """Messages that can go nowhere, so that the dead one has all it can have under way."""
    task = sender.Task(ours.rig.smtp, os.urandom(3).hex(), MAILS, 10, (mail,))
    with sending(task) as senders:
        senders.go()
        assert len(senders.report().accepted) == MAILS
