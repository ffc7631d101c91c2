"""The forms to invite somebody, and to use a link."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password

from common.actors import ROLE_CHOICES, Role
from common.forms import always
from common.mail_addresses import clean_address
from people.invitations.links import DAYS, MAX_DAYS
from people.models import Person
from people.roles.targets import GrantTarget, GrantTargetForm


class InviteForm(GrantTargetForm):
    """An invitation: the address, the roles, and how long the link is valid."""

    email = forms.CharField(
        max_length=254, error_messages={"required": "Enter the address to invite."}
    )
    name = forms.CharField(required=False, max_length=80)
    roles = forms.MultipleChoiceField(
        choices=ROLE_CHOICES,
        error_messages=always("Choose at least one role."),
    )
    place = forms.CharField(
        error_messages={"required": "Choose the scope of the roles."}
    )
    days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_DAYS,
        error_messages=always(f"A link works for 1 to {MAX_DAYS} days."),
    )

    def clean_email(self) -> str:
        try:
            return clean_address(self.cleaned_data["email"]).lower()
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def wanted(self) -> list[tuple[Role, GrantTarget]]:
        """Return the roles that the link grants."""
        return [
            (Role(one), self.cleaned_data["place"])
            for one in self.cleaned_data["roles"]
        ]

    def lasts(self) -> timedelta:
        """Return how long the link is valid."""
        return timedelta(days=self.cleaned_data["days"] or DAYS)


class NewPasswordForm(forms.Form):
    """A new password, typed twice to catch a typing error."""

    password = forms.CharField(
        strip=False, max_length=4096, error_messages={"required": "Choose a password."}
    )
    password_again = forms.CharField(
        strip=False,
        max_length=4096,
        error_messages={"required": "Repeat the password."},
    )

    def __init__(self, *args: Any, person: Person, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._person = person

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        validate_password(password, self._person)
        return password

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        again = cleaned.get("password_again")
        if again is not None and cleaned.get("password", again) != again:
            self.add_error("password_again", "The two passwords are not the same.")
        return cleaned


class JoinForm(NewPasswordForm):
    """The name and password of a person who joins."""

    name = forms.CharField(
        max_length=80, error_messages={"required": "Enter your name: others see it."}
    )

    field_order = ("name", "password", "password_again")
