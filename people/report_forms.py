"""What the reports are asked for: a moment in the reader's time zone, a place, a person."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms


class RightsForm(forms.Form):
    """A moment, and the place to keep to. Nonsense is told, and read as now and as everywhere."""

    at = forms.DateTimeField(
        required=False,
        input_formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"],
        error_messages={"invalid": "This is no date and time, as 2026-11-20 09:30 is. What stands below is of now."},
    )
    place = forms.ChoiceField(
        required=False,
        error_messages={"invalid_choice": "You see no such place. What stands below is of all places."},
    )
    person = forms.IntegerField(required=False, min_value=1, max_value=2**62)

    def __init__(self, data: Any, *, places: dict[str, str], zone: str) -> None:
        super().__init__(data)
        self.fields["place"].choices = [("", "All places"), *places.items()]  # type: ignore[attr-defined]
        self._zone = ZoneInfo(zone)

    def moment(self, now: datetime) -> datetime:
        """Return the moment that is meant; of what has not come yet nothing is known, so it is now."""
        self.is_valid()
        try:
            return min(self._wanted or now, now)
        except OverflowError:
            return now

    @property
    def asks_for_later(self) -> bool:
        """Whether a moment is asked for that is still to come."""
        return self._wanted is not None and self._wanted > datetime.now(self._zone)

    @property
    def _wanted(self) -> datetime | None:
        # The form reads it as UTC; the figures are those of the reader's own clock.
        wanted: datetime | None = self.cleaned_data.get("at")
        return wanted.replace(tzinfo=self._zone) if wanted else None

    @property
    def wanted_place(self) -> str:
        return str(self.cleaned_data.get("place") or "")

    @property
    def wanted_person(self) -> int | None:
        return self.cleaned_data.get("person")

    @property
    def problems(self) -> list[str]:
        """What was not understood, in sentences."""
        return [str(sentence) for name in ("at", "place") for sentence in self.errors.get(name, ())]
