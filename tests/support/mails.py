"""Raw messages for tests, octet by octet: what real programs send, and what no message library would write.

`mail(parts=[text("Bonjour"), pdf(b"%PDF-", "facture.pdf")], to="martin@export.relay.example") -> bytes`, CRLF lines.
A part is its octets from the first of its header to the last of its body; so is a multipart, hence they nest.
"""

import base64
import quopri
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from urllib.parse import quote

CRLF = b"\r\n"
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


def lines(headers: Headers) -> bytes:
    """Header fields as given, UTF-8, one CRLF line each; folding is the caller's (`"a;\\r\\n\\tb"`)."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in pairs)


def crlf(content: str | bytes) -> bytes:
    """`content` in UTF-8 with CRLF line ends."""
    octets = content.encode() if isinstance(content, str) else content
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def encode(content: bytes, encoding: str) -> bytes:
    """`content` under a Content-Transfer-Encoding; 7bit, 8bit and binary leave it as it is. No line end at the end."""
    if encoding == "base64":
        return base64.encodebytes(content).replace(b"\n", CRLF).removesuffix(CRLF)
    if encoding == "quoted-printable":
        return quopri.encodestring(content.replace(CRLF, b"\n")).replace(b"\n", CRLF)
    return content


def parameter(name: str, value: str, style: str) -> str:
    """`; name=value` as senders write it.

    quoted: RFC 2045, raw UTF-8 when not ASCII. token: bare, even with spaces. rfc2231: `name*=utf-8''…`.
    continued: RFC 2231 §3 continuations of 20 characters. rfc2047: an encoded word in quotes, as Outlook does.
    """
    if style == "token":
        return f"; {name}={value}"
    if style == "rfc2231":
        return f"; {name}*=utf-8''{quote(value, safe='')}"
    if style == "continued":
        pieces = [value[at : at + 20] for at in range(0, len(value), 20)] or [""]
        coded = ["utf-8''" * (not number) + quote(piece, safe="") for number, piece in enumerate(pieces)]
        return "".join(f";\r\n {name}*{number}*={piece}" for number, piece in enumerate(coded))
    if style == "rfc2047":
        return f'; {name}="=?utf-8?B?{base64.b64encode(value.encode()).decode()}?="'
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'; {name}="{escaped}"'


def part(
    content: str | bytes = b"",
    media_type: str = "application/octet-stream",
    filename: str | None = None,
    *,
    encoding: str = "base64",
    disposition: str | None = None,
    style: str = "quoted",
    headers: Headers = (),
) -> bytes:
    """One leaf. disposition: by default "attachment" when there is a file name. encoding "" writes no such field."""
    octets = content.encode() if isinstance(content, str) else content
    disposition = disposition if disposition is not None else ("attachment" if filename is not None else "")
    fields = [("Content-Type", media_type)]
    if encoding:
        fields.append(("Content-Transfer-Encoding", encoding))
    if disposition:
        name = "" if filename is None else parameter("filename", filename, style)
        fields.append(("Content-Disposition", disposition + name))
    elif filename is not None:
        fields[0] = ("Content-Type", media_type + parameter("name", filename, style))
    return lines(fields) + lines(headers) + CRLF + encode(octets, encoding)


def text(
    content: str = "Bonjour,\r\n\r\nvoici une piece.\r\n", subtype: str = "plain", encoding: str = "8bit"
) -> bytes:
    """A text body."""
    return part(crlf(content), f"text/{subtype}; charset=utf-8", encoding=encoding)


def pdf(content: bytes = b"%PDF-1.7\n", filename: str = "facture.pdf", **how: str) -> bytes:
    """A PDF as the platform attaches it; `how`: encoding, style, disposition of `part`."""
    return part(content, "application/pdf", filename, **how)


def xml(content: bytes = b"<x/>", filename: str = "facture.xml", **how: str) -> bytes:
    """An XML attachment."""
    return part(content, "application/xml", filename, **how)


def rfc822(inner: bytes, filename: str | None = None) -> bytes:
    """A forwarded mail, as message/rfc822."""
    return part(inner, "message/rfc822", filename, encoding="")


def multipart(
    parts: Sequence[bytes],
    subtype: str = "mixed",
    *,
    boundary: str | None = None,
    preamble: bytes = b"",
    epilogue: bytes = b"",
    closed: bool = True,
    params: str = "",
    headers: Headers = (),
) -> bytes:
    """A multipart with its header. closed=False: the closing delimiter is missing. preamble, epilogue: whole lines."""
    boundary = boundary or "=_" + sha256(b"\0".join(parts)).hexdigest()[:24]
    head = lines([("Content-Type", f'multipart/{subtype}; boundary="{boundary}"{params}')]) + lines(headers)
    return head + CRLF + body(parts, boundary, preamble=preamble, epilogue=epilogue, closed=closed)


def body(
    parts: Sequence[bytes], boundary: str, *, preamble: bytes = b"", epilogue: bytes = b"", closed: bool = True
) -> bytes:
    """The body of a multipart: preamble, delimiters, parts, epilogue."""
    delimiter = b"--" + boundary.encode()
    pieces = [delimiter + CRLF + each for each in parts]
    end = [delimiter + b"--" + CRLF + epilogue] if closed else []
    return preamble + CRLF.join(pieces + end)


def mail(
    parts: Sequence[bytes] | None = None,
    *,
    to: str = "martin@export.relay.example",
    sender: str = "noreply@jefacture.example",
    subject: str = "Nouvelle piece",
    message_id: str = "<1@jefacture.example>",
    headers: Headers = (),
    entity: bytes | None = None,
    **how: object,
) -> bytes:
    """A whole message: its header, then `entity` (of `part`, `multipart`, …) or a multipart of `parts` (`how`: see
    there).

    headers: further fields, on top of the others. An argument that is "" leaves its field out.
    """
    named = (("From", sender), ("To", to), ("Subject", subject), ("Message-ID", message_id))
    fields = [(name, value) for name, value in named if value]
    fields.append(("Date", "Tue, 24 Nov 2026 09:00:00 +0100"))
    fields.append(("MIME-Version", "1.0"))
    if entity is None:
        entity = multipart([text(), pdf()] if parts is None else parts, **how)  # type: ignore[arg-type]
    return lines(headers) + lines(fields) + entity
