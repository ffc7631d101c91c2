"""Forms for a person's own account: name, time zone, password, and an authenticator
app's code.
"""

from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib.auth.password_validation import validate_password

from people.models import Person
from people.sign_in.reauthentication import PasswordField


class NameForm(forms.Form):
    """The person's display name."""

    name = forms.CharField(
        max_length=80,
        error_messages={
            "required": "Enter your name.",
            "max_length": "Keep the name under 80 characters.",
        },
    )


class TimeZoneForm(forms.Form):
    """The person's time zone, by name."""

    zone = forms.CharField(
        max_length=64, error_messages={"required": "Choose a time zone from the list."}
    )

    def clean_zone(self) -> str:
        typed = str(self.cleaned_data["zone"]).replace(" ", "_").casefold()
        found = next((zone for zone in zones() if zone.casefold() == typed), None)
        if found is None:
            raise forms.ValidationError(
                "There is no such time zone. Choose one from the list, such as Europe/Lisbon."
            )
        return found


class AwayForm(forms.Form):
    """The first and the last day out of office; both empty: not away."""

    _INVALID = "Enter a date such as 2026-12-24."

    away_first = forms.DateField(required=False, error_messages={"invalid": _INVALID})
    away_last = forms.DateField(required=False, error_messages={"invalid": _INVALID})

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first = cleaned.get("away_first")
        last = cleaned.get("away_last")
        if not self.errors and (first is None) != (last is None):
            missing = "away_last" if first else "away_first"
            self.add_error(missing, "Enter both days, or neither.")
        elif first and last and last < first:
            self.add_error("away_last", "The last day is before the first one.")
        return cleaned


class PasswordForm(forms.Form):
    """The old password once and the new one twice."""

    old = PasswordField(missing="Enter your current password.")
    new = PasswordField(missing="Enter a new password.")
    again = PasswordField(missing="Repeat the new password.")

    def __init__(self, *args: Any, person: Person, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person

    def clean_old(self) -> str:
        old = str(self.cleaned_data["old"])
        if not self.person.check_password(old):
            raise forms.ValidationError("This is not your current password.")
        return old

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        new = cleaned.get("new")
        again = cleaned.get("again")
        if new and again and new != again:
            self.add_error("again", "The two passwords are not the same.")
        if new and new == cleaned.get("old"):
            self.add_error("new", "This is your current password. Choose another one.")
        elif new:
            try:
                validate_password(new, self.person)
            except forms.ValidationError as error:
                self.add_error("new", error)
        return cleaned


class AppForm(forms.Form):
    """The code that an authenticator app shows."""

    code = forms.CharField(
        max_length=20, error_messages={"required": "Enter the code from the app."}
    )


class PasskeyNameForm(forms.Form):
    """A name for a passkey."""

    name = forms.CharField(max_length=60)


class DiscordAccountForm(forms.Form):
    """Which Discord account is unlinked."""

    account = forms.IntegerField(min_value=1, max_value=2**62)


@cache
def zones() -> tuple[str, ...]:
    """Return the time zones to choose from: UTC, and those that are named after a
    place.
    """
    regional = (
        zone
        for zone in sorted(available_timezones())
        if "/" in zone and not zone.startswith(("Etc/", "SystemV/"))
    )
    return ("UTC", *regional)
