"""What admins send about people, and what people send who come in by a link. Fields that are not named are ignored."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password

from common.mail_addresses import clean_address
from people.actors import Role
from people.invitations.links import DAYS, MOST_DAYS
from people.models import Person
from people.roles.places import Place

ROLES = [(role.value, role.value.title()) for role in Role]
# What each role is, for whoever gives one.
MEANS = {
    Role.REVIEWER: "reads what waits and decides it",
    Role.ADMIN: "sets up connections, mailboxes, allowlists and people",
    Role.AUDITOR: "reads everything and decides nothing",
}


class FirstError(forms.Form):
    """A form that can say what is wrong first, and at which field."""

    def first_error(self) -> tuple[str, str]:
        """Return the name of the first field that is wrong and its sentence; two empty ones where none is."""
        return next(((str(name), str(errors[0])) for name, errors in self.errors.items() if errors), ("", ""))


class SearchForm(forms.Form):
    """A part of a name or an address."""

    q = forms.CharField(required=False, max_length=200, strip=True)


class RoleForm(FirstError):
    """One role for one place."""

    role = forms.ChoiceField(
        choices=ROLES, error_messages={"required": "Choose a role.", "invalid_choice": "Choose a role."}
    )
    place = forms.CharField(error_messages={"required": "Say what the role is for."})

    def __init__(self, *args: Any, places: Mapping[str, Place], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = places

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])

    def clean_place(self) -> Place:
        return _place(self._places, self.cleaned_data["place"])


class GrantForm(forms.Form):
    """Which role is taken."""

    grant = forms.IntegerField(min_value=1, max_value=2**62)


class AccountForm(forms.Form):
    """Which Discord account is taken off."""

    account = forms.IntegerField(min_value=1, max_value=2**62)


class InviteForm(FirstError):
    """Whom to invite, as what, and how long the link is good."""

    email = forms.CharField(max_length=254, error_messages={"required": "Say to which address the invitation is."})
    name = forms.CharField(required=False, max_length=80)
    roles = forms.MultipleChoiceField(
        choices=ROLES,
        error_messages={"required": "Choose at least one role.", "invalid_choice": "Choose at least one role."},
    )
    place = forms.CharField(error_messages={"required": "Say what the roles are for."})
    days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_DAYS,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), f"A link is good for 1 to {MOST_DAYS} days."
        ),
    )

    def __init__(self, *args: Any, places: Mapping[str, Place], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = places

    def clean_email(self) -> str:
        try:
            return clean_address(self.cleaned_data["email"]).lower()
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_place(self) -> Place:
        return _place(self._places, self.cleaned_data["place"])

    def wanted(self) -> list[tuple[Role, Place]]:
        """Return the roles that the link shall give."""
        return [(Role(one), self.cleaned_data["place"]) for one in self.cleaned_data["roles"]]

    def lasts(self) -> timedelta:
        """Return how long the link is good."""
        return timedelta(days=self.cleaned_data["days"] or DAYS)


class PasswordForm(FirstError):
    """A new password, twice: whoever mistypes it could not come in again."""

    password = forms.CharField(strip=False, max_length=4096, error_messages={"required": "Choose a password."})
    password_again = forms.CharField(
        strip=False, max_length=4096, error_messages={"required": "Type the password once more."}
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
        if cleaned.get("password") and cleaned.get("password_again") not in (None, cleaned["password"]):
            self.add_error("password_again", "The two are not the same. Type the password once more.")
        return cleaned


class JoinForm(PasswordForm):
    """What somebody who joins is called, and their password."""

    name = forms.CharField(max_length=80, error_messages={"required": "Say what you are called: others see it."})

    field_order = ("name", "password", "password_again")


def _place(places: Mapping[str, Place], value: str) -> Place:
    if value not in places:
        raise forms.ValidationError("Choose a place that you look after.")
    return places[value]
