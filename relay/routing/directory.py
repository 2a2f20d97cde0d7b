"""Directory: every way to find a client, indexed once for each set of terms; a look-up costs the same for 10 clients
and for 10,000.

Addresses: the domain is compared in lower case, the local part exactly and then case-folded (rfc5321#2.4)."""

import unicodedata
from collections.abc import Generator
from fnmatch import fnmatchcase

from relay.inspection import Party
from relay.routing.policy import Client, Terms

Clients = tuple[Client, ...]

TAG = "+"


def address_key(address: str) -> str:
    """`address` with its domain in lower case and in one Unicode form; the local part as it is."""
    if not address.isascii():
        address = unicodedata.normalize("NFC", address)
    local, at, domain = address.rpartition("@")
    return local + at + domain.lower()


def folded_key(address: str) -> str:
    """`address_key` without case in the local part either."""
    return address.lower() if address.isascii() else address_key(address).casefold()


def split_tag(address: str) -> tuple[str, str]:
    """("local@domain", "tag") of "local+tag@domain"; the tag is "" when there is none."""
    local, at, domain = address.rpartition("@")
    base, _, tag = local.partition(TAG)
    return (base + at + domain, tag) if tag else (address, "")


def digits(identifier: str | None) -> str:
    """A SIREN or SIRET without its spaces, "" for None."""
    if not identifier:
        return ""
    return identifier if identifier.isdigit() else "".join(identifier.split())


class Directory:
    """The clients of `terms`, by recipient, tag, header or SIREN, and the addresses the server accepts.

    A look-up answers with every client that matches, none being no answer: to choose among several is `identify`'s.
    """

    terms: Terms

    def __init__(self, terms: Terms) -> None:
        for _ in self._fill(terms, len(terms.clients) + 1):
            pass

    @classmethod
    def build_incrementally(cls, terms: Terms, size: int = 500) -> Generator[None, None, "Directory"]:
        """Build in slices of `size` clients, yielding between them, so that a reload holds up no dialogue.

        The generator's value (StopIteration.value) is the directory.
        """
        directory = cls.__new__(cls)
        yield from directory._fill(terms, size)
        return directory

    def _fill(self, terms: Terms, size: int) -> Generator[None, None, None]:
        self.terms = terms
        self._served: set[str] = {terms.hostname.lower()}
        self._exact: dict[str, Clients] = {}
        self._folded: dict[str, Clients] = {}
        self._dossiers: dict[str, Clients] = {}
        self._sirens: dict[str, Clients] = {}
        firms: dict[str, list[Client]] = {}
        for count, client in enumerate(terms.clients.values(), 1):
            self._add(client)
            firms.setdefault(client.firm.casefold(), []).append(client)
            if count % size == 0:
                yield
        self._firms = {key: tuple(clients) for key, clients in firms.items()}
        self._patterns(terms)

    def _add(self, client: Client) -> None:
        for recipient in client.recipients:
            key = address_key(recipient)
            self._served.add(key[key.rfind("@") + 1 :])
            _put(self._exact, key, client)
            _put(self._folded, key.casefold(), client)
        _put(self._dossiers, client.dossier, client)
        if siren := digits(client.siren) or digits(client.siret)[:9]:
            _put(self._sirens, siren, client)

    def _patterns(self, terms: Terms) -> None:
        patterns = [pattern.casefold() for pattern in terms.recipients]
        self._domains = {item[2:] for item in patterns if item.startswith("*@") and "*" not in item[1:]}
        self._addresses = {each for each in patterns if "*" not in each and "?" not in each}
        self._globs = [each for each in patterns if "*" in each and each[2:] not in self._domains]
        bounce = folded_key(terms.return_path)
        self._bounce, _, self._bounce_domain = bounce.rpartition("@")
        self._served |= self._domains | {each.rpartition("@")[2] for each in (*self._addresses, bounce) if each}

    def by_recipient(self, address: str) -> Clients:
        """Clients that list `address` among their recipients."""
        key = address_key(address)
        return self._exact.get(key) or self._folded.get(key.casefold(), ())

    def by_dossier(self, dossier: str) -> Clients:
        """Clients whose number is `dossier`, of any firm: a number is unique in one firm only."""
        return self._dossiers.get(dossier, ())

    def by_firm(self, firm: str) -> Clients:
        """All clients of the firm whose key is `firm`."""
        return self._firms.get(firm.casefold(), ())

    def by_header(self, value: str) -> Clients:
        """Clients that a header field's `value` names: a dossier, or "firm/dossier"."""
        value = value.strip()
        client = self.terms.clients.get(value)
        return (client,) if client is not None else self.by_dossier(value)

    def by_siren(self, siren: str | None, siret: str | None = None) -> Clients:
        """Clients with this SIREN; when several share it, the one whose SIRET is `siret`, if there is such a one."""
        clients = self._sirens.get(digits(siren) or digits(siret)[:9], ())
        if len(clients) < 2 or not siret:
            return clients
        return tuple(each for each in clients if digits(each.siret) == digits(siret)) or clients

    def by_party(self, party: Party) -> Clients:
        """Clients whose SIREN this party bears: the surest of its identifiers that is a client's counts alone."""
        return next((clients for siren in party.sirens if (clients := self.by_siren(siren, party.siret))), ())

    def is_return_path(self, address: str) -> bool:
        """Is it `return_path`, plain or with a tag of ours (a late bounce that comes home)?"""
        if not self._bounce:
            return False
        local, _, domain = folded_key(address).rpartition("@")
        return domain == self._bounce_domain and (local == self._bounce or local.startswith(self._bounce + TAG))

    def is_postmaster(self, address: str) -> bool:
        """Is it the address that every domain has (rfc5321#4.5.1)?"""
        local, _, domain = folded_key(address).rpartition("@")
        return (local or domain) == "postmaster" and (not local or domain in self._served)

    def accepts(self, address: str) -> bool:
        """May the server accept mail for `address`? Anything else would make it an open relay."""
        key = folded_key(address)
        local, at, domain = key.rpartition("@")
        if self.is_postmaster(address):
            return True
        return bool(local and at) and (
            domain in self._domains
            or key in self._addresses
            or key in self._folded
            or split_tag(key)[0] in self._folded
            or self.is_return_path(key)
            or any(fnmatchcase(key, pattern) for pattern in self._globs)
        )


def _put(index: dict[str, Clients], key: str, client: Client) -> None:
    clients = index.get(key)
    if clients is None:
        index[key] = (client,)
    elif clients[-1] is not client:
        index[key] = (*clients, client)
