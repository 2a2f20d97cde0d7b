"""The spool: the durable queue of messages and their deliveries.

port            what an engine does: `Spool`, its values and errors
open            the engine for a URL
delivery_rules  what a message becomes in any engine
sqlite/         the engine of one daemon on one machine

A new engine implements `port.Spool`, is chosen by its URL in `open`, and joins ENGINES in tests/spool/conftest.py,
whose contract it must pass. States and the back-off are in relay.lifecycle.
"""
