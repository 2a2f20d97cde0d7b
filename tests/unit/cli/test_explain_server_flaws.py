"""`explain` and the SMTP server agree on the octets that the server accepts at all."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli.explain import explain
from relay.intake import LINE_REPLIES
from relay.mime.line_ends import LineFlaw, flaw
from tests.support.config_faults import write
from tests.support.mails import mail, part, text

CASES = {
    "a line of 998 octets": (mail([text(), part(b"A" * 998, "text/plain", encoding="7bit")]), None),
    "a line of 999 octets": (mail([text(), part(b"A" * 999, "text/plain", encoding="7bit")]), None),
    "a line of 100,000 octets": (mail([text(), part(b"A" * 100_000, "text/plain", encoding="7bit")]), None),
    "a long References line": (mail(headers={"References": "<a@b.example> " * 500}), None),
    "a bare LF": (mail([text(), part(b"a\nb", "text/plain", encoding="7bit")]), LineFlaw.BARE),
    "a bare CR": (mail([text(), part(b"a\rb", "text/plain", encoding="7bit")]), LineFlaw.BARE),
    "a NUL": (mail([text(), part(b"a\0b", "text/plain", encoding="7bit")]), LineFlaw.NUL),
}


@pytest.mark.parametrize("name", CASES)
def test_explain_prints_what_the_server_would_reject(name: str, tmp_path: Path) -> None:
    raw, refusal = CASES[name]
    (tmp_path / "mail.eml").write_bytes(raw)
    more = ["--recipient", "one@export.relay.example", "--config", str(write(tmp_path))]
    result = CliRunner().invoke(explain, [str(tmp_path / "mail.eml"), "--json", *more])
    assert json.loads(result.stdout)["smtp_refusal"] == (str(LINE_REPLIES[refusal]) if refusal else None)
    assert flaw(raw) == refusal
