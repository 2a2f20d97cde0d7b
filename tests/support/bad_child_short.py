"""A worker that misbehaves: short."""

from tests.support.bad_child import misbehave

misbehave("short")
