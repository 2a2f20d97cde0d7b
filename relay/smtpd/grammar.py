"""Grammar of MAIL and RCPT (RFC 5321 §4.1.2, 1870, 3461, 6152, 6531). Pure: text in, value or reply out.

An error is a `Reply`, never an exception: the dialogue stays in step, and no internal text reaches the client."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from relay.model import Recipient
from relay.replies import Reply

PATH_LIMIT = 256  # octets with the brackets, rfc5321#4.5.3.1.3
ENVID_LIMIT = 100  # rfc3461#4.4
ORCPT_LIMIT = 500  # rfc3461#4.2

_UTF8 = "\u00a1-\ud7ff\ue000-\U0010ffff"  # no C1 controls, no surrogates: they stand for octets that are not UTF-8
_ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_UTF8}-]+"
_QUOTED = rf'"(?:[ !#-\[\]-~{_UTF8}]|\\[ -~])*"'
_DOMAIN = rf"[A-Za-z0-9_{_UTF8}-]+(?:\.[A-Za-z0-9_{_UTF8}-]+)*"
_PATH = re.compile(
    rf"<(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"  # a source route must be accepted and should be ignored, rfc5321#4.1.1.3
    rf"(?P<local>{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@(?P<domain>{_DOMAIN}|\[[0-9A-Za-z:.]+\])>"
)
_POSTMASTER = re.compile(r"<postmaster>", re.IGNORECASE)
_PARAMETER = re.compile(rf"(?P<key>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[!-<>-~{_UTF8}]+))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_ORCPT_UTF8 = re.compile(rf"(?:[!-*,-<>-\[\]-~{_UTF8}]|\\x\{{[0-9A-Fa-f]{{2,6}}\}}|\+[0-9A-F]{{2}})+")
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})

MAIL_SYNTAX = Reply(501, "5.5.2", "syntax: MAIL FROM:<address> [parameters]")
RCPT_SYNTAX = Reply(501, "5.5.2", "syntax: RCPT TO:<address> [parameters]")
BAD_SENDER = Reply(501, "5.1.7", "bad sender address syntax")
BAD_RECIPIENT = Reply(501, "5.1.3", "bad recipient address syntax")
NEEDS_UTF8 = Reply(553, "5.6.7", "an address outside ASCII needs SMTPUTF8 on MAIL")


@dataclass(frozen=True, slots=True)
class MailCommand:
    """A well-formed MAIL. `size` in octets or None; the rest as in `relay.model.Envelope`."""

    sender: str
    size: int | None = None
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


def mail(arg: str, *, extended: bool, auth: bool = False) -> MailCommand | Reply:
    """What follows the verb MAIL. extended: after EHLO. auth: AUTH= (RFC 4954 §5) is known here; it is not trusted."""
    text = _after(arg, "FROM:")
    if text is None:
        return MAIL_SYNTAX
    path = ("", text[2:]) if text.startswith("<>") else _path(text)
    if path is None:
        return BAD_SENDER if ">" in text and text.startswith("<") else MAIL_SYNTAX
    sender, rest = path
    parameters = _parameters(rest, extended)
    if isinstance(parameters, Reply):
        return parameters
    command = _mail_parameters(sender, parameters, auth)
    if isinstance(command, MailCommand) and not sender.isascii() and not command.smtputf8:
        return NEEDS_UTF8
    return command


def rcpt(arg: str, *, extended: bool, smtputf8: bool) -> Recipient | Reply:
    """What follows the verb RCPT. smtputf8: MAIL of this transaction asked for it."""
    text = _after(arg, "TO:")
    if text is None:
        return RCPT_SYNTAX
    postmaster = _POSTMASTER.match(text)
    path = ("postmaster", text[postmaster.end() :]) if postmaster else _path(text)
    if path is None:
        return BAD_RECIPIENT if ">" in text and text.startswith("<") else RCPT_SYNTAX
    address, rest = path
    if not address.isascii() and not smtputf8:
        return NEEDS_UTF8
    parameters = _parameters(rest, extended)
    if isinstance(parameters, Reply):
        return parameters
    return _rcpt_parameters(address, parameters, smtputf8)


def helo(arg: str) -> bool:
    """Is it an acceptable name in EHLO? More than the RFC's domain: real clients send their host name as it is.

    What could alter the syntax of a Received line (spaces, parentheses, quotes) is refused.
    """
    return 0 < len(arg) <= 255 and re.fullmatch(r"[A-Za-z0-9._:\[\]+/*'~-]+", arg) is not None


def _after(arg: str, keyword: str) -> str | None:
    """What follows "FROM:" or "TO:". Spaces after the colon are a common error of clients, and harmless."""
    if arg[: len(keyword)].upper() != keyword:
        return None
    return arg[len(keyword) :].lstrip(" ")


def _path(text: str) -> tuple[str, str] | None:
    """(address, rest) of a path in angle brackets, or None."""
    match = _PATH.match(text)
    if match is None or len(match[0].encode()) > PATH_LIMIT or not _domain(match["domain"]):
        return None
    return f"{match['local']}@{match['domain']}", text[match.end() :]


def _domain(text: str) -> bool:
    if text.startswith("["):
        return _literal(text[1:-1])
    return all(
        0 < len(label.encode()) <= 63 and not label.startswith("-") and not label.endswith("-")
        for label in text.split(".")
    )


def _literal(text: str) -> bool:
    try:
        if text[:5].lower() == "ipv6:":
            IPv6Address(text[5:])
        else:
            IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _parameters(rest: str, extended: bool) -> dict[str, str | None] | Reply:
    """Keys in capitals; the value None where there is no "="."""
    if rest and not rest.startswith(" "):
        return Reply(501, "5.5.4", "missing space before parameter")
    parameters: dict[str, str | None] = {}
    for word in rest.split(" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            return Reply(501, "5.5.4", "bad syntax of a parameter")
        key = match["key"].upper()
        if key in parameters:
            return Reply(501, "5.5.4", f"{key[:20]} given twice")
        parameters[key] = match["value"]
    if parameters and not extended:
        return Reply(555, "5.5.4", "parameters need EHLO")
    return parameters


def _mail_parameters(sender: str, parameters: dict[str, str | None], auth: bool) -> MailCommand | Reply:
    known = {"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"} | ({"AUTH"} if auth else set())
    if unknown := parameters.keys() - known:
        return _unknown(unknown)
    size, body = parameters.get("SIZE", "0"), (parameters.get("BODY", "7BIT") or "").upper()
    ret, envid = parameters.get("RET", "FULL"), parameters.get("ENVID", "x")
    if size is None or not re.fullmatch(r"[0-9]{1,20}", size):
        return Reply(501, "5.5.4", "syntax: SIZE=octets")
    if body not in ("7BIT", "8BITMIME"):
        return Reply(501, "5.5.4", "BODY is 7BIT or 8BITMIME")
    if parameters.get("SMTPUTF8") is not None:
        return Reply(501, "5.5.4", "SMTPUTF8 takes no value")
    if ret is None or ret.upper() not in ("FULL", "HDRS"):
        return Reply(501, "5.5.4", "RET is FULL or HDRS")
    if envid is None or not _XTEXT.fullmatch(envid) or len(envid) > ENVID_LIMIT:
        return Reply(501, "5.5.4", f"ENVID is xtext of at most {ENVID_LIMIT} characters")
    return MailCommand(
        sender,
        size=int(size) if "SIZE" in parameters else None,
        body=body,
        smtputf8="SMTPUTF8" in parameters,
        ret=ret.upper() if "RET" in parameters else None,
        envid=envid if "ENVID" in parameters else None,
    )


def _rcpt_parameters(address: str, parameters: dict[str, str | None], smtputf8: bool) -> Recipient | Reply:
    if unknown := parameters.keys() - {"NOTIFY", "ORCPT"}:
        return _unknown(unknown)
    notify: frozenset[str] = frozenset()
    if "NOTIFY" in parameters:
        words = (parameters["NOTIFY"] or "").upper().split(",")
        notify = frozenset(words)
        if len(words) != len(notify) or not (notify == {"NEVER"} or notify <= _NOTIFY):
            return Reply(501, "5.5.4", "NOTIFY is NEVER or a list of SUCCESS, FAILURE, DELAY")
    orcpt = parameters.get("ORCPT")
    if "ORCPT" in parameters and (orcpt is None or not _orcpt(orcpt, smtputf8)):
        return Reply(501, "5.5.4", "syntax: ORCPT=type;address as xtext")
    return Recipient(address, notify, orcpt)


def _orcpt(text: str, smtputf8: bool) -> bool:
    kind, semicolon, address = text.partition(";")
    if not semicolon or not re.fullmatch(r"[A-Za-z0-9-]+", kind) or len(text) > ORCPT_LIMIT:
        return False
    if kind.lower() == "utf-8":  # rfc6533#3
        return _ORCPT_UTF8.fullmatch(address) is not None and (smtputf8 or address.isascii())
    return _XTEXT.fullmatch(address) is not None


def _unknown(keys: set[str]) -> Reply:
    return Reply(555, "5.5.4", f"unknown parameter {min(keys)[:40]}")
