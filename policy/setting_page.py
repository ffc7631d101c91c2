"""The form and the page of one thing that admins set: a group, a calendar or a review
plan.
"""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpResponse

from common.actors import Actor
from common.drawn_forms import DrawnForm
from common.errors import SentenceError
from common.pages import DeskRequest, answer, redirect_with_notice
from people.models import Person
from policy.checks import seen_state
from policy.errors import PolicyError, StalePolicy


class SettingForm(DrawnForm):
    """A form whose `seen` is the state that the page showed: a change over somebody
    else's is refused.
    """

    seen = forms.CharField(required=False, max_length=16, widget=forms.HiddenInput)

    def __init__(self, data: Any, words: str) -> None:
        """`words`: how what is stored reads, empty if nothing is."""
        super().__init__(data, initial={"seen": seen_state(words)})

    def save(self, actor: Actor) -> None:
        """Store what was typed."""
        raise NotImplementedError


def people_choices(people: QuerySet[Person]) -> dict[str, str]:
    """Return people as choices for a form, by name."""
    choices = {}
    for one in people.order_by("name", "email"):
        choices[str(one.pk)] = str(one) if one.is_active else f"{one} (left)"
    return choices


def edit_setting(
    request: DeskRequest, form: SettingForm, to: str, saved: str, **context: Any
) -> HttpResponse:
    """Show a form; save it if it is filled in, and show `saved` at the URL named `to`."""
    error: SentenceError | None = None
    if form.is_valid():
        try:
            form.save(request.actor)
        except StalePolicy as stale:
            error = stale
            # It can be sent again, over what is stored now.
            form.show("seen", form.initial["seen"])
        except PolicyError as refused:
            form.add_error(None, refused.sentence)
        else:
            return redirect_with_notice(request, saved, to)
    return answer(
        request, "policy/edit.html", {"form": form, **context}, error, form=form
    )
