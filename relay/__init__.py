"""agiris-relay: from the invoicing platform's SMTP client to the accounting software's intake address."""

from importlib.metadata import version

__version__ = version("agiris-relay")
