"""The table of commands and the session's methods agree; aiosmtpd answers nothing itself."""

from aiosmtpd.smtp import SMTP

from relay.smtpd.session import Session
from relay.smtpd.states import BEFORE_TLS, CONTENT, IDLE, JUNK, REFUSALS, WAITING, State

METHODS = {name.removeprefix("smtp_") for name in vars(Session) if name.startswith("smtp_")}


def test_every_command_of_the_table_is_a_method_of_the_session() -> None:
    assert set(REFUSALS) == METHODS
    assert REFUSALS.keys() >= BEFORE_TLS | JUNK


def test_no_command_of_aiosmtpd_is_inherited() -> None:
    assert {name.removeprefix("smtp_") for name in vars(SMTP) if name.startswith("smtp_")} <= METHODS


def test_commands_are_refused_only_in_states_that_read_commands() -> None:
    assert not CONTENT & WAITING
    assert {state for refusals in REFUSALS.values() for state in refusals} <= set(State) - CONTENT - WAITING
    assert not IDLE & (CONTENT | WAITING) and State.BDAT not in IDLE
