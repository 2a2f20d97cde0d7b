"""Mails we answered 250 for: the port and its engines."""
