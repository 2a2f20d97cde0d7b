"""What becomes of a message that no worker could evaluate: held whole for a person, or refused if so configured."""

from dataclasses import replace

from relay.mime.message import Entity, MimeMessage
from relay.model import Disposition, Envelope, Plan, Rejection, Role, Span
from relay.reasons import Reason
from relay.routing.client import Identified, identify
from relay.routing.decision import Decision
from relay.routing.directory import Directory
from relay.routing.policy import Policy
from relay.routing.role import address_for

_NOTHING = Span(0, 0)
_UNREAD = MimeMessage(b"", Entity(_NOTHING, _NOTHING, (), _NOTHING))
"""A message of which nothing is known: neither a header field nor a document says whose it is."""


def hold_unevaluated(envelope: Envelope, directory: Directory, received: bytes, rule: str) -> Decision:
    """One plan for each recipient: nothing of the message is known but its envelope, so nothing of it is cut.

    It never leaves by itself, whatever `on_undetermined` allows for a document: what nobody could look into may be
    another client's. `received`: our Received line with CRLF. rule: id of the finding.
    """
    if directory.terms.check.on_undetermined is Policy.REFUSE:
        return Decision((), Rejection(Reason.UNDETERMINED, rule))
    return Decision(tuple(_plan(address, directory, received, rule) for address in envelope.addresses))


def _plan(recipient: str, directory: Directory, received: bytes, rule: str) -> Plan:
    who, return_path = identify(recipient, _UNREAD, (), directory), directory.terms.return_path
    held = Plan(
        Disposition.HOLD,
        reason=Reason.UNDETERMINED,
        detail=rule,
        prepend=received,
        return_path=return_path,
        answers=(recipient,),
        firm=who.client.firm if isinstance(who, Identified) else who.firm,
    )
    if not isinstance(who, Identified):
        return held
    client = who.client
    address = address_for(client.addresses, Role.UNKNOWN).to
    return replace(
        held,
        to=(address,) if address else (),
        dossier=client.dossier,
        by=who.by,
        destination=client.destination,
        smarthost=client.smarthost,
    )
