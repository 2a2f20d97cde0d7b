"""Who is the client? By recipient, header and SIREN in the order of `identify:`; certain, or unknown.

Each way gives a set of clients. The first set counts, the later ones narrow it: an empty intersection is a
contradiction, more than one client left is ambiguous; both are held."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.inspection import Kind, Report
from relay.mime.message import MimeMessage
from relay.reasons import Reason, two_clients
from relay.routing.directory import Clients, Directory, split_tag
from relay.routing.policy import Client


@dataclass(frozen=True, slots=True)
class Identified:
    """The client, and what identified it: recipient | header | siren."""

    client: Client
    by: str

    @property
    def addressed(self) -> bool:
        """The message itself names the client, and not only an invoice in it."""
        return self.by != "siren"


@dataclass(frozen=True, slots=True)
class Unidentified:
    """Why no client is identified. firm, dossier: of the first answer if it is one: its operator is
    notified."""

    reason: Reason
    detail: str
    firm: str | None = None
    dossier: str | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    by: str
    clients: Clients
    way: str
    """What it comes from: recipient, tag, the name of the header field, siren."""


def identify(
    recipient: str, message: MimeMessage, reports: Sequence[Report], directory: Directory
) -> Identified | Unidentified:
    """The client of the documents that came for `recipient`. `reports`: of message.attachments."""
    answers = [answer for answer in _answers(recipient, message, reports, directory) if answer.clients]
    if not answers:
        return Unidentified(Reason.UNKNOWN_CLIENT, recipient or "?")
    first, candidates = answers[0], answers[0].clients
    for answer in answers[1:]:
        narrowed = _common(candidates, answer.clients)
        if not narrowed:
            return _contradiction(first, candidates, answer)
        candidates = narrowed
    if len(candidates) > 1 and any(answer.by == "siren" for answer in answers):
        candidates = _party_to_all(candidates, reports, directory) or candidates
    if len(candidates) > 1:
        return Unidentified(Reason.AMBIGUOUS_CLIENT, _names(candidates), firm=_firm(candidates))
    return Identified(candidates[0], first.by)


def unknown_recipient(recipient: str, directory: Directory) -> bool:
    """Is it certain, before any content is seen, that `recipient` has no client? Only where clients are
    identified by recipient alone."""
    if any(step.by != "recipient" for step in directory.terms.identify) or directory.is_postmaster(recipient):
        return False
    return not any(_by_recipient(recipient, directory))


def _answers(
    recipient: str, message: MimeMessage, reports: Sequence[Report], directory: Directory
) -> Iterable[_Answer]:
    for step in directory.terms.identify:
        if step.by == "recipient":
            for way, clients in zip(("recipient", "tag"), _by_recipient(recipient, directory), strict=False):
                yield _Answer("recipient", clients, way)
        elif step.by == "header":
            for header in message.root.headers:
                if header.name == step.header:
                    yield _Answer("header", directory.by_header(header.value), header.name.title())
        else:
            yield _Answer("siren", _union([_parties(report, directory) for report in reports]), "siren")


def _by_recipient(recipient: str, directory: Directory) -> Iterable[Clients]:
    """A listed address says all; else its base (an address or the key of a firm) and its tag (a dossier) both speak."""
    if listed := directory.by_recipient(recipient):
        yield listed
        return
    base, tag = split_tag(recipient)
    if tag:
        yield directory.by_recipient(base) or directory.by_firm(base.rpartition("@")[0])
        yield directory.by_dossier(tag)


def _parties(report: Report, directory: Directory) -> Clients:
    if report.kind is not Kind.FACTURX:
        return ()
    return _union([directory.by_party(party) for party in (report.seller, report.buyer)])


def contradicted(report: Report, client: Client, directory: Directory) -> str:
    """How this invoice names other clients than `client`; "" when it does not, or if the SIREN is not asked."""
    if "siren" not in [step.by for step in directory.terms.identify]:
        return ""
    parties = _parties(report, directory)
    if not parties or client.key in [party.key for party in parties]:
        return ""
    return two_clients("message", client.key, "siren", _named_to(client.firm, parties))


def _party_to_all(candidates: Clients, reports: Sequence[Report], directory: Directory) -> Clients:
    """Those who are a party of every invoice of the message: seller and buyer may both be clients of ours."""
    for report in reports:
        if parties := _parties(report, directory):
            candidates = _common(candidates, parties)
    return candidates


def _contradiction(first: _Answer, candidates: Clients, answer: _Answer) -> Unidentified:
    firm = _firm(candidates)
    detail = two_clients(first.way, _names(candidates), answer.way, _named_to(firm, answer.clients))
    dossier = candidates[0].dossier if len(candidates) == 1 else None
    return Unidentified(Reason.CONTRADICTION, detail, firm=firm, dossier=dossier)


def _union(sets: Sequence[Clients]) -> Clients:
    filled = [clients for clients in sets if clients]
    if len(filled) < 2:
        return filled[0] if filled else ()
    return tuple({client.key: client for clients in filled for client in clients}.values())


def _common(one: Clients, other: Clients) -> Clients:
    keys = {client.key for client in other}
    return tuple(client for client in one if client.key in keys)


def _firm(clients: Clients) -> str | None:
    firms = {client.firm for client in clients}
    return firms.pop() if len(firms) == 1 else None


def _named_to(firm: str | None, clients: Clients) -> str | None:
    """`clients` as the operator of `firm` may read them: None unless all are its own. No firm: the host's operator."""
    return _names(clients) if firm is None or _firm(clients) == firm else None


def _names(clients: Clients) -> str:
    shown = ", ".join(client.key for client in clients[:3])
    return shown if len(clients) <= 3 else f"{shown} … ({len(clients)})"
