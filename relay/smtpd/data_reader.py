"""Reading a mail from the wire, by DATA or by BDAT, within the limits of size, time and memory."""

from dataclasses import dataclass

from relay.replies import Reply
from relay.smtpd.data import TOO_LARGE, BdatDecoder, DataDecoder, repair
from relay.smtpd.transport import LineTransport, SessionEnded

NO_MEMORY = Reply(452, "4.3.1", "too much mail at once, try again later")


class EndlessMessage(SessionEnded):
    """A message far over the limit: it was answered `reply` and is not read to its end."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message as it came, un-stuffed. reserved: octets of `House.memory` that the receiver gives back."""

    raw: bytes
    reserved: int


class MessageRoom:
    """What one message holds of the memory all share."""

    def __init__(self, peer: LineTransport) -> None:
        self._memory = peer.house.memory
        self.held = 0

    def fits(self, octets: int) -> bool:
        """Hold as much as the message has grown, or shrunk, to."""
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


class BdatBuffer:
    """A message that comes by BDAT, over several commands: its chunks and the room they take."""

    def __init__(self, peer: LineTransport) -> None:
        self._peer = peer
        self.chunks = BdatDecoder(peer.house.limits().max_mail_size)
        self.room = MessageRoom(peer)

    async def read(self, size: int) -> None:
        """Take the next chunk to its end. Raises EOFError, TimeoutError, Goodbye."""
        chunks = self.chunks
        chunks.expect(size)
        left, patience = size, _patience(self._peer)
        if chunks.refusal is not None and chunks.discarded + size > patience:
            self._peer.say(chunks.refusal)  # nobody reads on for gigabytes only to stay in step
            raise EndlessMessage(chunks.refusal)
        self._peer.amid = True
        while left:
            octets = await self._peer.read_chunk(left)
            left -= len(octets)
            chunks.feed(octets)
            self._hold()
        self._peer.amid = False

    def _hold(self) -> None:
        if not self.room.fits(len(self.chunks)):
            self.chunks.refuse(NO_MEMORY)
            self.room.give_back()

    def take(self) -> ReceivedMessage | Reply:
        """The message, after its last chunk, or why it cannot be taken."""
        if self.chunks.refusal is not None:
            self.release()
            return self.chunks.refusal
        return _finished(self._peer, self.chunks.take(), self.room)

    def release(self) -> None:
        """Let go of what came so far."""
        self.chunks.refuse(NO_MEMORY)
        self.room.give_back()


async def receive(peer: LineTransport) -> ReceivedMessage | Reply:
    """The message of one DATA, or why it cannot be taken; the dialogue is in step again.

    Over a limit the rest is thrown away, at most twice the size limit, then we hang up.
    Raises EOFError, TimeoutError, Goodbye.
    """
    content = DataDecoder(peer.house.limits().max_mail_size)
    room = MessageRoom(peer)
    try:
        await _read(peer, content, room)
    except BaseException:
        room.give_back()
        raise
    if content.refusal is not None:
        room.give_back()
        return content.refusal
    return _finished(peer, content.take(), room)


def _finished(peer: LineTransport, raw: bytes, room: MessageRoom) -> ReceivedMessage | Reply:
    limits = peer.house.limits()
    if limits.bare_lf == "repair":
        grown = len(raw) + raw.count(b"\n") - raw.count(b"\r\n")
        refusal = TOO_LARGE if grown > limits.max_mail_size else None if room.fits(grown) else NO_MEMORY
        if refusal is not None:
            room.give_back()
            return refusal
        raw = repair(raw)
    held, room.held = room.held, 0  # from here on the receiver's to give back
    return ReceivedMessage(raw, held)


def _patience(peer: LineTransport) -> int:
    return 2 * peer.house.limits().max_mail_size + 1024 * 1024


async def _read(peer: LineTransport, content: DataDecoder, room: MessageRoom) -> None:
    patience = _patience(peer)
    peer.amid = True
    while True:
        rest = content.feed(await peer.read_chunk())
        if not room.fits(len(content)):
            content.refuse(NO_MEMORY)
            room.fits(len(content))
        if rest is not None:
            peer.unread(rest)
            peer.amid = False
            return
        if content.refusal is not None and content.discarded > patience:
            peer.say(content.refusal)
            raise EndlessMessage(content.refusal)
