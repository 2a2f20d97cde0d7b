"""A decision explained: the JSON of `explain --json` and the lines a person reads."""

from collections.abc import Iterable, Mapping
from typing import Any

from relay.inspection import Severity
from relay.locale.catalogue import marked_in, translate, translate_in
from relay.model import Action, Disposition, Document, DocumentPart, Plan, Role
from relay.reasons import code, fix, sentence
from relay.routing.decision import Decision
from relay.routing.directory import Directory

_GRAVEST = (Disposition.REFUSE, Disposition.HOLD, Disposition.WITHHOLD, Disposition.RELAY)

_WORDS: Mapping[str, str] = {
    Disposition.RELAY: marked_in("explain", "relayed"),
    Disposition.HOLD: marked_in("explain", "held"),
    Disposition.WITHHOLD: marked_in("explain", "withheld"),
    Disposition.REFUSE: marked_in("explain", "rejected"),
    Role.SALE: marked_in("explain", "sale"),
    Role.PURCHASE: marked_in("explain", "purchase"),
    Role.STATEMENT: marked_in("explain", "statement"),
    Role.UNKNOWN: marked_in("explain", "unknown"),
    DocumentPart.FACTURX: marked_in("explain", "Factur-X"),
    DocumentPart.ORIGINAL: marked_in("explain", "original PDF"),
    DocumentPart.OTHER: marked_in("explain", "other document"),
    DocumentPart.XML: marked_in("explain", "XML"),
    Action.KEEP: marked_in("explain", "kept"),
    Action.REMOVE: marked_in("explain", "removed"),
    "recipient": marked_in("explain", "recipient"),
    "header": marked_in("explain", "header"),
    "siren": marked_in("explain", "SIREN"),
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
    yield from _head(decision, directory, language)
    for number, plan in enumerate(decision.plans, 1):
        yield translate(
            "message {number} to {addresses}: {disposition}, role: {role}",
            language,
            number=number,
            addresses=", ".join(plan.to) or translate("no address", language),
            disposition=_word(plan.disposition, language),
            role=_word(plan.role, language),
        )
        for document in plan.documents:
            what = f"{_word(document.part, language)}, {_word(document.action, language)}"
            what += f", {_verdict(document, language)}"
            yield translate("  {name}: {what}", language, name=document.filename or "-", what=what)
        if plan.reason is not None:
            yield f"  {sentence(plan.reason, plan.detail, language)}"
            yield translate("  what to do: {fix}", language, fix=fix(plan.reason, language))
    yield translate("how it was decided:", language)
    for step in decision.steps:
        yield f"  {step.text(language)}"


def _head(decision: Decision, directory: Directory, language: str) -> Iterable[str]:
    for firm, dossier, by in dict.fromkeys((plan.firm, plan.dossier, plan.by) for plan in decision.plans):
        if dossier is None:
            yield translate("client: unknown", language)
        else:
            known = directory.terms.clients.get(f"{firm}/{dossier}")
            name = f"{firm}/{dossier}" + (f" {known.name}" if known and known.name else "")
            yield translate("client: {name} ({by})", language, name=name, by=_word(by, language) if by else "?")
    gravest = _gravest(decision)
    if gravest is not None:
        disposition = Disposition.REFUSE if decision.refusal else gravest.disposition
        yield translate("decision: {disposition}", language, disposition=_word(disposition, language))


def _word(of: str, language: str) -> str:
    return translate_in("explain", _WORDS[of], language)


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
    return code(document.report.verdict.value, language) + (f" ({shown})" if shown else "")
