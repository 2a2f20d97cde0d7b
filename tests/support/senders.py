"""The platform under load: threads that hand messages over and keep at it until each is answered 250."""

import itertools
import random
import smtplib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from relay.demo.sample_pdf import facturx_pdf
from relay.demo.samples import invoice_xml
from tests.support import mails
from tests.support.daemon_process import SIRENS, STRANGER
from tests.support.message_ledger import Ledger, Sent


def address(number: int) -> str:
    return f"{number:08d}@agiris.example"


def invoice_mail(token: str, client: int = 0, padding: int = 0, to: str = "", also: tuple[str, ...] = ()) -> Sent:
    """A sale of one client as a Factur-X whose number is `token`, with the token in Message-ID, header and text."""
    pdf = facturx_pdf(invoice_xml(token, seller_siren=SIRENS[client], buyer_siren=STRANGER), text=f"Facture {token}")
    recipient = f"client{client}@export.relay.example"
    parts = [
        mails.text(f"Bonjour,\r\n\r\n{token}\r\n..un point\r\n.\r\n" + "x" * 70 + "\r\n"),
        mails.pdf(pdf, f"{token}.pdf"),
    ]
    if padding:
        noise = random.Random(token).randbytes(padding)
        parts.append(mails.pdf(b"%PDF-1.7\n" + noise, "annexe.pdf"))
    raw = mails.mail(
        parts,
        to=recipient,
        message_id=f"<{token}@jefacture.example>",
        headers=(("X-Token", token),),
    )
    # The To field, which the relay rewrites, stands first: all below it must arrive octet for octet.
    line = f"To: {recipient}\r\n".encode()
    raw = line + raw.replace(line, b"", 1)
    return Sent(token, recipient, to or address(client), raw, also)


class Senders:
    """`threads` of them until `stop()`; `ledger` hold what they did. tokens begin with `prefix`."""

    def __init__(
        self,
        port: int,
        ledger: Ledger,
        threads: int = 6,
        prefix: str = "T",
        make: Callable[[str, int], Sent] | None = None,
        pause: float = 0.0,
    ) -> None:
        self._port, self._books, self._pause = port, ledger, pause
        self._prefix, self._numbers, self._lock = prefix, itertools.count(), threading.Lock()
        self._make = make or (lambda token, number: invoice_mail(token, number % len(SIRENS)))
        self._ending, self._cut = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        self.errors: list[BaseException] = []
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float = 60) -> None:
        """No new messages; each in hand is offered until it is answered 250 (at most `seconds`)."""
        self._ending.set()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._cut.set()
        if self.errors:
            raise self.errors[0]

    def _run(self) -> None:
        try:
            for sent in self._mails():
                self._hand_over(sent)
                self._ending.wait(self._pause)
        except BaseException as error:
            self.errors.append(error)

    def _mails(self) -> Iterator[Sent]:
        while not self._ending.is_set():
            with self._lock:
                number = next(self._numbers)
            sent = self._make(f"{self._prefix}{number:07d}", number)
            self._books.sent[sent.token] = sent
            yield sent

    def _hand_over(self, sent: Sent) -> None:
        while not self._cut.is_set():
            if submit(self._port, sent, self._books):
                return
            self._cut.wait(0.05)


def submit(port: int, sent: Sent, ledger: Ledger, seconds: float = 30) -> bool:
    """One submission, entered in the ledger; whether it was answered 250."""
    ledger.sent[sent.token] = sent
    with ledger.lock:
        ledger.submissions += 1
    try:
        code, text = _submit(port, sent, seconds)
    except (OSError, smtplib.SMTPException):
        return False
    if code == 250:
        ledger.acknowledged[sent.token] = (text.split()[-1], time.time())
        return True
    if code >= 500:
        with ledger.lock:
            ledger.refused.append(f"{sent.token} {code} {text}")
        return True
    with ledger.lock:
        ledger.later[code] += 1
    return False


def _submit(port: int, sent: Sent, seconds: float) -> tuple[int, str]:
    client = smtplib.SMTP("127.0.0.1", port, timeout=seconds)
    try:
        client.ehlo("plateforme.jefacture.example")
        code, text = client.mail("noreply@jefacture.example", [f"size={len(sent.raw)}"])
        if code == 250:
            code, text = client.rcpt(sent.recipient)
        if code == 250:
            code, text = client.data(sent.raw)
        with suppress(smtplib.SMTPException, OSError):
            client.quit()
        return code, text.decode("utf-8", "replace")
    finally:
        client.close()
