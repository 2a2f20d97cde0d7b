"""Faulty firm files: what is said, and at which line and column. (name, replaced, by, faults)"""

# ruff: noqa: E501 - a row of the table is what is printed, whole

from pathlib import Path

import pytest

from tests.support.config_faults import CLIENTS, FIRM, replaced, reported

CASES = [
    (
        "client twice",
        "",
        '  - dossier: "1"\n    connection: agiris\n    agiris_address: a2@agiris.example\n    recipients: [two@export.relay.example]\n',
        [
            'firms/a.yaml:10:14: error: client "1" is defined twice (first at line 6). Fix: remove one, or give it its own dossier',
        ],
    ),
    (
        "key twice in a client",
        "",
        "    connection: agiris\n",
        [
            'firms/a.yaml:10:5: error: key "connection" is given twice in client "1" (first at line 7). Fix: remove one of them',
        ],
    ),
    (
        "key twice at the top",
        "",
        "firm: x\n",
        [
            'firms/a.yaml:10:1: error: key "firm" is given twice (first at line 1). Fix: remove one of them',
        ],
    ),
    (
        "connection twice",
        "clients:",
        "  agiris: {}\nclients:",
        [
            'firms/a.yaml:5:3: error: connection "agiris" is defined twice (first at line 3). Fix: remove one, or give it another name',
        ],
    ),
    (
        "address claimed by two clients",
        "",
        '  - dossier: "2"\n    connection: agiris\n    agiris_address: a2@agiris.example\n    recipients: [one@export.relay.example]\n',
        [
            'firms/a.yaml:13:18: error: address one@export.relay.example is claimed by clients "1" (line 9) and "2" (line 13): mail could go to the wrong one. Fix: give each client its own address',
        ],
    ),
    (
        "address claimed by twins",
        "",
        '  - dossier: "2"\n    connection: agiris\n    agiris_address: a2@agiris.example\n    recipients: [ONE@export.relay.example]\n',
        [
            'firms/a.yaml:13:18: error: address ONE@export.relay.example is claimed by clients "1" (line 9) and "2" (line 13) (as one@export.relay.example: the two differ in case only): mail could go to the wrong one. Fix: give each client its own address',
        ],
    ),
    (
        "address given twice",
        "[one@export.relay.example]",
        "[one@export.relay.example, one@EXPORT.relay.example]",
        [
            'firms/a.yaml:9:44: warning: address one@export.relay.example given twice in client "1". Fix: remove one',
        ],
    ),
    (
        "tag with the number of another client",
        "[one@export.relay.example]\n",
        '[one+2@export.relay.example]\n  - dossier: "2"\n    connection: agiris\n    agiris_address: a2@agiris.example\n    recipients: [two@export.relay.example]\n',
        [
            'firms/a.yaml:9:18: error: address one+2@export.relay.example of client "1" bears the number of client "2" (line 10): mail could go to the wrong one. Fix: list it in the client whose number it bears',
        ],
    ),
    (
        "unknown connection",
        "connection: agiris",
        "connection: agirs",
        [
            'firms/a.yaml:7:17: error: connection "agirs" of client "1" is not defined. Fix: Did you mean "agiris"? Defined: agiris',
        ],
    ),
    (
        "unknown destination",
        "original_pdf: false",
        "destination: agris",
        [
            'firms/a.yaml:4:18: error: destination "agris" is not defined. Fix: Did you mean "agiris"? Defined: agiris',
        ],
    ),
    (
        "unknown smarthost",
        "original_pdf: false",
        "smarthost: defaut",
        [
            'firms/a.yaml:4:16: error: smarthost "defaut" is not defined. Fix: Did you mean "default"? Defined: default',
        ],
    ),
    (
        "unknown smarthost of a client",
        "",
        "    smarthost: other\n",
        [
            'firms/a.yaml:10:16: error: smarthost "other" is not defined. Fix: Defined: default',
        ],
    ),
    (
        "unknown key",
        "",
        "    orginal_pdf: true\n",
        [
            'firms/a.yaml:10:5: error: unknown key "orginal_pdf" in client "1". Fix: Did you mean "original_pdf"? The keys are: agiris_address, connection, destination, dossier, kinds, link_name, name, original_pdf, recipients, share_with_firm, siren, siret, …',
        ],
    ),
    (
        "unknown key with an invisible character",
        "",
        "    nam\xa0e: x\n",
        [
            'firms/a.yaml:10:5: error: unknown key "nam\xa0e" in client "1": it holds U+00A0. Fix: type the key again',
        ],
    ),
    (
        "unknown key of an address",
        "a1@agiris.example",
        "{purchases: a@agiris.example, sells: b@x.example}",
        [
            'firms/a.yaml:8:51: error: unknown key "sells" in client "1", "agiris_address". Fix: Did you mean "sales"? The keys are: credit_notes, purchases, sales, statements',
        ],
    ),
    (
        "missing key",
        "    agiris_address: a1@agiris.example\n",
        "",
        [
            'firms/a.yaml:6:5: error: client "1" has no "agiris_address". Fix: add agiris_address: <the address given by Agiris>',
        ],
    ),
    (
        "missing top key",
        "firm: Durand\n",
        "",
        [
            'firms/a.yaml:1:1: error: the file has no "firm". Fix: add firm: <name of the accounting firm>',
        ],
    ),
    (
        "address without @",
        "a1@agiris.example",
        "agiris.example",
        [
            'firms/a.yaml:8:21: error: "agiris.example" is not an e-mail address: no "@". Fix: write the whole address, name@domain',
        ],
    ),
    (
        "address with a space",
        "a1@agiris.example",
        "a b@agiris.example",
        [
            'firms/a.yaml:8:21: error: "a b@agiris.example" is not an e-mail address: it has a space. Fix: write the address only',
        ],
    ),
    (
        "address with two @",
        "a1@agiris.example",
        "a@b@agiris.example",
        [
            'firms/a.yaml:8:21: error: "a@b@agiris.example" is not an e-mail address: two "@". Fix: write one address',
        ],
    ),
    (
        "address with a dot at the end",
        "a1@agiris.example",
        "a@agiris.example.",
        [
            'firms/a.yaml:8:21: error: "a@agiris.example." is not an e-mail address: it ends with a dot. Fix: remove the dot at the end',
        ],
    ),
    (
        "address with a name",
        "a1@agiris.example",
        "Bob <a@agiris.example>",
        [
            'firms/a.yaml:8:21: error: "Bob <a@agiris.example>" is not an e-mail address. Fix: write the address only, without the name',
        ],
    ),
    (
        "address with an accent in the domain",
        "a1@agiris.example",
        "a@agirís.example",
        [
            'firms/a.yaml:8:21: error: "a@agirís.example" is not an e-mail address: "í" is not ASCII. Fix: write it without accents',
        ],
    ),
    (
        "address with a bad domain",
        "a1@agiris.example",
        "a@-x.example",
        [
            'firms/a.yaml:8:21: error: "a@-x.example" is not an e-mail address: "-x.example" is not a domain. Fix: correct the domain',
        ],
    ),
    (
        "address with a bad local part",
        "a1@agiris.example",
        "a..b@agiris.example",
        [
            'firms/a.yaml:8:21: error: "a..b@agiris.example" is not an e-mail address: "a..b" before the "@". Fix: correct the part before the @',
        ],
    ),
    (
        "address with an invisible character",
        "a1@agiris.example",
        "a@agiris.example\u200b",
        [
            'firms/a.yaml:8:21: error: invisible character U+200B in "agiris_address". Fix: type the value again',
        ],
    ),
    (
        "list of addresses",
        "a1@agiris.example",
        "[a@x.example, b@x.example]",
        [
            'firms/a.yaml:8:21: error: "agiris_address" takes one address, got a list of 2. Fix: write one address, or purchases:, sales:, credit_notes:, statements:',
        ],
    ),
    (
        "no value",
        " a1@agiris.example",
        "",
        [
            'firms/a.yaml:8:20: error: "agiris_address" has no value. Fix: write a value after the colon, or remove the key',
        ],
    ),
    (
        "statements only",
        "a1@agiris.example",
        "{statements: a@agiris.example}",
        [
            'firms/a.yaml:8:21: error: "agiris_address" names neither an address for purchases nor one for sales. Fix: add purchases: and sales:, or write one address for all',
        ],
    ),
    (
        "loop by pattern",
        "a1@agiris.example",
        "z@export.relay.example",
        [
            "firms/a.yaml:8:21: error: agiris_address z@export.relay.example is an address of this relay: mail would loop. Fix: write the address given by Agiris",
        ],
    ),
    (
        "not a boolean",
        "original_pdf: false",
        "original_pdf: oui",
        [
            'firms/a.yaml:4:19: error: "original_pdf" must be true or false, got "oui". Fix: write true',
        ],
    ),
    (
        "another type of connection",
        "original_pdf: false",
        "type: sftp",
        [
            'firms/a.yaml:4:11: error: type "sftp" is not served by this relay. Fix: write "email" (E-mail destinataire)',
        ],
    ),
    (
        "short SIREN",
        "",
        "    siren: 12345678\n",
        [
            'firms/a.yaml:10:12: error: "12345678" is not a SIREN: 9 digits are needed. Fix: write the 9 digits, in quotes',
        ],
    ),
    (
        "check digit of a SIREN",
        "",
        "    siren: 123456789\n",
        [
            'firms/a.yaml:10:12: warning: the check digit of SIREN "123456789" is wrong. Fix: compare it with the official register',
        ],
    ),
    (
        "SIRET of another SIREN",
        "",
        "    siren: 732829320\n    siret: 35600000000048\n",
        [
            "firms/a.yaml:11:12: error: SIRET 35600000000048 does not begin with SIREN 732829320. Fix: correct one of them",
        ],
    ),
    (
        "recipient that is the return path",
        "[one@export.relay.example]",
        "[bounces+1@export.relay.example]",
        [
            "firms/a.yaml:9:18: error: recipient bounces+1@export.relay.example is the return_path of relay.yaml: its mail would be taken for a bounce. Fix: give the client another address"
        ],
    ),
    (
        "kind of a foreign address",
        "",
        "    kinds: {x@export.relay.example: sale}\n",
        [
            'firms/a.yaml:10:13: error: "kinds" of client "1" names x@export.relay.example, which is not among its recipients. Fix: add it to recipients, or correct it',
        ],
    ),
    (
        "unknown kind",
        "",
        "    kinds: {one@export.relay.example: sales}\n",
        [
            'firms/a.yaml:10:39: error: "one@export.relay.example" must be one of purchase, sale, statement; got "sales". Fix: Did you mean sale?',
        ],
    ),
    (
        "same SIREN",
        "    recipients: [one@export.relay.example]\n",
        '    recipients: [one@export.relay.example]\n    siren: 732829320\n  - dossier: "2"\n    connection: agiris\n    agiris_address: a2@agiris.example\n    recipients: [two@export.relay.example]\n    siren: 732829320\n',
        [
            'firms/a.yaml:15:12: warning: SIREN 732829320 is the one of clients "1" (line 10) and "2" (line 15): an invoice known by SIREN only will be held. Fix: give each client its siret, or leave it if each has its own recipients',
        ],
    ),
    (
        "dossier with a space",
        '"1"',
        '"1 2"',
        [
            'firms/a.yaml:6:14: error: "1 2" is not a name for "dossier". Fix: use letters, digits, dots, hyphens; no space, no slash',
        ],
    ),
    (
        "recipients not a list",
        "[one@export.relay.example]",
        "one@export.relay.example",
        [
            'firms/a.yaml:9:17: error: "recipients" takes a list, got "one@export.relay.example". Fix: write recipients: [ … ]',
        ],
    ),
    (
        "client not a map",
        "",
        "  - two\n",
        [
            'firms/a.yaml:10:5: error: client "number 2" takes a map of keys, got "two". Fix: write its keys on lines of their own, indented alike',
        ],
    ),
    (
        "clients without value",
        CLIENTS,
        "clients:\n",
        [
            'firms/a.yaml:5:9: error: "clients" takes a list, got nothing. Fix: write clients: [ … ]',
        ],
    ),
    (
        "no client",
        CLIENTS,
        "clients: []\n",
        [
            "firms/a.yaml:5:1: warning: the firm has no client. Fix: add its clients",
        ],
    ),
    (
        "no connection",
        "connections:\n  agiris:\n    original_pdf: false\n",
        "connections: {}\n",
        [
            'firms/a.yaml:2:14: error: "connections" is empty. Fix: write at least one entry',
            'firms/a.yaml:5:17: error: connection "agiris" of client "1" is not defined. Fix: define it first',
        ],
    ),
    (
        "environment variable",
        "",
        "    name: ${NAME}\n",
        [
            'firms/a.yaml:10:11: error: "name" holds "${…}": environment variables are not read here. Fix: write the value out',
        ],
    ),
    (
        "tab",
        "",
        "\tname: x\n",
        [
            "firms/a.yaml:10:1: error: the line is indented with a tab; YAML allows spaces only. Fix: replace the tab by 2 spaces",
        ],
    ),
    (
        "tab after spaces",
        "",
        "    \tname: x\n",
        [
            "firms/a.yaml:10:5: error: the line is indented with a tab; YAML allows spaces only. Fix: replace the tab by 2 spaces",
        ],
    ),
    (
        "indentation between two",
        "",
        "   name: x\n",
        [
            "firms/a.yaml:10:4: error: this line does not line up with line 9 (4 spaces) nor with line 6 (2). Fix: give the lines of one block the same indentation",
        ],
    ),
    (
        "indentation too deep",
        "",
        "     name: x\n",
        [
            "firms/a.yaml:10:6: error: this line does not line up with line 9 (4 spaces). Fix: give the lines of one block the same indentation",
        ],
    ),
    (
        "indentation of the dash",
        "",
        "  name: x\n",
        [
            "firms/a.yaml:10:3: error: this line does not line up with line 9 (4 spaces) nor with line 6 (2). Fix: give the lines of one block the same indentation",
        ],
    ),
    (
        "no-break space in the indentation",
        "",
        "  \xa0 name: x\n",
        [
            "firms/a.yaml:10:3: error: invisible character U+00A0 in the indentation. Fix: type the spaces again",
        ],
    ),
    (
        "no space after the colon",
        "",
        "    name:x\n",
        [
            'firms/a.yaml:10:9: error: a space is missing after ":". Fix: write "name: …"',
        ],
    ),
    (
        "no space after the colon, in the middle",
        "connection: agiris\n",
        "connection:agiris\n",
        [
            'firms/a.yaml:7:15: error: a space is missing after ":". Fix: write "connection: …"',
        ],
    ),
    (
        "colon in a value",
        "",
        "    name: Facture: 2025\n",
        [
            'firms/a.yaml:10:18: error: a second ":" stands in the value. Fix: put the value in quotes: title: "Facture: 2025"',
        ],
    ),
    (
        "quote never closed",
        'dossier: "1"',
        'dossier: "1',
        [
            "firms/a.yaml:6:14: error: the quote opened here is never closed. Fix: close it on the same line",
        ],
    ),
    (
        "bracket never closed",
        "example]",
        "example",
        [
            'firms/a.yaml:9:17: error: "[" opened here is never closed. Fix: close it with "]"',
        ],
    ),
    (
        "value beginning with @",
        "a1@agiris.example",
        "@agiris.example",
        [
            'firms/a.yaml:8:21: error: a value cannot begin with "@". Fix: put the value in quotes: "…"',
        ],
    ),
    (
        "curly quotes",
        "a1@agiris.example",
        "“a@agiris.example”",
        [
            'firms/a.yaml:8:21: error: the curly quotes are part of the text here: “. Fix: use straight quotes: "…"',
        ],
    ),
    (
        "anchor",
        "connections:",
        "connections: &c",
        [
            'firms/a.yaml:2:14: error: anchor "&c" is not allowed here. Fix: write the value out where it is needed',
        ],
    ),
    (
        "alias",
        "a1@agiris.example",
        "*c",
        [
            'firms/a.yaml:8:21: error: alias "*c" is not allowed here. Fix: write the value out',
        ],
    ),
    (
        "merge key",
        "",
        "    <<: {name: x}\n",
        [
            'firms/a.yaml:10:5: error: merge key "<<" is not allowed here. Fix: write the values out',
        ],
    ),
    (
        "tag",
        "",
        "    name: !!python/object:os.system x\n",
        [
            'firms/a.yaml:10:11: error: tag "tag:yaml.org,2002:python/object:os.system" is not allowed here. Fix: remove it; put the value in quotes',
        ],
    ),
    (
        "complex key",
        "",
        "? [a]\n: b\n",
        [
            "firms/a.yaml:10:3: error: a list or a map cannot be a key. Fix: write a plain name before the colon",
        ],
    ),
    (
        "nesting of 100,000",
        "",
        "x: " + "[" * 100000 + "\n",
        [
            "firms/a.yaml:10:13: error: nesting deeper than 10. Fix: flatten it",
        ],
    ),
    (
        "second document",
        "",
        "---\nfirm: x\n",
        [
            'firms/a.yaml:10:1: error: a second document begins here ("---"). Fix: keep one document in a file',
        ],
    ),
    (
        "line break in a value",
        "",
        '    name: "a\\r\\nb"\n',
        [
            'firms/a.yaml:10:11: error: control character or line break in "name". Fix: write the value on one line',
        ],
    ),
    (
        "block text",
        "",
        "    name: |\n      a\n      b\n",
        [
            'firms/a.yaml:10:11: error: control character or line break in "name". Fix: write the value on one line',
        ],
    ),
    (
        "agiris_address of two clients",
        "",
        '  - dossier: "2"\n    connection: agiris\n    agiris_address: A1@agiris.example\n    recipients: [two@export.relay.example]\n  - dossier: "3"\n    connection: agiris\n    agiris_address: {purchases: a1@agiris.example, sales: a3@agiris.example}\n    recipients: [three@export.relay.example]\n',
        [
            'firms/a.yaml:12:21: warning: agiris_address A1@agiris.example is the one of clients "1" (line 8) and "2" (line 12) and 1 more: their documents arrive together. Fix: give each client the address that Agiris shows for it',
        ],
    ),
    (
        "control character",
        "",
        "    name: a\x00b\n",
        [
            "firms/a.yaml:10:12: error: control character U+0000. Fix: remove it",
        ],
    ),
]


@pytest.mark.parametrize(("old", "new", "faults"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_faulty_firm_is_reported_with_its_position(tmp_path: Path, old: str, new: str, faults: list[str]) -> None:
    assert reported(tmp_path, a=replaced(FIRM, old, new)) == faults


def test_the_base_of_the_table_is_sound(tmp_path: Path) -> None:
    assert reported(tmp_path) == []


@pytest.mark.parametrize(
    "key", ["transmit_documents", "original_pdf", "share_with_firm", "link_name", "destination", "smarthost", "name"]
)
def test_a_key_of_a_client_without_a_value_is_an_error_and_never_the_inherited_value(tmp_path: Path, key: str) -> None:
    firm = replaced(FIRM, "    connection: agiris", f"    {key}:\n    connection: agiris")
    assert reported(tmp_path, a=firm) == [
        f'firms/a.yaml:7:{len(key) + 6}: error: "{key}" has no value.'
        " Fix: write a value after the colon, or remove the key"
    ]
