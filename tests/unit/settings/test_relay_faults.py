"""Faulty relay.yaml: what is said, and at which line and column. (name, replaced, by, faults)"""

# ruff: noqa: E501 - a row of the table is what is printed, whole

from pathlib import Path

import pytest

from relay.settings.yaml_file import user
from tests.support.config_faults import RELAY, replaced, reported

CASES = [
    (
        "no smarthosts",
        RELAY,
        "hostname: x.example\n",
        [
            'relay.yaml:1:1: error: the file has no "smarthosts". Fix: add smarthosts: {default: {host: <your mail server>}}',
        ],
    ),
    (
        "unknown top key",
        "",
        "smarthost: {}\n",
        [
            'relay.yaml:3:1: error: unknown key "smarthost" in the file. Fix: Did you mean "smarthosts"? The keys are: accept, check, defaults, destinations, digest, dkim, hostname, http, identify, keep_delivered, kinds, language, …',
        ],
    ),
    (
        "section without value",
        "",
        "accept:\n",
        [
            'relay.yaml:3:8: error: "accept" takes a map of keys, got nothing. Fix: write its keys on lines of their own, indented alike',
        ],
    ),
    (
        "a return path that leaves no room for the tag",
        "",
        "return_path: retours-de-la-plateforme-@export.relay.example\n",
        [
            'relay.yaml:3:14: error: the part before the "@" of return_path has 25 characters: no room is left for the tag of a mail. Fix: write at most 24 characters before the @',
        ],
    ),
    (
        "port 0",
        "2526",
        "0",
        [
            'relay.yaml:1:47: error: port must be 1-65535, got "0". Fix: write a number from 1 to 65535',
        ],
    ),
    (
        "port too high",
        "2526",
        "70000",
        [
            'relay.yaml:1:47: error: port must be 1-65535, got "70000". Fix: write a number from 1 to 65535',
        ],
    ),
    (
        "port with a space",
        "2526",
        '"587 "',
        [
            'relay.yaml:1:47: error: port must be 1-65535, got "587 ". Fix: write a number from 1 to 65535',
        ],
    ),
    (
        "host with a scheme",
        "127.0.0.1",
        "smtp://x.example",
        [
            'relay.yaml:1:30: error: "smtp://x.example" is not a host. Fix: write the host only, without smtp://',
        ],
    ),
    (
        "host with a port",
        "127.0.0.1",
        "x.example:25",
        [
            'relay.yaml:1:30: error: "x.example:25" is not a host. Fix: write the host only; its port goes into "port"',
        ],
    ),
    (
        "host not ASCII",
        "127.0.0.1",
        "é.example",
        [
            'relay.yaml:1:30: error: "é.example" is not a host name: "é" is not ASCII. Fix: write it in its xn-- form',
        ],
    ),
    (
        "half an IP address",
        "127.0.0.1",
        "127.0.0",
        [
            'relay.yaml:1:30: error: "127.0.0" is not a host name but looks like an IP address. Fix: write a name, or a whole IP address',
        ],
    ),
    (
        "smarthost is this relay",
        "2526",
        "2525",
        [
            'relay.yaml:1:30: error: smarthost "default" is this relay itself (127.0.0.1:2525): mail would loop. Fix: name the mail server that delivers',
        ],
    ),
    (
        "password in the YAML",
        "tls: none",
        "tls: none, username: u, password: hunter2",
        [
            'relay.yaml:1:77: error: "password" in smarthost "default": no secret stands in the YAML. Fix: write it to a file: password_file: …',
        ],
    ),
    (
        "user without password",
        "tls: none",
        "username: u",
        [
            'relay.yaml:1:23: error: smarthost "default" has no "password_file". Fix: add password_file (or token_file), or remove the other',
        ],
    ),
    (
        "unknown TLS word",
        "tls: none",
        "tls: ssl",
        [
            'relay.yaml:1:58: error: "tls" must be one of none, starttls, required, implicit; got "ssl". Fix: write none, starttls, required or implicit',
        ],
    ),
    (
        "listen without host",
        "",
        "listen: [{address: 2525}]\n",
        [
            'relay.yaml:3:20: error: "2525" is not host:port. Fix: write for example "127.0.0.1:2525" (all addresses: "0.0.0.0:2525")',
        ],
    ),
    (
        "listen IPv6 without brackets",
        "",
        "listen: [{address: '::1:2525'}]\n",
        [
            'relay.yaml:3:20: error: "::1:2525": an IPv6 address stands in brackets. Fix: write "[::1]:2525"',
        ],
    ),
    (
        "two listeners on one port",
        "",
        "listen:\n  - address: 127.0.0.1:2525\n  - address: 0.0.0.0:2525\n",
        [
            "relay.yaml:5:14: error: listener 0.0.0.0:2525 takes the port of 127.0.0.1:2525 (line 4). Fix: give it another port",
        ],
    ),
    (
        "http on the port of a listener",
        "",
        "http: 127.0.0.1:2525\n",
        [
            "relay.yaml:3:7: error: http 127.0.0.1:2525 takes the port of 127.0.0.1:2525 (line 1). Fix: give it another port",
        ],
    ),
    (
        "TLS without certificate",
        "",
        "listen: [{address: 127.0.0.1:2525, tls: starttls}]\n",
        [
            'relay.yaml:3:41: error: listener 127.0.0.1:2525 has tls: starttls but no "certificate". Fix: add certificate: <file>',
            'relay.yaml:3:41: error: listener 127.0.0.1:2525 has tls: starttls but no "private_key". Fix: add private_key: <file>',
        ],
    ),
    (
        "network with host bits",
        "",
        "listen: [{address: 127.0.0.1:2525, allow_networks: [10.0.0.1/8]}]\n",
        [
            'relay.yaml:3:53: error: "10.0.0.1/8" is not a network: it has bits right of the mask. Fix: write "10.0.0.0/8"',
        ],
    ),
    (
        "not a network",
        "",
        "listen: [{address: 127.0.0.1:2525, allow_networks: [foo]}]\n",
        [
            'relay.yaml:3:53: error: "foo" is not a network. Fix: write for example "192.0.2.0/24"',
        ],
    ),
    (
        "proxy protocol",
        "",
        "listen: [{address: 127.0.0.1:2525, proxy_protocol: true, proxy_networks: [10.0.0.5/32]}]\n",
        [],
    ),
    (
        "dkim",
        "",
        "dkim: {domain: x.example, selector: s, private_key: k.pem}\n",
        [
            f"relay.yaml:3:53: error: k.pem: cannot read as user {user()}: No such file or directory. Fix: create the file, or correct its path",
        ],
    ),
    (
        "duration without unit",
        "",
        "accept: {idle_timeout: 5}\n",
        [
            'relay.yaml:3:24: error: "5" is not a duration: unit missing. Fix: give a unit: s, min, h or d (for example 5 d)',
        ],
    ),
    (
        "duration in French",
        "",
        "accept: {idle_timeout: 5 jours}\n",
        [
            'relay.yaml:3:24: error: "5 jours" is not a duration: unit jours. Fix: give a unit: s, min, h or d (for example 5 d)',
        ],
    ),
    (
        "negative duration",
        "",
        "accept: {idle_timeout: -1 s}\n",
        [
            'relay.yaml:3:24: error: "idle_timeout" must be longer than nothing, got "-1 s". Fix: write for example 5 min',
        ],
    ),
    (
        "size without unit",
        "",
        "accept: {max_mail_size: 50}\n",
        [
            'relay.yaml:3:25: error: "50" is not a size: unit missing. Fix: give a unit: KiB, MiB or GiB (for example 50 MiB)',
        ],
    ),
    (
        "count of another type",
        "",
        "accept: {max_recipients: many}\n",
        [
            'relay.yaml:3:26: error: "max_recipients" must be a whole number, got "many". Fix: write digits only',
        ],
    ),
    (
        "open relay",
        "",
        "accept: {recipients: ['*@*']}\n",
        [
            'relay.yaml:3:23: error: "*@*" would relay for the whole world: an open relay. Fix: name the domain: "*@export.example"',
        ],
    ),
    (
        "open relay for a whole top-level domain",
        "",
        "accept: {recipients: ['*@*.fr']}\n",
        [
            'relay.yaml:3:23: error: "*@*.fr" would relay for the whole world: an open relay. Fix: name the domain: "*@export.example"'
        ],
    ),
    (
        "pattern with a question mark",
        "",
        "accept: {recipients: ['a?@x.example']}\n",
        ['relay.yaml:3:23: error: "a?@x.example" is not a pattern: "?". Fix: the only wildcard is "*"'],
    ),
    (
        "pattern without @",
        "",
        "accept: {recipients: ['*']}\n",
        [
            'relay.yaml:3:23: error: "*" is not a pattern: no "@". Fix: write "*@domain" or a whole address',
        ],
    ),
    (
        "recipients empty",
        "",
        "accept: {recipients: []}\n",
        [
            'relay.yaml:3:22: error: "recipients" is empty. Fix: write at least one entry',
        ],
    ),
    (
        "unknown way to identify",
        "",
        "identify: [sirn]\n",
        [
            'relay.yaml:3:12: error: "identify" knows no way "sirn". Fix: use recipient, siren or {header: X-Dossier}',
        ],
    ),
    (
        "bad header name",
        "",
        "identify: [{header: 'X Y'}]\n",
        [
            'relay.yaml:3:12: error: "X Y" is not the name of a header field. Fix: write for example X-Dossier, without the colon',
        ],
    ),
    (
        "word of a closed list",
        "",
        "check: {level: ful}\n",
        [
            'relay.yaml:3:16: error: "level" must be one of off, structure, full; got "ful". Fix: Did you mean full?',
        ],
    ),
    (
        "active content refused",
        "",
        "check: {on_active_content: refuse}\n",
        [
            'relay.yaml:3:28: error: "on_active_content" must be one of hold, relay; got "refuse". Fix: write hold or relay',
        ],
    ),
    (
        "severity of a rule",
        "",
        "check: {severities: {BR-1: fatal}}\n",
        [
            'relay.yaml:3:28: error: "BR-1" must be one of error, warning, info; got "fatal". Fix: write error, warning or info',
        ],
    ),
    (
        "PostgreSQL spool",
        "",
        "spool: postgresql://x\n",
        [
            'relay.yaml:3:8: error: "postgresql://x" is not a spool. Fix: write sqlite:///var/lib/agiris-relay/spool.db',
        ],
    ),
    (
        "factor below 1",
        "",
        "retry: {factor: 0.5}\n",
        [
            'relay.yaml:3:17: error: "factor" must be a number from 1 to 100, got "0.5". Fix: write for example 2',
        ],
    ),
    (
        "ceiling below first",
        "",
        "retry: {ceiling: 10 s}\n",
        [
            'relay.yaml:3:18: error: "ceiling" is shorter than "first". Fix: make it longer',
        ],
    ),
    (
        "return path elsewhere",
        "",
        "return_path: b@elsewhere.example\n",
        [
            "relay.yaml:3:14: warning: return_path b@elsewhere.example is not among accept.recipients: late bounces would not come home. Fix: choose an address of accept.recipients",
        ],
    ),
    (
        "return path without room for a tag",
        "",
        f"return_path: {'b' * 27}@export.relay.example\n",
        [
            'relay.yaml:3:14: error: the part before the "@" of return_path has 27 characters: no room is left for the tag of a mail. Fix: write at most 24 characters before the @',
        ],
    ),
    ("longest return path", "", f"return_path: {'b' * 24}@export.relay.example\n", []),
    (
        "a word near none of its list",
        "",
        "check: {on_invalid: perhaps}\n",
        [
            'relay.yaml:3:21: error: "on_invalid" must be one of relay, hold, refuse; got "perhaps". Fix: write relay, hold or refuse',
        ],
    ),
    (
        "unknown rule",
        "",
        "check: {severities: {BR-CO-51: info, BR-CO-15: info, BR-FR-12: error, XMP-MISSING: info}}\n",
        [
            'relay.yaml:3:22: warning: no rule is called "BR-CO-51": its severity changes nothing. Fix: Did you mean "BR-CO-25"? The rules are: BR-01, BR-02, BR-03, BR-04, BR-05, BR-06, BR-07, BR-08, BR-09, BR-10, BR-11, BR-12, …',
        ],
    ),
    (
        "listener open to anyone",
        "",
        'listen: [{address: "0.0.0.0:2525", allow_networks: ["0.0.0.0/1", "128.0.0.0/1"]}]\n',
        [
            "relay.yaml:3:52: warning: listener 0.0.0.0:2525: allow_networks holds 0.0.0.0/0: anyone may send without AUTH. Fix: name the networks of the platform, or demand AUTH: allow_networks: [] and users_file",
        ],
    ),
    ("loopback listener open to anyone", "", "listen: [{address: 127.0.0.1:2525, allow_networks: [0.0.0.0/0]}]\n", []),
    ("listener open to a network", "", 'listen: [{address: "0.0.0.0:2525", allow_networks: [192.0.2.0/24]}]\n', []),
    (
        "flow map never closed",
        "",
        "log: {level: info\nspool: sqlite:x\n",
        [
            'relay.yaml:3:6: error: "{" opened here is never closed. Fix: close it with "}"',
        ],
    ),
    (
        "smarthost twice",
        "smarthosts: {",
        "smarthosts: {default: {host: x.example}, ",
        [
            'relay.yaml:1:42: error: smarthost "default" is defined twice (first at line 1). Fix: remove one, or give it another name',
        ],
    ),
    (
        "destination of a wrong type",
        "",
        "destinations: {agiris: 5}\n",
        [
            'relay.yaml:3:24: error: "agiris" takes a map of keys, got "5". Fix: write its keys on lines of their own, indented alike',
        ],
    ),
]


@pytest.mark.parametrize(("old", "new", "faults"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_faulty_relay_yaml_is_reported_with_its_position(
    tmp_path: Path, old: str, new: str, faults: list[str]
) -> None:
    assert reported(tmp_path, relay=replaced(RELAY, old, new)) == faults
