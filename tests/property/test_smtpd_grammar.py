"""The grammar answers everything with a value or a reply, and never lets an odd octet through."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from relay.model import Recipient
from relay.replies import Reply
from relay.smtpd import grammar

OCTETS = st.binary(max_size=60).map(lambda data: data.decode("utf-8", "surrogateescape"))
PIECES = st.lists(
    st.sampled_from(
        ["<", ">", "@", ":", '"', "\\", ".", " ", "a", "é", "-", "[", "]", "IPv6:", "::1", "=", "SIZE", "ENVID", "1",
         "SMTPUTF8", "BODY", "8BITMIME", "ORCPT", "rfc822;", "NOTIFY", "NEVER", "+2B", "\0", "\r", "\udcff", "\x7f"]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@given(st.one_of(OCTETS, PIECES), st.booleans())
def test_any_mail_argument_gives_a_command_or_a_reply(text: str, extended: bool) -> None:
    found = grammar.mail("FROM:" + text, extended=extended, auth=True)
    if isinstance(found, Reply):
        assert found.code in (501, 553, 555) and found.enhanced.startswith("5.")
        assert str(found).isascii() and str(found).isprintable()
        return
    assert found.sender == "" or _clean(found.sender)
    assert found.sender.isascii() or found.smtputf8
    assert found.size is None or found.size >= 0


@given(st.one_of(OCTETS, PIECES), st.booleans(), st.booleans())
def test_any_rcpt_argument_gives_a_recipient_or_a_reply(text: str, extended: bool, smtputf8: bool) -> None:
    found = grammar.rcpt("TO:" + text, extended=extended, smtputf8=smtputf8)
    if isinstance(found, Recipient):
        assert found.address == "postmaster" or _clean(found.address)
        assert found.address.isascii() or smtputf8
    else:
        assert found.code in (501, 553, 555) and str(found).isprintable()


def _clean(address: str) -> bool:
    address.encode("utf-8")  # no surrogate
    return "@" in address and not any(unicodedata.category(each) == "Cc" for each in address)


LOCAL = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[a-z0-9]{1,5})?", fullmatch=True)
DOMAIN = st.from_regex(r"[a-z0-9]{1,10}(-[a-z0-9]{1,5})?(\.[a-z]{2,10}){0,3}", fullmatch=True)


@given(LOCAL, DOMAIN)
def test_every_plain_address_is_kept_as_it_is(local: str, domain: str) -> None:
    address = f"{local}@{domain}"
    sender = grammar.mail(f"FROM:<{address}> SIZE=10", extended=True)
    assert isinstance(sender, grammar.MailCommand) and (sender.sender, sender.size) == (address, 10)
    recipient = grammar.rcpt(f"TO:<{address}>", extended=False, smtputf8=False)
    assert isinstance(recipient, Recipient) and recipient.address == address
