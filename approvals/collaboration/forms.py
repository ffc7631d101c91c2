"""Forms for snoozing, claiming and commenting; times are in the person's own time zone."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms

from approvals.collaboration.comments import MAX_COMMENT
from approvals.usual_texts.texts import BUILT_IN, Kind, Presets, words_named
from common.forms import LenientForm, SentenceForm, WordsField

MORNING = time(9, 0)
WAITS = {"hour": "1 hour", "tomorrow": "Tomorrow, 9:00", "time": "Until a time"}


def zone_of(own: str, browser: str = "") -> ZoneInfo:
    """Return a person's time zone: the one they chose, else the one of their browser."""
    for name in (own if own != "UTC" else "", browser, "UTC"):
        try:
            if name:
                return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            continue
    return ZoneInfo("UTC")


def tomorrow_morning(now: datetime, zone: ZoneInfo) -> datetime:
    """Return nine o'clock of the next day there."""
    return datetime.combine(
        (now.astimezone(zone) + timedelta(days=1)).date(), MORNING, zone
    )


class SnoozeForm(SentenceForm):
    """Until when a message is snoozed."""

    wait = forms.ChoiceField(
        choices=list(WAITS.items()),
        error_messages=dict.fromkeys(
            ("required", "invalid_choice"), "Choose how long to snooze it."
        ),
    )
    at = forms.DateTimeField(
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        error_messages={"invalid": "Enter day and time as 2026-11-20 14:30."},
    )
    zone = forms.CharField(required=False, max_length=64)

    def __init__(self, data: Any, *, now: datetime, own_zone: str) -> None:
        super().__init__(data)
        self.now = now
        self.own_zone = own_zone

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if (
            cleaned.get("wait") == "time"
            and not cleaned.get("at")
            and "at" not in self.errors
        ):
            self.add_error("at", "Enter the day and time until which to snooze it.")
        return cleaned

    @property
    def zone_name(self) -> ZoneInfo:
        """The name of the time zone that the times are in."""
        return zone_of(self.own_zone, str(self.cleaned_data.get("zone") or ""))

    def until(self) -> datetime:
        """Return the chosen time."""
        wait = self.cleaned_data["wait"]
        if wait == "hour":
            return self.now + timedelta(hours=1)
        if wait == "tomorrow":
            return tomorrow_morning(self.now, self.zone_name)
        at: datetime = self.cleaned_data["at"]
        return at.replace(tzinfo=self.zone_name)


class CommentForm(SentenceForm):
    """A comment, typed or chosen among the saved ones."""

    text = WordsField(
        required=False,
        max_length=MAX_COMMENT,
        error_messages={
            "max_length": f"Keep a comment under {MAX_COMMENT:,} characters."
        },
    )
    saved = forms.CharField(required=False, max_length=40)

    def __init__(self, data: Any, *, presets: Presets = BUILT_IN) -> None:
        super().__init__(data)
        self.presets = presets

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        saved = words_named(self.presets, Kind.COMMENT, cleaned.get("saved") or "")
        if saved is None:
            self.add_error(
                "saved", "The saved comments were changed meanwhile. Choose again."
            )
        text = "\n".join(part for part in (saved, cleaned.get("text")) if part)
        cleaned["text"] = text
        if not text and not self.errors:
            self.add_error("text", "Write something first.")
        if len(text) > MAX_COMMENT:
            self.add_error("text", f"Keep a comment under {MAX_COMMENT:,} characters.")
        return cleaned


class NameForm(LenientForm):
    """The beginning of a name, as it was typed: a blank at its end counts."""

    q = forms.CharField(required=False, max_length=80, strip=False)


class ClaimForm(LenientForm):
    """The current holder, when a claimed message is taken over."""

    take_over = forms.IntegerField(required=False, min_value=1)
