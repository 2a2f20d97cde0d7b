"""A name server on a UDP port, a free one of 127.0.0.1, and the look-up of message exchangers that asks it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.asyncresolver import Resolver

from relay.smtp_client.route import MailExchangers

SILENT = "silent"

Zone = Mapping[str, Sequence[str] | str]
"""`name TYPE` -> its records as in a zone file; or the name of a response code ("SERVFAIL"), or SILENT.

A name that stands with no type at all does not exist (NXDOMAIN); one without the type asked for has no answer.
"""


class Names(asyncio.DatagramProtocol):
    """`async with Names({"agiris.example MX": ["10 mx1.agiris.example."]}) as names: …`.

    asked: `name TYPE`, in the order of the questions.
    """

    def __init__(self, zone: Zone, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.zone = zone
        self.address = address
        self.asked: list[str] = []
        self.port = 0
        self._transport: Any = None

    async def __aenter__(self) -> "Names":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self.address)
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def exchangers(self, shuffle: Callable[[list[str]], None] = lambda names: None) -> MailExchangers:
        return MailExchangers(self._resolver, shuffle)

    def _resolver(self) -> Resolver:
        resolver = Resolver(configure=False)
        resolver.nameservers, resolver.port = [self.address[0]], self.port
        return resolver

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{name} {kind}")
        found = self.zone.get(f"{name} {kind}", ())
        if found == SILENT:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if isinstance(found, str):
            answer.set_rcode(dns.rcode.from_text(found))
        elif not any(each.startswith(f"{name} ") for each in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif found:
            answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, list(found)))
        self._transport.sendto(answer.to_wire(), address)
