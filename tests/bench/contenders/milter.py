"""What an administrator would put behind Postfix: a milter in Python that checks the Factur-X and drops the original.

`python -m tests.bench.contenders.milter SOCKET`, ended by a signal to its group. Two processes on one socket, the XSD
check of the factur-x package, the email package of the standard library; the body is replaced only when a part was
dropped. Made with pymilter.
"""

import contextlib
import io
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser
from types import ModuleType
from typing import Any, cast

DEBIAN = "/usr/lib/python3/dist-packages"


def library() -> tuple[ModuleType, ModuleType]:
    """Milter and milter of pymilter, from this environment or from Debian's package. Raises ImportError."""
    try:
        import Milter
    except ImportError:
        sys.path.append(DEBIAN)
        import Milter
    import milter

    return Milter, milter


def original_dropped(octets: bytes) -> Message | None:
    """The message without the PDFs beside its valid Factur-X; None when nothing is to be dropped."""
    mail = BytesParser(EmailMessage, policy=policy.compat32).parsebytes(octets)
    attached = [part for part in mail.walk() if part.get_content_type() == "application/pdf"]
    others = [part for part in attached if not _is_facturx(cast(bytes, part.get_payload(decode=True)))]
    if not others or len(others) == len(attached):
        return None
    for parent in mail.walk():
        if parent.is_multipart():
            parent.set_payload([part for part in cast(list[Any], parent.get_payload()) if part not in others])
    return mail


def _is_facturx(pdf: bytes) -> bool:
    from facturx import get_xml_from_pdf

    try:
        name, _ = get_xml_from_pdf(io.BytesIO(pdf), check_xsd=True, check_schematron=False)
    except Exception:
        return False
    return bool(name)


def body(mail: Message) -> bytes:
    """What follows the header, CRLF lines."""
    return mail.as_bytes(policy=mail.policy.clone(linesep="\r\n")).partition(b"\r\n\r\n")[2]


def make(base: type[Any], go_on: int) -> type[Any]:
    """The milter's class. base: Milter.Base. go_on: Milter.CONTINUE."""

    # lxml crashes in the threads of libmilter, which Python did not make; more than one of ours gains nothing (GIL).
    work = ThreadPoolExecutor(1)

    class Checker(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.octets = io.BytesIO()

        def envfrom(self, *_: object) -> int:
            self.octets = io.BytesIO()
            return go_on

        def header(self, name: str, value: str) -> int:
            self.octets.write(f"{name}: {value}\r\n".encode("utf-8", "surrogateescape"))
            return go_on

        def eoh(self) -> int:
            self.octets.write(b"\r\n")
            return go_on

        def body(self, chunk: bytes) -> int:
            self.octets.write(chunk)
            return go_on

        def eom(self) -> int:
            kept = work.submit(original_dropped, self.octets.getvalue()).result()
            if kept is not None:
                self.replacebody(body(kept))
            return go_on

    return Checker


def main() -> None:
    """Serve on the Unix socket until SIGTERM. Over TCP each message would wait 40 ms for a delayed acknowledgement."""
    logging.disable(logging.INFO)
    with contextlib.redirect_stdout(sys.stderr):
        high, low = library()
        import facturx  # noqa: F401 - before the fork, and not within the first message
    high.factory = make(high.Base, high.CONTINUE)
    low.setconn(address := f"unix:{sys.argv[1]}")
    high.set_flags(high.CHGBODY)
    low.register("bench")
    os.umask(0)
    low.opensocket(False)  # before the fork: both processes take connections from the one socket
    if os.fork():
        print("ready", flush=True)
    high.runmilter("bench", address, 60, rmsock=False)


if __name__ == "__main__":
    main()
