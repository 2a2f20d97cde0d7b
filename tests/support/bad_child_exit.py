"""A worker that misbehaves: exit."""

from tests.support.bad_child import misbehave

misbehave("exit")
