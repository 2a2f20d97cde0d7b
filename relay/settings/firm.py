"""One firm's file: head, connections and clients read one by one, so that a fault in one does not hide the next."""

from relay.settings.firm_schema import ClientYaml, ConnectionYaml, FirmHead
from relay.settings.nodes import Mapping, Sequence, find, line_of, plain
from relay.settings.resolve import FirmParts
from relay.settings.validate import File


def read_firm(file: File, key: str, place: str) -> FirmParts:
    """What is sound in the file."""
    data = plain(file.root)
    file.tell_twice()
    head = file.read(FirmHead, file.root, data)
    parts = FirmParts(key, place, head.firm if head else "", head.operator if head else None, {}, [])
    for name, said in (("name", "firm"), ("operator", "operator")):
        if find(file.root, said) is not None:
            parts.origins[name] = f"{place}:{line_of(file.root, said)}"
    _connections(file, parts, data)
    _clients(file, parts, data)
    return parts


def _connections(file: File, parts: FirmParts, data: dict[str, object]) -> None:
    node, values = find(file.root, "connections"), data.get("connections")
    if not isinstance(node, Mapping) or not isinstance(values, dict):
        return
    for name, entry in node.entries.items():
        model = file.read(ConnectionYaml, entry.node, values[name], ("connections", name))
        if model is not None:
            parts.connections[name] = (model, entry.node)


def _clients(file: File, parts: FirmParts, data: dict[str, object]) -> None:
    node, values = find(file.root, "clients"), data.get("clients")
    if not isinstance(node, Sequence) or not isinstance(values, list):
        return
    if not node.items:
        file.warning(file.root.entries["clients"].at, "the firm has no client", "add its clients")
    for index, item in enumerate(node.items):
        model = file.read(ClientYaml, item, values[index], ("clients", index))
        if model is not None:
            parts.clients.append((model, item))
