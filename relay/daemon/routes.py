"""Where a delivery goes now: what was frozen at acceptance, bound to the smarthost and password of this moment.

DESIGN rule 7. To whom and which octets are frozen; smarthost, credentials and rate are those of the settings in force.
"""

from collections.abc import Callable

from relay.delivery import RouteError
from relay.model import Delivery, Plan
from relay.settings.settings import PasswordError, Settings
from relay.smarthost import Route, Tls


class Routes:
    """`settings`: those in force, asked at each attempt."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings

    def route(self, delivery: Delivery, plan: Plan) -> Route:
        """The client's smarthost of today; of a client that is gone, the one it had. Raises RouteError."""
        settings = self._settings()
        client = settings.terms.clients.get(f"{plan.firm}/{plan.dossier}")
        name = client.smarthost if client else plan.smarthost
        smarthost = settings.smarthosts.get(name)
        if smarthost is None:
            raise RouteError(f'smarthost "{name}" is not configured any more')
        try:
            password = smarthost.password()
        except PasswordError as error:
            raise RouteError(str(error)) from error
        return Route(
            host=smarthost.host,
            port=smarthost.port,
            tls=Tls(smarthost.tls),
            username=smarthost.username,
            password=password,
            connections=smarthost.connections,
            name=smarthost.name,
            hostname=settings.terms.hostname,
        )

    def rate(self, destination: str) -> int:
        """Mails a minute that `destination` takes, 0 without limit."""
        return self._settings().terms.destination(destination).max_mails_per_minute
