"""All parsing of what admins send about alerts. The address of a webhook goes in and never comes out again."""

from collections.abc import Iterable
from typing import Any

from django import forms

from alerts.models import Destination
from alerts.places.addresses import problem_with
from alerts.places.destinations import OCCASION_WORDS, Settings, occasions_of

_MAX_ADDRESS = 500


class DestinationForm(forms.Form):
    """A destination as it is added or changed; without an address it keeps the one that it has."""

    name = forms.CharField(
        max_length=80,
        error_messages={
            "required": "Give it a name, such as the channel's: #approvals.",
            "max_length": "Keep the name under 80 characters.",
        },
    )
    url = forms.CharField(
        required=False,
        max_length=_MAX_ADDRESS,
        error_messages={"max_length": "The address is longer than any webhook's."},
    )
    privacy = forms.ChoiceField(
        choices=Destination.Privacy.choices,
        error_messages={
            "required": "Choose what a card shows.",
            "invalid_choice": "Choose one of the three levels of what a card shows.",
        },
    )
    occasions = forms.MultipleChoiceField(
        required=False,
        choices=tuple(OCCASION_WORDS.items()),
        error_messages={"invalid_choice": "Choose from the occasions that stand here."},
    )
    connections = forms.MultipleChoiceField(
        required=False, error_messages={"invalid_choice": "One of these connections is gone. Choose again."}
    )
    witnesses = forms.BooleanField(required=False)

    def __init__(self, *args: Any, connections: Iterable[tuple[int, str]], is_new: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choices = [(str(key), name) for key, name in connections]
        self.is_new = is_new
        field = self.fields["connections"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = self.choices

    def clean_url(self) -> str:
        """Return the address, or say what is wrong with it without repeating it."""
        url = str(self.cleaned_data["url"] or "").strip()
        if not url:
            if self.is_new:
                raise forms.ValidationError("Put in the address of the webhook.")
            return ""
        if problem := problem_with(url):
            raise forms.ValidationError(problem)
        return url

    def clean(self) -> dict[str, Any]:
        """Refuse a destination that nothing would ever be posted to."""
        given = super().clean() or self.cleaned_data
        if "occasions" not in self.errors and not given.get("occasions") and not given.get("witnesses"):
            self.add_error("occasions", "Choose at least one occasion, or nothing is ever posted.")
        return given

    def wanted(self) -> Settings:
        """Return what was chosen, for a command."""
        given = self.cleaned_data
        return Settings(
            name=given["name"],
            privacy=given["privacy"],
            occasions=given["occasions"],
            connections=[int(key) for key in given["connections"]],
            witnesses=given["witnesses"],
        )

    @property
    def typed(self) -> dict[str, Any]:
        """What the form shows again: all but the address."""
        if not self.is_bound:
            return {**self.initial}
        data: Any = self.data
        return {
            "name": data.get("name", "")[:200],
            "privacy": data.get("privacy", ""),
            "occasions": data.getlist("occasions"),
            "connections": data.getlist("connections"),
            "witnesses": "witnesses" in data,
        }

    def problems(self) -> dict[str, str]:
        """Return the first thing that is wrong with each field, as a sentence."""
        return {str(name): str(errors[0]) for name, errors in self.errors.items() if errors}


def initial_of(destination: Destination | None) -> dict[str, Any]:
    """Return what the form begins with: a destination as it is, or what suits most."""
    if destination is None:
        begin = {"name": "", "privacy": "headers", "occasions": ["held", "doubt", "failed"]}
        return {**begin, "connections": [], "witnesses": False}
    keys = [str(route.connection_id) for route in destination.routes.all() if route.connection_id is not None]
    return {
        "name": destination.name,
        "privacy": destination.privacy,
        "occasions": [*occasions_of(destination)],
        "connections": keys,
        "witnesses": destination.witnesses,
    }
