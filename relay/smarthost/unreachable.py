"""What is raised while a connection is opened."""

from relay.reply import Deferred, Outcome, Stage


class Unreachable(Exception):
    """No usable connection came about; `outcome` says what that means for the mail."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.reply))
        self.outcome = outcome

    @property
    def alerts(self) -> bool:
        """An operator must act."""
        return isinstance(self.outcome, Deferred) and self.outcome.alert

    @property
    def at_auth(self) -> bool:
        """The host was reached, and does not know us."""
        return isinstance(self.outcome, Deferred) and self.outcome.stage is Stage.AUTH
