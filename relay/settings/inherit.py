"""What is inherited: client, then connection, then `defaults` of relay.yaml, then what the relay does by itself."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import BaseModel

from relay.settings.nodes import Node, line_of

INHERITED = ("link_name", "transmit_documents", "original_pdf", "destination", "smarthost", "share_with_firm")


class Layer(NamedTuple):
    """One place that may say a setting. place: its file's path from the configuration's folder."""

    place: str
    model: BaseModel
    node: Node | None

    def says(self, key: str) -> bool:
        return key in self.model.model_fields_set

    def value(self, key: str) -> Any:
        return getattr(self.model, key)

    def origin(self, key: str) -> str:
        """`file:line` of `key`, which this layer says."""
        assert self.node is not None
        return f"{self.place}:{line_of(self.node, key)}"


def inherited(key: str, layers: Iterable[Layer]) -> tuple[Any, str | None]:
    """The value of the first of `layers` that says `key`, and its origin; None: nobody says it."""
    for layer in layers:
        if layer.says(key):
            return layer.value(key), layer.origin(key)
    return None, None
