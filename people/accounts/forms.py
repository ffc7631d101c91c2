"""What people send about their own account: a name, a time zone, a password."""

from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib.auth.password_validation import validate_password

from people.models import Person

# Longer ones would only cost time; a passphrase is seldom longer than a line.
LONGEST_PASSWORD = 256


class PasswordField(forms.CharField):
    """A password as it was typed: blanks at its ends belong to it."""

    def __init__(self, *, missing: str) -> None:
        longest = {"max_length": f"Take a password of at most {LONGEST_PASSWORD} characters."}
        super().__init__(strip=False, max_length=LONGEST_PASSWORD, error_messages={"required": missing, **longest})


class OwnForm(forms.Form):
    """A form of the person's own."""

    def first_error(self) -> tuple[str, str]:
        """Return the name of the first field that is wrong, and why; two empty ones where none is."""
        return next(((str(name), str(errors[0])) for name, errors in self.errors.items() if errors), ("", ""))


class ConfirmForm(OwnForm):
    """The password, once more."""

    password = PasswordField(missing="Type your password.")

    def __init__(self, *args: Any, person: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        if not self.person.check_password(password):
            raise forms.ValidationError("This is not your password.")
        return password


class NameForm(OwnForm):
    """How others see the person."""

    name = forms.CharField(
        max_length=80,
        error_messages={
            "required": "Type the name that others shall see.",
            "max_length": "Take a name of at most 80 characters.",
        },
    )


class TimeZoneForm(OwnForm):
    """Where the person lives, by the name of a zone."""

    zone = forms.CharField(max_length=64, error_messages={"required": "Choose a time zone from the list."})

    def clean_zone(self) -> str:
        typed = str(self.cleaned_data["zone"]).replace(" ", "_").casefold()
        found = next((zone for zone in zones() if zone.casefold() == typed), None)
        if found is None:
            raise forms.ValidationError("There is no such time zone. Choose one from the list, as Europe/Lisbon.")
        return found


class PasswordForm(OwnForm):
    """The old password once and the new one twice."""

    old = PasswordField(missing="Type the password that you have now.")
    new = PasswordField(missing="Type a new password.")
    again = PasswordField(missing="Type the new password once more.")

    def __init__(self, *args: Any, person: Person, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person

    def clean_old(self) -> str:
        old = str(self.cleaned_data["old"])
        if not self.person.check_password(old):
            raise forms.ValidationError("This is not the password that you have now.")
        return old

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        new, again = cleaned.get("new"), cleaned.get("again")
        if new and again and new != again:
            self.add_error("again", "This is not the same as the new password above.")
        if new and new == cleaned.get("old"):
            self.add_error("new", "This is the password that you have already.")
        elif new:
            try:
                validate_password(new, self.person)
            except forms.ValidationError as error:
                self.add_error("new", error)
        return cleaned


@cache
def zones() -> tuple[str, ...]:
    """Return the time zones to choose from: UTC, and those that are named for a place."""
    places = {zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "SystemV/"))}
    return ("UTC", *sorted(places))
