"""Bytes in, values out: the MIME tree as spans over the raw octets, and the mail that leaves as slices of it."""
