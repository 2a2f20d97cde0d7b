"""Keys whose feature is not built yet. The value is read and checked; the user is told that it does nothing.

Edit this table, and nothing else, when a feature comes to stand.
"""

from relay.settings.nodes import Mapping, Node, Scalar, Sequence
from relay.settings.validate import File

NO_EFFECT_YET: dict[str, str] = {}


def warn(file: File) -> None:
    """A warning for each key of `NO_EFFECT_YET` that `file` uses."""
    for path, why in NO_EFFECT_YET.items():
        _walk(file, file.root, path.split("."), why)


def _walk(file: File, node: Node, path: list[str], why: str) -> None:
    name, rest = path[0].removesuffix("[]"), path[1:]
    entry = node.entries.get(name) if isinstance(node, Mapping) else None
    if entry is None:
        return
    if not rest:
        if not (isinstance(entry.node, Scalar) and (entry.node.null or entry.node.text == "false")):
            file.warning(entry.at, f'key "{name}" has no effect yet ({why})')
        return
    below = entry.node.items if isinstance(entry.node, Sequence) else [entry.node]
    for item in below:
        _walk(file, item, rest, why)
