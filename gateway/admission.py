"""Decides whether a letter is taken, before anything of it is stored, and whether it waits for a person.

Everything that can refuse a letter for who it is from or to is asked here, in one place and in a fixed order.
"""

from dataclasses import dataclass
from datetime import datetime

from gateway.errors import Forbidden, Invalid
from gateway.letters import Letter
from gateway.models import ApiKey, Mailbox
from gateway.modes import Mode, effective_mode, is_gated


@dataclass(frozen=True)
class Admission:
    """How a letter may come in: the mode that holds for it, and whether it waits for a decision."""

    mode: Mode
    gated: bool


def admit(*, key: ApiKey, mailbox: Mailbox, letter: Letter, now: datetime) -> Admission:
    """Return how `letter` comes in. Raises Forbidden or Invalid."""
    mode = _mode_for(mailbox, letter)
    check_time(mailbox=mailbox, send_at=letter.send_at, now=now)
    return Admission(mode, is_gated(mode) or mailbox.account.hold_all_at is not None)


def _mode_for(mailbox: Mailbox, letter: Letter) -> Mode:
    mode = effective_mode(
        mailbox=Mode(mailbox.oversight_mode), asked=letter.mode, allow_looser=mailbox.allow_looser_per_call
    )
    if mode is Mode.READ_ONLY:
        raise Forbidden(
            "This mailbox is read_only: nothing can be sent from it. Ask its operator to request an upgrade.",
            code="read_only",
        )
    return mode


def check_time(*, mailbox: Mailbox, send_at: datetime | None, now: datetime) -> None:
    """Check that mail of `mailbox` may wait until `send_at`. Raises Forbidden or Invalid."""
    if send_at is None:
        return
    if not mailbox.scheduling_enabled:
        raise Forbidden("Scheduling is switched off for this mailbox.", code="scheduling_disabled")
    if send_at <= now:
        raise Invalid("send_at: lies in the past.", field="send_at")
