"""Oversight modes: how strict each is, and which one holds for a message."""

from django.db import models


class Mode(models.TextChoices):
    """How much of a mailbox's mail people see before it moves; strictest first."""

    READ_ONLY = "read_only"
    GATED_ALL = "gated_all"
    GATED_SEND = "gated_send"
    MONITORED = "monitored"
    AUTONOMOUS = "autonomous"


class GateTiming(models.TextChoices):
    """Whether a scheduled message is asked about at once or when its time has come."""

    GATE_FIRST = "gate_first"
    SCHEDULE_FIRST = "schedule_first"


_STRICTEST_FIRST = tuple(Mode)


def stricter(one: Mode, other: Mode) -> Mode:
    """Return the stricter of two modes."""
    return min(one, other, key=_STRICTEST_FIRST.index)


def effective_mode(*, mailbox: Mode, asked: Mode | None, allow_looser: bool) -> Mode:
    """Return the mode that holds for one message.

    A call can tighten. It can loosen only where the operator switched that on for the mailbox, and never read_only.
    """
    if asked is None:
        return mailbox
    if allow_looser and mailbox is not Mode.READ_ONLY:
        return asked
    return stricter(mailbox, asked)


def is_gated(mode: Mode) -> bool:
    """Whether outgoing mail waits for a decision in this mode."""
    return mode in (Mode.GATED_ALL, Mode.GATED_SEND)
