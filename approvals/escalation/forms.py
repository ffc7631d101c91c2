"""To whom a message is assigned, and until when its deadline is extended; times are in
the person's own time zone.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms

from approvals.escalation.handling import MAX_REASON
from common.forms import SentenceForm, WordsField
from common.time_zones import zone_name


class AssignForm(SentenceForm):
    """The person who gets a message."""

    to = forms.IntegerField(
        min_value=1,
        max_value=2**62,
        error_messages=dict.fromkeys(("required", "invalid"), "Choose a person."),
    )


class ExtendForm(SentenceForm):
    """The new deadline and why."""

    until = forms.DateTimeField(
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        error_messages=dict.fromkeys(
            ("required", "invalid"), "Enter day and time as 2026-11-20 14:30."
        ),
    )
    reason = WordsField(
        max_length=MAX_REASON,
        error_messages={
            "required": "Write why it needs more time.",
            "max_length": f"Keep the reason under {MAX_REASON} characters.",
        },
    )

    def moment(self) -> datetime:
        """Return the chosen time, by the clock of whoever asks."""
        at: Any = self.cleaned_data["until"]
        moment: datetime = at.replace(tzinfo=ZoneInfo(zone_name()))
        return moment
