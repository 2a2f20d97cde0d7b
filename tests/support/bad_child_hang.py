"""A worker that misbehaves: hang."""

from tests.support.bad_child import misbehave

misbehave("hang")
