"""What a session knows between MAIL and the end of the mail."""

from dataclasses import dataclass, field

from relay.model import Recipient
from relay.smtpd.grammar import MailCommand
from relay.smtpd.reception import Parcel


@dataclass(slots=True)
class Transaction:
    """From MAIL to the end of DATA or of the last BDAT. parcel: since the first BDAT."""

    command: MailCommand
    recipients: list[Recipient] = field(default_factory=list)
    surplus: int = 0
    parcel: Parcel | None = None
