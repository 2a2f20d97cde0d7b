"""One message in: have it evaluated, store, answer. Everything between the final dot and our reply.

`250` is a promise: it is given once the octets and the decision are durable, and never before. Doubt is temporary:
whatever was not foreseen is answered 451, and the platform keeps the message.
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from relay.checker import CheckerOverloaded, CheckFailed, Evaluation, EvaluationRequest, FalseAnswer
from relay.dsn.return_path import Returned, parse_verp
from relay.inspection import Report
from relay.mime.fingerprint import fingerprint, identity_unread
from relay.mime.line_ends import LineFlaw
from relay.model import Claim, Envelope, Message, Rejection, new_queue_id
from relay.observability.events import (
    BounceReceived,
    DuplicateSubmission,
    FinalReply,
    MessageAccepted,
    MessageRejected,
    MessageTempfailed,
    Observe,
    SenderTempfailed,
    TransactionRejectCause,
    TransactionRejected,
)
from relay.reasons import SENTENCES, fix, public_sentence
from relay.replies import Reply, Stage
from relay.routing.client import unknown_recipient
from relay.routing.directory import Directory
from relay.routing.policy import Policy
from relay.routing.unevaluated import hold_unevaluated
from relay.single_line import replace_unprintable
from relay.spool.port import Reservation, Spool, SpoolBroken, SpoolError, SpoolFull, Stored

NOT_OURS = Reply(550, "5.7.1", "not an export address of this relay")
UNKNOWN = Reply(550, "5.1.1", "no client is known for this address")
FORGED = Reply(550, "5.7.1", "invalid bounce address")
MIXED = Reply(550, "5.6.0", "bounce address must be the only recipient")
BUSY = Reply(451, "4.3.2", "content check overloaded, try again later")
NO_SPACE = Reply(452, "4.3.1", "insufficient system storage")
NOT_DURABLE = Reply(451, "4.3.0", "the spool cannot be written; try again later")

LINE_REPLIES = {
    LineFlaw.BARE: Reply(554, "5.6.11", "bare CR or LF in the message: lines must end with CR LF"),
    LineFlaw.NUL: Reply(554, "5.6.11", "NUL in the message"),
}

TEMPORARY = {
    TransactionRejectCause.CHECKER_OVERLOADED: BUSY,
    TransactionRejectCause.STORAGE_FULL: NO_SPACE,
    TransactionRejectCause.STORAGE_FAILED: NOT_DURABLE,
}
"""Why a message cannot be taken now, and the reply."""


class Checker(Protocol):
    """What intake needs of the worker pool."""

    async def evaluate(self, asked: EvaluationRequest, raw: bytes, directory: Directory) -> Evaluation: ...

    async def read_returned(self, raw: bytes) -> Returned: ...

    def distrust(self, why: str) -> None: ...


class Queue(Protocol):
    """Where a message goes next: the queue manager."""

    def reserve(self, message: Message) -> Reservation | None:
        """Places to attempt it at once; `stored` or `give_back` is owed."""

    def stored(self, message: Message, reservation: Reservation | None, claims: Collection[Claim]) -> None:
        """It is durable, and `claims` of it are claimed."""

    def give_back(self, message: Message, reservation: Reservation) -> None:
        """It was not stored."""


class Intake:
    """What the SMTP server asks about senders and recipients, and hands messages to.

    directory: gives the one in force at the moment of the call, for it changes on reload. stored: called with each
    message that was stored. broken: called when the spool can promise nothing any more. secret: signs return paths.
    """

    def __init__(
        self,
        *,
        directory: Callable[[], Directory],
        spool: Spool,
        queue: Queue,
        checker: Checker,
        observe: Observe,
        stored: Callable[[Message, Stored], None],
        broken: Callable[[str], None],
        secret: bytes = b"",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._spool = spool
        self._queue = queue
        self._checker = checker
        self._observe = observe
        self._stored = stored
        self._broken = broken
        self._secret = secret
        self._clock = clock

    def room(self) -> Reply | None:
        """None when a message can be stored now, else the reply to MAIL."""
        why = self._spool.unhealthy()
        if why is None:
            return None
        cause = _cause(why)
        self._observe(SenderTempfailed(cause, TEMPORARY[cause], str(why)))
        return TEMPORARY[cause]

    def recipient(self, address: str) -> Reply | None:
        """None when we relay for `address`, or sent a message from it; else the rejection: never an open relay."""
        directory = self._directory()
        if directory.is_return_path(address):
            return None if self._parse_return_path(address) else FORGED
        return reject_recipient(address, directory)

    async def accept(self, envelope: Envelope, raw: bytes) -> Reply:
        """The reply to the final dot. Raises only what nobody foresaw: the server answers 451 and logs it."""
        began = time.perf_counter()
        queue_id, arrived = new_queue_id(), self._clock()
        directory = self._directory()
        return_paths = [address for address in envelope.addresses if directory.is_return_path(address)]
        if return_paths:
            return await self._handle_bounce(return_paths, envelope, raw)
        asked = EvaluationRequest(envelope, queue_id, arrived)
        try:
            evaluation = await self._checker.evaluate(asked, raw, directory)
        except CheckerOverloaded as error:
            return self._tempfail(queue_id, envelope, TransactionRejectCause.CHECKER_OVERLOADED, str(error), began)
        except CheckFailed as error:
            evaluation = unevaluated(asked, raw, directory, error)
        if evaluation.flaw is not None:
            return self._reject_lines(envelope, evaluation.flaw, began)
        decision, reports = evaluation.decision, evaluation.reports
        if decision.refusal is not None:
            return self._reject(queue_id, envelope, decision.refusal, began, reports)
        message = Message(
            queue_id=queue_id,
            envelope=envelope,
            raw=raw,
            plans=decision.plans,
            arrived=arrived,
            fingerprint=evaluation.fingerprint,
            message_id=evaluation.message_id,
            hold_duplicates=directory.terms.check.on_duplicate is Policy.HOLD,
            content_digest=evaluation.content_digest,
            plans_json=evaluation.plans_json,
        )
        return await self._store(message, reports, began)

    async def _store(self, message: Message, reports: Sequence[Report], began: float) -> Reply:
        reservation, stored = self._queue.reserve(message), None
        try:
            stored = await self._spool.store(message, reservation)
        except SpoolError as error:
            return self._not_stored(message.queue_id, message.envelope, error, began)
        finally:
            if reservation is not None and (stored is None or stored.duplicate):
                self._queue.give_back(message, reservation)
        if stored.duplicate:
            self._verify_duplicate(message)
            self._observe(DuplicateSubmission(stored.queue_id, time.perf_counter() - began))
        else:
            self._observe(MessageAccepted(message, reports, time.perf_counter() - began, stored.held))
            self._queue.stored(message, reservation, stored.claims)
            self._stored(message, stored)
        return Reply(250, "2.0.0", stored.queue_id)

    def _verify_duplicate(self, message: Message) -> None:
        """A duplicate is answered 250 and not stored: whether it is one is not left to a worker's word.

        Raises FalseAnswer; then the platform is answered 451 and sends it again, to a worker that was not there before.
        """
        envelope, raw = message.envelope, message.raw
        if message.fingerprint not in (fingerprint(envelope, raw), identity_unread(envelope, raw).fingerprint):
            why = "the fingerprint of another message"
            self._checker.distrust(why)
            raise FalseAnswer(why)

    def _parse_return_path(self, address: str) -> tuple[str, int] | None:
        return parse_verp(address, self._secret) if self._secret else None

    async def _handle_bounce(self, return_paths: Sequence[str], envelope: Envelope, raw: bytes) -> Reply:
        """What is sent to a return path of ours is about a message we relayed: it goes into that message's history."""
        began = time.perf_counter()
        if len(return_paths) < len(envelope.recipients):
            self._observe(MessageRejected(new_queue_id(), envelope, None, MIXED, time.perf_counter() - began))
            return MIXED
        try:
            bounce = await self._checker.read_returned(raw)
        except CheckerOverloaded as error:
            return self._tempfail(
                new_queue_id(), envelope, TransactionRejectCause.CHECKER_OVERLOADED, str(error), began
            )
        except CheckFailed:
            bounce = Returned("a notification that cannot be read came back", False)
        for address in return_paths:
            about = self._parse_return_path(address)
            try:
                known = about and await self._spool.record_bounce(
                    *about, bounce.text, self._clock(), failed=bounce.failed
                )
            except SpoolError as error:
                return self._not_stored(new_queue_id(), envelope, error, began)
            if about and known:
                self._observe(BounceReceived(about[0], bounce.failed))
        return Reply(250, "2.0.0", "taken note of")

    def _not_stored(self, queue_id: str, envelope: Envelope, error: SpoolError, began: float) -> Reply:
        if isinstance(error, SpoolBroken):
            self._broken(str(error))
        return self._tempfail(queue_id, envelope, _cause(error), str(error), began)

    def _reject(
        self, queue_id: str, envelope: Envelope, rejection: Rejection, began: float, reports: Sequence[Report] = ()
    ) -> Reply:
        code, enhanced = SENTENCES[rejection.reason].smtp
        text = f"{public_sentence(rejection.reason, rejection.detail, 'en')}; {fix(rejection.reason)}"
        reply = Reply(code, enhanced, _one_line(text))
        seconds = time.perf_counter() - began
        self._observe(MessageRejected(queue_id, envelope, rejection.reason, reply, seconds, reports))
        return reply

    def _reject_lines(self, envelope: Envelope, flaw: LineFlaw, began: float) -> Reply:
        reply, cause = LINE_REPLIES[flaw], TransactionRejectCause.LINE_FORMAT
        self._observe(FinalReply(reply.code, time.perf_counter() - began))
        self._observe(TransactionRejected(envelope.peer, Stage.DATA, cause, reply, envelope.sender, envelope.addresses))
        return reply

    def _tempfail(
        self, queue_id: str, envelope: Envelope, cause: TransactionRejectCause, why: str, began: float
    ) -> Reply:
        reply = TEMPORARY[cause]
        self._observe(MessageTempfailed(queue_id, envelope, cause, reply, why, time.perf_counter() - began))
        return reply


def unevaluated(asked: EvaluationRequest, raw: bytes, directory: Directory, error: CheckFailed) -> Evaluation:
    """In place of the answer that no worker could give: see `hold_unevaluated`."""
    mark = identity_unread(asked.envelope, raw)
    return Evaluation(
        hold_unevaluated(asked.envelope, directory, asked.received(directory.terms.hostname), error.rule),
        fingerprint=mark.fingerprint,
        content_digest=mark.content_digest,
    )


def _cause(error: SpoolError) -> TransactionRejectCause:
    return (
        TransactionRejectCause.STORAGE_FULL if isinstance(error, SpoolFull) else TransactionRejectCause.STORAGE_FAILED
    )


def reject_recipient(address: str, directory: Directory) -> Reply | None:
    """The rejection of an address (not a return path of ours) to which no documents can be sent, or None."""
    if not directory.accepts(address):
        return NOT_OURS
    return UNKNOWN if unknown_recipient(address, directory) else None


def _one_line(text: str) -> str:
    """A reply line holds ASCII without controls, 512 octets with code and CRLF (rfc5321#4.5.3.1.5)."""
    ascii_text = text.encode("ascii", "replace").decode("ascii")
    return replace_unprintable(ascii_text)[:480]
