"""Reading one DATA from the wire, within the limits of size, time and memory."""

import asyncio
from dataclasses import dataclass

from relay.reply import Reply
from relay.smtpd.connection import Connection, Goodbye
from relay.smtpd.content import Content

NO_MEMORY = Reply(452, "4.3.1", "too much mail at once, try again later")


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as it came, un-stuffed. reserved: octets of `House.memory` that the receiver gives back."""

    raw: bytes
    reserved: int


async def receive(peer: Connection) -> Received | Reply:
    """The mail, or why it cannot be taken; the dialogue is in step again. Raises EOFError, TimeoutError, Goodbye.

    Over a limit the rest is thrown away, at most twice the size limit, then we hang up.
    """
    content = Content(peer.house.limits().max_mail_size)
    room = _Room(peer)
    try:
        await _read(peer, content, room)
    except BaseException:
        room.give_back()
        raise
    if content.refusal is not None:
        room.give_back()
        return content.refusal
    return Received(content.take(), room.held)


async def _read(peer: Connection, content: Content, room: "_Room") -> None:
    patience = 2 * peer.house.limits().max_mail_size + 1024 * 1024
    async with asyncio.timeout(peer.idle_timeout) as clock:
        while True:
            rest = content.feed(await peer.read_chunk())
            if not room.fits(len(content)):
                content.refuse(NO_MEMORY)
                room.fits(len(content))
            if rest is not None:
                peer.unread(rest)
                return
            if content.refusal is not None and content.discarded > patience:
                peer.say(content.refusal)
                raise Goodbye
            clock.reschedule(peer.loop.time() + peer.idle_timeout)


class _Room:
    """What one mail holds of the memory all share."""

    def __init__(self, peer: Connection) -> None:
        self._memory = peer.house.memory
        self.held = 0

    def fits(self, octets: int) -> bool:
        """Hold as much as the mail has grown, or shrunk, to."""
        grown = octets - self.held
        if grown > 0 and not self._memory.take(grown, beside=self.held):
            return False
        if grown < 0:
            self._memory.give(-grown)
        self.held = octets
        return True

    def give_back(self) -> None:
        self._memory.give(self.held)
        self.held = 0
