"""What a session knows between MAIL and the end of DATA."""

from dataclasses import dataclass, field

from relay.model import Recipient
from relay.smtpd.grammar import MailCommand


@dataclass(slots=True)
class Transaction:
    """From MAIL to the end of DATA."""

    command: MailCommand
    recipients: list[Recipient] = field(default_factory=list)
    surplus: int = 0
