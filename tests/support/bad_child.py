"""Workers that misbehave on every request; `bad_child_*` run it, in place of relay.checker.worker."""

import os
import socket
import sys
import time

from relay.checker import frames
from relay.checker.progress import ProgressPage


def misbehave(how: str) -> None:
    """Read one request whole, then do it. how: exit | hang | nonsense | short."""
    channel = socket.socket(fileno=os.dup(0))
    progress = ProgressPage(int(sys.argv[3]))
    inbox = frames.Inbox(channel)
    while True:
        header, _ = inbox.receive()
        progress.begin(header["frame"])
        if header["requests"][0]["op"] == "self-test":
            channel.sendall(frames.frame({"reason": None}))
        elif how == "hang":
            time.sleep(3600)
        elif how == "nonsense":
            channel.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 4)
        elif how == "short":
            channel.sendall(frames.frame({"reports": []}))
        else:
            os._exit(1)
