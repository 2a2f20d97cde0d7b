"""The SMTP server: takes messages from the platform. The only package that knows aiosmtpd.

server.py       sockets, reload, drain            listener.py   one listener's files; what all sessions share
connection.py   octets, lines, TLS, PROXY, time   runner.py     runs a session on its connection
session.py      one method for each command       states.py     which command is allowed when; replies
mail_transaction.py  MAIL to the message's end    data.py       the content, by DATA and BDAT
grammar.py      paths and parameters              auth.py       PLAIN and LOGIN
limits.py       limits, counters, memory
"""

from relay.settings.users_file import make_user_line
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
