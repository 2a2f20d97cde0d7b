"""A decision told: the JSON of `explain --json` (shared/CLI.md) and the lines a person reads."""

from collections.abc import Iterable, Mapping
from typing import Any

from relay.inspection import Severity
from relay.model import Action, Disposition, Document, DocumentPart, Plan, Role
from relay.reasons import fix, french, french_spacing, sentence
from relay.routing.decision import Decision
from relay.routing.directory import Directory

_GRAVEST = (Disposition.REFUSE, Disposition.HOLD, Disposition.WITHHOLD, Disposition.RELAY)

_WORDS: Mapping[str, tuple[str, str]] = {
    Disposition.RELAY: ("relayed", "relayé"),
    Disposition.HOLD: ("held", "retenu"),
    Disposition.WITHHOLD: ("withheld", "non transmis"),
    Disposition.REFUSE: ("refused", "refusé"),
    Role.SALE: ("sale", "vente"),
    Role.PURCHASE: ("purchase", "achat"),
    Role.STATEMENT: ("statement", "relevé"),
    Role.UNKNOWN: ("unknown", "inconnu"),
    DocumentPart.FACTURX: ("Factur-X", "Factur-X"),
    DocumentPart.ORIGINAL: ("original PDF", "PDF d'origine"),
    DocumentPart.OTHER: ("other document", "autre document"),
    DocumentPart.XML: ("XML", "XML"),
    Action.KEEP: ("kept", "conservé"),
    Action.REMOVE: ("removed", "retiré"),
    "client": ("client", "dossier"),
    "recipient": ("recipient", "destinataire"),
    "header": ("header", "en-tête"),
    "siren": ("SIREN", "SIREN"),
    "nobody": ("unknown", "inconnu"),
    "decision": ("decision", "décision"),
    "mail": ("mail", "message"),
    "to": ("to", "à"),
    "no address": ("no address", "sans adresse"),
    "role": ("role", "rôle"),
    "how": ("how it was decided", "comment cela a été décidé"),
    "mend": ("what to do", "que faire"),
}


def as_json(decision: Decision, directory: Directory, language: str = "en") -> dict[str, Any]:
    """The object of one line of `explain --json`. Beyond the contract: `fix`, `steps`, and each message's own
    answer."""
    gravest = _gravest(decision)
    first = next((plan for plan in decision.plans if plan.dossier), None)
    return {
        "client": _client(first, directory),
        "disposition": "refuse" if decision.refusal else gravest.disposition.value if gravest else "hold",
        **_why(gravest, language),
        "mails": [_mail(plan, directory, language) for plan in decision.plans],
        "steps": [{"step": step.code, "text": step.text(language)} for step in decision.steps],
    }


def lines(decision: Decision, directory: Directory, language: str = "en") -> Iterable[str]:
    """The same for a person, in "en" or "fr"."""
    say, colon = _speaker(language), french_spacing(" :") if language == "fr" else ":"
    yield from _head(decision, directory, language)
    for number, plan in enumerate(decision.plans, 1):
        to = ", ".join(plan.to) or say("no address")
        head = f"{say('mail')} {number} {say('to')} {to}{colon} {say(plan.disposition)}"
        yield f"{head}, {say('role')}{colon} {say(plan.role)}"
        for document in plan.documents:
            what = f"{say(document.part)}, {say(document.action)}"
            yield f"  {document.filename or '-'}{colon} {what}{_verdict(document, language)}"
        if plan.reason is not None:
            yield f"  {sentence(plan.reason, plan.detail, language)}"
            yield f"  {say('mend')}{colon} {fix(plan.reason, language)}"
    yield f"{say('how')}{colon}"
    for step in decision.steps:
        yield f"  {step.text(language)}"


def _head(decision: Decision, directory: Directory, language: str) -> Iterable[str]:
    say, colon = _speaker(language), french_spacing(" :") if language == "fr" else ":"
    for client in dict.fromkeys((plan.firm, plan.dossier, plan.by) for plan in decision.plans):
        firm, dossier, by = client
        if dossier is None:
            yield f"{say('client')}{colon} {say('nobody')}"
        else:
            known = directory.terms.clients.get(f"{firm}/{dossier}")
            name = f" {known.name}" if known and known.name else ""
            yield f"{say('client')}{colon} {firm}/{dossier}{name} ({say(by) if by else '?'})"
    gravest = _gravest(decision)
    if gravest is not None:
        yield f"{say('decision')}{colon} {say(Disposition.REFUSE if decision.refusal else gravest.disposition)}"


def _speaker(language: str) -> Any:
    place = 1 if language == "fr" else 0
    return lambda word: _WORDS[word][place]


def _gravest(decision: Decision) -> Plan | None:
    ranked = sorted(decision.plans, key=lambda plan: _GRAVEST.index(plan.disposition))
    return ranked[0] if ranked else None


def _client(plan: Plan | None, directory: Directory) -> dict[str, Any] | None:
    if plan is None or plan.dossier is None:
        return None
    client = directory.terms.clients.get(f"{plan.firm}/{plan.dossier}")
    return {"firm": plan.firm, "dossier": plan.dossier, "by": plan.by, "name": client.name if client else ""}


def _why(plan: Plan | None, language: str) -> dict[str, Any]:
    if plan is None or plan.reason is None:
        return {"reason": None, "text": "", "mend": ""}
    text = sentence(plan.reason, plan.detail, language)
    return {"reason": plan.reason.value, "text": text, "mend": fix(plan.reason, language)}


def _mail(plan: Plan, directory: Directory, language: str) -> dict[str, Any]:
    return {
        "to": list(plan.to),
        "role": plan.role.value,
        "role_by": plan.role_by or None,
        "documents": [_document(document) for document in plan.documents],
        "client": _client(plan, directory),
        "disposition": plan.disposition.value,
        **_why(plan, language),
        "answers": list(plan.answers),
        "destination": plan.destination,
        "octets_cut": sum(span.end - span.start for span in plan.cuts),
    }


def _document(document: Document) -> dict[str, Any]:
    report = document.report
    return {
        "filename": document.filename,
        "part": document.part.value,
        "action": document.action.value,
        "verdict": report.verdict.value,
        "sha256": report.sha256,
        "number": report.number,
        "findings": [
            {"rule": each.rule, "severity": each.severity.value, "where": each.where, "text": each.text}
            for each in report.findings
        ],
    }


def _verdict(document: Document, language: str) -> str:
    errors = [each.rule for each in document.report.findings if each.severity is Severity.ERROR]
    shown = ", ".join(dict.fromkeys(errors))
    verdict = document.report.verdict.value
    return f", {french(verdict) if language == 'fr' else verdict}" + (f" ({shown})" if shown else "")
