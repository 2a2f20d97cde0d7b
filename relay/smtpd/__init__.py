"""The SMTP door: open to the platform, closed to everything else. The only place that knows aiosmtpd.

server.py       sockets, reload, drain                 post.py       one listener, and what all sessions share
connection.py   octets, lines, TLS, time of one peer   conduct.py    the loop over commands, misconduct
session.py      what each command answers              grammar.py    paths and parameters
transfer.py     MAIL, RCPT, DATA, BDAT                 content.py    the octets of DATA, pure
reception.py    reading a mail from the wire           chunking.py   the octets of BDAT, pure
auth.py         PLAIN and LOGIN                        transaction.py
limits.py       terms and counting                     allocator.py  memory of large mails
"""

from relay.settings.users import make_user_line
from relay.smtpd.limits import Limits, Listener
from relay.smtpd.listener import BindError, Intake, ListenerConfigError, ListenerFiles
from relay.smtpd.server import SmtpServer

__all__ = [
    "BindError",
    "Intake",
    "Limits",
    "Listener",
    "ListenerConfigError",
    "ListenerFiles",
    "SmtpServer",
    "make_user_line",
]
