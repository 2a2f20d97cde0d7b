"""A configuration of many clients, for tests and benches."""

from pathlib import Path

RELAY = """\
hostname: relay.test.example
smarthosts: {default: {host: 127.0.0.1, port: 2526, tls: none}}
defaults: {operator: operator@test.example}
"""

HEAD = """\
firm: Cabinet {number}
connections:
  agiris: {{link_name: Agiris, original_pdf: false}}
clients:
"""

CLIENT = """\
  - dossier: "{number:08d}"
    name: Client {number}
    siren: "{siren}"
    share_with_firm: true
    connection: agiris
    agiris_address: {number:08d}@agiris.example
    recipients: [c{number}@export.relay.example]
"""


def siren(number: int) -> str:
    """A SIREN whose check digit holds, another for each number below 10^8."""
    body = f"{number:08d}"
    total = sum(sum(divmod(int(digit) * (1 + index % 2), 10)) for index, digit in enumerate(body))
    return body + str(-total % 10)


def write(folder: Path, clients: int, files: int) -> Path:
    """`clients` clients, dealt to `files` firms; the folder of relay.yaml."""
    (folder / "firms").mkdir(parents=True)
    (folder / "relay.yaml").write_text(RELAY, encoding="utf-8")
    for firm in range(files):
        text = HEAD.format(number=firm)
        text += "".join(CLIENT.format(number=each, siren=siren(each)) for each in range(firm, clients, files))
        (folder / "firms" / f"cabinet-{firm:04d}.yaml").write_text(text, encoding="utf-8")
    return folder
