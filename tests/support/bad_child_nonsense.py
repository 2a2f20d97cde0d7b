"""A worker that misbehaves: nonsense."""

from tests.support.bad_child import misbehave

misbehave("nonsense")
