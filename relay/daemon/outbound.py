"""What the queue manager asks at each attempt: where a delivery goes now, from whom, its octets, its DKIM signature,
who is notified."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from relay.dkim.signature import BadKey, Signer, signer
from relay.dsn.return_path import verp
from relay.lifecycle import Transition
from relay.mime.rewriting import render
from relay.model import Delivery, Message, Plan
from relay.notifications import status_report
from relay.observability.events import Notice, NotificationQueued, Observe
from relay.queue import Ports, RouteError
from relay.queue.ports import Octets
from relay.settings.settings import Dkim, PasswordError, Settings, Smarthost
from relay.settings.yaml_file import read_whole, unreadable
from relay.smtp_client import ConnectionPools, Route, Tls


class KeyFault(Exception):
    """The DKIM key cannot be used. The text names the file, never a word of the key."""


class Signing:
    """Signs nothing until `use` has given it a key."""

    def __init__(self) -> None:
        self._signer: Signer | None = None

    def use(self, key: Signer | None) -> None:
        """Sign with `key` from now on; None: sign nothing."""
        self._signer = key

    def active(self) -> bool:
        """Whether there is a key to sign with."""
        return self._signer is not None

    async def sign(self, message: Message, chunks: Sequence[Octets]) -> Sequence[Octets]:
        """`chunks` with our signature on top. Its time is the message's arrival: each attempt sends the same octets."""
        if self._signer is None:
            return chunks
        field = await asyncio.to_thread(self._signer.sign, chunks, message.arrived)
        return [field, *chunks] if field else chunks


async def read_key(dkim: Dkim | None) -> Signer | None:
    """The key that `dkim` names, read off the event loop; None without `dkim`. Raises KeyFault."""
    if dkim is None:
        return None
    try:
        return await asyncio.to_thread(_read, dkim)
    except OSError as error:
        raise KeyFault(f"dkim: {dkim.private_key}: {unreadable(error)[0]}") from error
    except BadKey as error:
        raise KeyFault(f"dkim: {dkim.private_key}: {error}") from error


def _read(dkim: Dkim) -> Signer:
    return signer(dkim.domain, dkim.selector, read_whole(Path(dkim.private_key)))


class Outbound:
    """settings: those in force, asked at each attempt. secret: signs our return paths."""

    def __init__(self, settings: Callable[[], Settings], secret: bytes, observe: Observe) -> None:
        self._settings, self._secret, self._observe = settings, secret, observe

    def ports(self, smarthosts: ConnectionPools, signing: Signing, broken: Callable[[str], None]) -> Ports:
        """What the queue manager is given. broken: called when the spool can promise nothing any more."""
        return Ports(
            send=smarthosts.send,
            begin=smarthosts.begin,
            route=self.route,
            render=_rendered,
            sign=signing.sign,
            signs=signing.active,
            retry=lambda: self._settings().retry,
            observe=self._observe,
            broken=broken,
            rate=self.rate,
            report=self.reports,
            sender=self.sender,
        )

    def route(self, delivery: Delivery) -> Route:
        """The client's smarthost of today; of a client that is gone, the one it had. Raises RouteError."""
        settings = self._settings()
        client = settings.terms.clients.get(f"{delivery.firm}/{delivery.dossier}")
        name = client.smarthost if client else delivery.smarthost
        smarthost = settings.smarthosts.get(name)
        if smarthost is None:
            raise RouteError(f'smarthost "{name}" is not configured any more')
        try:
            password, token = smarthost.password(), smarthost.token()
        except PasswordError as error:
            raise RouteError(str(error)) from error
        return _route(smarthost, settings.terms.hostname, password, token)

    def rate(self, destination: str) -> int:
        """Messages a minute that `destination` takes, 0 without limit."""
        return self._settings().terms.destination(destination).max_mails_per_minute

    def sender(self, delivery: Delivery, plan: Plan) -> str:
        """A return path of its own for each delivery, so that a late bounce finds its message; none for messages of
        ours.

        Untagged where no tag fits: `config check` refuses such a return path, an older release accepted it.
        """
        if not plan.return_path:
            return ""
        try:
            return verp(plan.return_path, delivery.queue_id, delivery.number, self._secret)
        except ValueError:
            return plan.return_path

    def reports(self, message: Message, delivery: Delivery, transition: Transition) -> tuple[Message, ...]:
        """The notifications to the platform's sender of a failure, a delay, or (on request) a success."""
        settings = self._settings()
        reports = status_report(
            message,
            delivery,
            transition,
            hostname=settings.terms.hostname,
            retry=settings.retry,
            now=time.time(),
            smarthost=settings.own_smarthost,
        )
        for report in reports:
            self._observe(NotificationQueued(Notice(transition.report or "failed"), report.queue_id, 1))
        return reports


def _rendered(message: Message, plan: Plan) -> list[memoryview]:
    return render(message.raw, plan.prepend, plan.cuts)


@lru_cache(maxsize=16)
def _route(smarthost: Smarthost, hostname: str, password: str | None, token: str | None) -> Route:
    return Route(
        host=smarthost.host,
        port=smarthost.port,
        tls=Tls(smarthost.tls),
        username=smarthost.username,
        password=password,
        token=token,
        connections=smarthost.connections,
        name=smarthost.name,
        hostname=hostname,
        mx=smarthost.mx,
        mx_names=smarthost.mx_names,
    )
