"""A row of tests/unit/routing/decisions/*.yaml -> the arguments of decide(): a raw mail, hand-made reports, a
directory.

The world of every row: two firms and five clients, see `CLIENTS`. A row changes what it needs under `settings`.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relay.checker.evaluation import Evaluation, EvaluationRequest
from relay.inspection import PDF_WITHIN, Finding, Identifier, Kind, Party, Report, Severity, Term, TextEvidence, Verdict
from relay.mime.fingerprint import identity
from relay.mime.message import MimeMessage
from relay.mime.parser import parse
from relay.mime.text import message_id
from relay.model import Envelope, Recipient, Role
from relay.routing.decision import Decision, decide
from relay.routing.directory import Directory
from relay.routing.policy import Addresses, Check, Client, Destination, Firm, Identify, Kinds, Level, Policy, Terms

HOST = "relay.test"
RECEIVED = b"Received: from platform.example by relay.test with ESMTP id Q1;\r\n\tTue, 24 Nov 2026 10:00:00 +0000\r\n"


def _all(address: str) -> Addresses:
    return Addresses(address, address, address, address)


PETIT = Addresses("achats@petit.example", "ventes@petit.example", "avoirs@petit.example", "releves@petit.example")

CLIENTS: dict[str, Client] = {
    "martin": Client("durand", "100", "Boulangerie Martin", "732 829 320", recipients=("martin@export.test",)),
    "petit": Client("durand", "200", "Garage Petit", "356000000", recipients=("export+200@export.test",)),
    "nord": Client("durand", "301", "Nord", "552100554", "55210055400013", recipients=("nord@export.test",)),
    "sud": Client("leblanc", "302", "Sud", "552100554", "55210055400021", recipients=("sud@export.test",)),
    "solo": Client("leblanc", "100", "Solo", "443061841"),
}
CLIENTS["martin"] = replace(CLIENTS["martin"], addresses=_all("martin@agiris.example"))
CLIENTS["petit"] = replace(CLIENTS["petit"], addresses=PETIT)
CLIENTS["nord"] = replace(CLIENTS["nord"], addresses=_all("nord@agiris.example"))
CLIENTS["sud"] = replace(CLIENTS["sud"], addresses=_all("sud@agiris.example"))
CLIENTS["solo"] = replace(CLIENTS["solo"], addresses=_all("solo@agiris.example"))

PARTIES: dict[str, Party] = {
    "martin": Party("Martin", siren="732829320"),
    "petit": Party("Petit", siren="356000000"),
    "nord": Party("Nord", siren="552100554", siret="55210055400013"),
    "sud": Party("Sud", siren="552100554", siret="55210055400021"),
    "nord-or-sud": Party("Nord ou Sud", siren="552100554"),
    "solo": Party("Solo", siren="443061841"),
    "stranger": Party("Inconnu", siren="123456782"),
    "other-stranger": Party("Autre", siren="987654324"),
    "nameless": Party("Sans identifiant", country="FR"),
    "nowhere": Party("Sans identifiant ni pays"),
    "abroad": Party("Sans identifiant", country="US"),
    "stranger-of-martins-group": Party(
        "Filiale",
        siren="123456782",
        vat="FR44732829320",
        identifiers=(Identifier("123456782", "BT-47", "0002", 0), Identifier("732829320", "BT-48", "VA", 2)),
    ),
    "martin-of-a-group": Party(
        "Martin",
        siren="732829320",
        identifiers=(Identifier("732829320", "BT-47", "0002", 0), Identifier("123456782", "BT-48", "VA", 2)),
    ),
    "martin-by-address": Party(
        "Martin",
        siren="123456782",
        identifiers=(Identifier("123456782", "BT-48", "VA", 2), Identifier("732829320", "BT-49", "0225", 2)),
    ),
    "foreign": Party("GmbH", vat="DE123456789", country="DE"),
}

KINDS = {
    "facturx": Kind.FACTURX,
    "broken": Kind.FACTURX,
    "pdf": Kind.PDF,
    "encrypted": Kind.PDF,
    "unreadable": Kind.PDF,
    "crash": Kind.OTHER,
    "liar": Kind.PDF,
    "orderx": Kind.ORDERX,
    "zugferd1": Kind.ZUGFERD1,
    "ubl-pdf": Kind.UBL,
    "xml": Kind.CII,
    "ubl": Kind.UBL,
    "file": Kind.OTHER,
    "container": Kind.OTHER,
    "image": Kind.OTHER,
}


@dataclass(frozen=True)
class Setting:
    """All that a row says, ready for decide()."""

    envelope: Envelope
    message: MimeMessage
    reports: tuple[Report, ...]
    directory: Directory

    def decide(self) -> Decision:
        return decide(
            self.envelope, self.message, self.reports, self.directory, queue_id="Q1", arrived=0.0, received=RECEIVED
        )

    def evaluation(self) -> tuple[EvaluationRequest, Evaluation]:
        """What a worker is asked about the message, and what it answers."""
        asked = EvaluationRequest(self.envelope, "Q1", 0.0)
        line = asked.received(HOST)
        decision = decide(
            self.envelope, self.message, self.reports, self.directory, queue_id="Q1", arrived=0.0, received=line
        )
        mark = identity(self.envelope, self.message.raw)
        made = Evaluation(
            decision, self.reports, fingerprint=mark.fingerprint, content_digest=mark.content_digest,
            message_id=message_id(self.message),
        )  # fmt: skip
        return asked, made


def setting(row: Mapping[str, Any], salt: str = "") -> Setting:
    """The arguments of decide() for one row. salt: makes its message and its documents other than those of other
    rows."""
    mail = row["mail"]
    parts = [_part(each) for each in mail.get("parts", ())]
    for _, fields in parts:
        fields["salt"] = salt
    recipients = mail.get("to", ["martin@export.test"])
    message = parse(raw_mail(mail, parts, salt))
    marks = [entity.first("x-part") for entity in message.attachments]
    reports = [_report("file", {}) if mark is None else _report(*parts[int(mark)]) for mark in marks]
    for place, mark in enumerate(marks):
        if mark is not None and parts[int(mark)][0] == "pdf":
            reports[place] = replace(reports[place], evidence=_evidence(parts[int(mark)][1], reports))
    envelope = Envelope("platform@jefacture.example", tuple(Recipient(address) for address in recipients))
    return Setting(envelope, message, tuple(reports), Directory(terms(row.get("settings", {}))))


def terms(settings: Mapping[str, Any]) -> Terms:
    clients = dict(CLIENTS)
    for name, changes in settings.get("clients", {}).items():
        clients[name] = replace(clients[name], **{key: _client_value(key, each) for key, each in changes.items()})
    check = Check(**{key: _check_value(key, each) for key, each in settings.get("check", {}).items()})
    wanted = dict(settings.get("destination", {}))
    if "attachment_types" in wanted:
        wanted["attachment_types"] = tuple(wanted["attachment_types"])
    identify = settings.get("identify", ["recipient", {"header": "x-dossier"}, "siren"])
    kinds = settings.get("kinds", {})
    return Terms(
        hostname=HOST,
        recipients=("*@export.test",),
        identify=tuple(Identify(e) if isinstance(e, str) else Identify("header", e["header"]) for e in identify),
        check=check,
        destinations={"agiris": Destination(**wanted)},
        firms={key: Firm(key, key.title(), f"ops@{key}.example") for key in ("durand", "leblanc")},
        clients={client.key: client for client in clients.values()},
        return_path="bounces@export.test",
        kinds=Kinds(kinds.get("header", ""), tuple(kinds.get("statement_names", ()))),
    )


def _client_value(key: str, value: Any) -> Any:
    if key == "addresses":
        return Addresses(**value) if isinstance(value, dict) else _all(value)
    if key == "kinds":
        return {address: Role(role) for address, role in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _check_value(key: str, value: Any) -> Any:
    if key == "level":
        return Level(value)
    return Policy(value) if key.startswith("on_") else value


def _part(recipe: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    ((kind, fields),) = recipe.items()
    return kind, dict(fields or {})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _report(kind: str, fields: Mapping[str, Any]) -> Report:
    invoice = kind in ("facturx", "xml", "ubl", "ubl-pdf", "zugferd1", "orderx") or "number" in fields
    invoice = invoice and fields.get("xml", "") is not None
    number = fields.get("number", "F-2026-001") if invoice else None
    default = {"facturx": "valid", "broken": "invalid", "encrypted": "undetermined", "unreadable": "undetermined"}
    default |= {"crash": "undetermined", "liar": "undetermined"}
    embedded = fields.get("xml", f"xml of {number} of {fields.get('seller')}") if kind == "facturx" else None
    return Report(
        sha256=_hash(str(fields.get("content", fields.get("name", kind))) + fields.get("salt", "")),
        size=fields.get("size", 100),
        verdict=Verdict(fields.get("verdict", default.get(kind, "not-factur-x"))),
        kind=Kind(fields.get("kind", KINDS[kind])),
        type_code=str(fields.get("type", "380")) if invoice else None,
        number=None if number is None else str(number),
        seller=PARTIES[fields.get("seller", "stranger")] if invoice else Party(),
        buyer=PARTIES[fields.get("buyer", "martin")] if invoice else Party(),
        findings=tuple(
            Finding(rule, Severity.ERROR, "rules", "…")
            for rule in (*fields.get("errors", ()), *fields.get("active", ()))
        )
        + ((Finding(PDF_WITHIN, Severity.WARNING, "pdf", "…"),) if kind == "container" else ()),
        xml_sha256=_hash(str(embedded)) if embedded else None,
        claimed=kind in ("facturx", "broken"),
        encrypted=kind == "encrypted",
        openable=kind not in ("encrypted", "unreadable", "liar"),
        incomplete=bool(fields.get("incomplete")),
        active=tuple(fields.get("active", ())),
        mentions=tuple(str(each) for each in fields.get("mentions", ())),
        has_text=_has_text(kind, fields),
    )


def _has_text(kind: str, fields: Mapping[str, Any]) -> bool | None:
    """A `pdf` that mentions nothing and whose text says nothing else is a scan; `opens: false`: no page opens."""
    if kind not in ("facturx", "pdf") or not fields.get("opens", True):
        return None
    return kind == "facturx" or bool(fields.keys() & {"mentions", "says", "text"})


STATED = (Term.NUMBER, Term.KIND, Term.DATE, Term.SELLER, Term.WITH_VAT, Term.WITHOUT_VAT, Term.VAT)


def _evidence(fields: Mapping[str, Any], reports: Sequence[Report]) -> tuple[TextEvidence, ...]:
    """Of a `pdf` for each Factur-X: it states all of one whose number it `mentions`, but what it `lacks`.

    says: terms for which it says something else. like: the similarity to the pages of the Factur-X, same figures.
    only: it says nothing that the invoice does not.
    """
    if not _has_text("pdf", fields):
        return ()
    lacks = {Term(each) for each in fields.get("lacks", ())}
    found = []
    for report in reports:
        pages = report.kind is Kind.FACTURX and report.has_text is not None
        if not pages and report.kind is not Kind.CII:
            continue
        named = report.number is not None and report.number in map(str, fields.get("mentions", ()))
        stated = tuple([each for each in STATED if named and each not in lacks])
        found.append(
            TextEvidence(
                report.sha256,
                similarity=fields.get("like", 0.0) if named else 0.0,
                found=stated,
                missing=tuple([each for each in STATED if each not in stated]),
                contradicted=tuple(Term(each) for each in fields.get("says", ())),
                same_figures=named and "like" in fields,
                announced=named and fields.get("only", False),
                nothing_else=named and fields.get("only", False),
            )
        )
    return tuple(found)


TYPES = {"xml": "application/xml", "ubl": "application/xml", "file": "application/octet-stream", "image": "image/png"}


def raw_mail(mail: Mapping[str, Any], parts: Sequence[tuple[str, dict[str, Any]]], salt: str = "") -> bytes:
    """The message of a row, CRLF lines. `structure` names its shape, see `_shape`; `mbox`: an mbox separator on top."""
    headers = {
        "From": "Plateforme <no-reply@jefacture.example>",
        "To": "Client <client@jefacture.example>",
        "Subject": "Vos documents",
        "Message-ID": f"<1{salt}@jefacture.example>",
        **mail.get("headers", {}),
    }
    leaves = [_leaf(index, kind, fields) for index, (kind, fields) in enumerate(parts)]
    text = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + str(mail.get("text", "Bonjour")).encode() + b"\r\n"
    body = _shape(mail.get("structure", "mixed"), text, leaves)
    top = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
    mbox = b"From x@y.example Tue Nov 24 10:00:00 2026\r\n" if mail.get("mbox") else b""
    return mbox + top.encode() + b"MIME-Version: 1.0\r\n" + body


def _leaf(index: int, kind: str, fields: Mapping[str, Any]) -> bytes:
    name = fields.get("name", f"{kind}-{index}.pdf")
    media_type = fields.get("media_type", TYPES.get(kind, "application/pdf"))
    start = (
        b"<xml/>"
        if media_type == "application/xml"
        else b"PK\x03\x04"
        if kind in ("file", "liar", "container")
        else b"\x89PNG\r\n\x1a\n"
        if kind == "image"
        else b"%PDF-1.7\n"
    )
    mark = f"{index}{fields['salt']}".encode() if fields.get("salt") else b""
    content = base64.encodebytes(start + b"x" * fields.get("size", 100) + mark).replace(b"\n", b"\r\n")
    disposition = fields.get("disposition", "attachment")
    head = f"X-Part: {index}\r\nContent-Type: {media_type}\r\nContent-Transfer-Encoding: base64\r\n"
    head += f'Content-Disposition: {disposition}; filename="{name}"\r\n'
    if "cid" in fields:
        head += f"Content-ID: <{fields['cid']}>\r\n"
    return head.encode() + b"\r\n" + content


def multipart(subtype: str, parts: Sequence[bytes], boundary: str, more: str = "") -> bytes:
    head = f'Content-Type: multipart/{subtype}{more}; boundary="{boundary}"\r\n\r\n'.encode()
    middle = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return head + middle + b"--" + boundary.encode() + b"--\r\n"


def _forwarded(leaves: Sequence[bytes]) -> bytes:
    inner = b"From: a@b.example\r\nMIME-Version: 1.0\r\n" + multipart("mixed", leaves, "inner")
    return b"From: c@d.example\r\nContent-Type: message/rfc822\r\n\r\n" + inner


def _shape(structure: str, text: bytes, leaves: Sequence[bytes]) -> bytes:
    mixed = multipart("mixed", [text, *leaves], "outer")
    if structure == "mixed":
        return mixed if leaves else text
    if structure == "root":
        return leaves[0]
    if structure == "nested":
        inner = multipart("mixed", leaves[1:], "inner")
        return multipart("mixed", [text, leaves[0], inner], "outer")
    if structure == "forwarded":
        inner_mail = b"From: a@b.example\r\nSubject: Fwd\r\nMIME-Version: 1.0\r\n" + multipart("mixed", leaves, "inner")
        return multipart("mixed", [text, b"Content-Type: message/rfc822\r\n\r\n" + inner_mail], "outer")
    if structure == "forwarded-twice":
        return multipart("mixed", [text, b"Content-Type: message/rfc822\r\n\r\n" + _forwarded(leaves)], "outer")
    if structure == "forwarded-coded":
        coded = base64.encodebytes(_forwarded(leaves)).replace(b"\n", b"\r\n")
        head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        return multipart("mixed", [text, head + coded], "outer")
    if structure in ("dsn", "mdn"):
        kind = "delivery-status" if structure == "dsn" else "disposition-notification"
        status = f"Content-Type: message/{kind}\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\nAction: failed\r\n"
        inner = b"From: a@b.example\r\nSubject: F\r\n" + (
            multipart("mixed", leaves, "inner") if leaves else b"\r\nx\r\n"
        )
        back = b"Content-Type: message/rfc822\r\n\r\n" + inner
        return multipart("report", [text, status.encode(), back], "outer", f"; report-type={kind}")
    if structure == "undivided":
        return b"Content-Type: multipart/mixed\r\n\r\n" + leaves[0]
    if structure == "two-types":
        return b"Content-Type: text/plain\r\n" + mixed
    if structure == "unclosed":
        return mixed.removesuffix(b"--outer--\r\n")
    if structure == "signed":
        signature = b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n-----BEGIN\r\n"
        inner = multipart("mixed", [text, *leaves], "inner")
        return multipart(
            "signed", [inner, signature], "outer", "; protocol=application/pgp-signature; micalg=pgp-sha256"
        )
    if structure == "pgp-encrypted":
        control = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
        data = b"Content-Type: application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n"
        return multipart("encrypted", [control, data], "outer", "; protocol=application/pgp-encrypted")
    if structure == "smime-encrypted":
        return b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\r\nxxxx\r\n"
    if structure == "smime-opaque":
        return b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n\r\nxxxx\r\n"
    if structure == "partial":
        return b'Content-Type: message/partial; id="a"; number=1; total=3\r\n\r\nxxxx\r\n'
    if structure == "tnef":
        dat = b"Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\nxxxx\r\n"
        return multipart("mixed", [text, dat, *leaves], "outer")
    if structure in STRUCTURES:
        return STRUCTURES[structure](text, leaves)
    raise ValueError(structure)


def _related(text: bytes, leaves: Sequence[bytes]) -> bytes:
    """The first part in a multipart/related with its HTML, the others beside it."""
    html = b'Content-Type: text/html\r\n\r\n<p>Bonjour <img src="cid:shown%40x"></p>\r\n'
    return multipart("mixed", [multipart("related", [html, leaves[0]], "inner"), *leaves[1:]], "outer")


def _with_html(text: bytes, leaves: Sequence[bytes]) -> bytes:
    html = b'Content-Type: text/html\r\n\r\n<p>Bonjour <img src="cid:shown%40x"></p>\r\n'
    return multipart("mixed", [html, *leaves], "outer")


def _interrupted(text: bytes, leaves: Sequence[bytes]) -> bytes:
    return b"this line is no field\r\n" + multipart("mixed", [text, *leaves], "outer")


def _encoded_as(encoding: bytes) -> Callable[[bytes, Sequence[bytes]], bytes]:
    def made(text: bytes, leaves: Sequence[bytes]) -> bytes:
        return multipart("mixed", [text, *(leaf.replace(b"base64", encoding) for leaf in leaves)], "outer")

    return made


STRUCTURES = {
    "related": _related,
    "html": _with_html,
    "interrupted": _interrupted,
    "unknown-encoding": _encoded_as(b"x-enigma"),
    "two-boundaries": lambda text, leaves: multipart("mixed", [text, *leaves], "outer", "; boundary=inner"),
    "elsewhere": lambda text, leaves: multipart(
        "mixed",
        [text, b'Content-Type: message/external-body; access-type=URL; URL="http://x"\r\n\r\nx\r\n', *leaves],
        "o",
    ),
    "yenc": lambda text, leaves: multipart(
        "mixed", [text + b"=ybegin line=128 size=9 name=f.pdf\r\nabc\r\n", *leaves], "o"
    ),
    "epilogue": lambda text, leaves: multipart("mixed", [text], "outer") + b"--outer\r\n" + b"".join(leaves),
    "early-blank": lambda text, leaves: b"\r\n" + multipart("mixed", [text, *leaves], "outer"),
}
