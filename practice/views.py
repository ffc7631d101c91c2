"""The page of practice messages, which says whether they are on and which faults they
can have, with the switches for on and off; and the notice about them over the queue.
"""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_POST, require_safe

from common.actors import Role
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    FormInvalid,
    SentenceForm,
    answer,
    changes,
    cleaned,
    same_error,
)
from people.second_admin.setting import shows_people
from people.sign_in.reauthentication import reauthenticated
from practice import setting
from practice.faults import FAULTS
from practice.models import PracticeSetting


class OnForm(SentenceForm):
    """For how many held messages one practice message is planted."""

    one_in = forms.IntegerField(
        min_value=setting.LEAST,
        max_value=setting.MOST,
        error_messages=same_error(
            f"Write a number from {setting.LEAST} to {setting.MOST:,}."
        ),
    )


def _check_may_see(request: DeskRequest) -> None:
    if not request.actor.looks_after_people:
        raise PermissionDenied


def _page(request: DeskRequest, *, error: SentenceError | None = None) -> HttpResponse:
    """Show what practice messages are and, to admins and auditors, whether they are on."""
    actor = request.actor
    if not actor.has(Role.REVIEWER):
        _check_may_see(request)
    settings = PracticeSetting.objects.select_related("asked_by", "accepted_by")
    context: dict[str, Any] = {
        "may_see": actor.looks_after_people,
        "may_set": actor.is_admin_of_all,
        "shows_people": shows_people(),
        "setting": settings.first(),
        "faults": FAULTS,
        "typed": request.POST,
        "wrong": error.sentence if isinstance(error, FormInvalid) else "",
    }
    return answer(request, "practice/practice.html", context, error)


practice_page = require_safe(_page)


_changes = changes(_page, to="practice")


@require_POST
@reauthenticated
@_changes
def switch_practice_on(request: DeskRequest) -> str:
    """Ask a second admin to switch practice messages on. Nobody can do it alone."""
    _check_may_see(request)
    typed = cleaned(OnForm(request.POST))
    setting.switch_practice_on(actor=request.actor, one_in=typed["one_in"])
    return "Practice messages are on."


@require_POST
@_changes
def switch_practice_off(request: DeskRequest) -> str:
    """Switch practice messages off, at once."""
    _check_may_see(request)
    if setting.switch_practice_off(actor=request.actor):
        return "Practice messages are off. What waited has ended."
    return "They were off already."


def strip(request: DeskRequest) -> str:
    """Return the HTML that tells reviewers, above the queue, that practice messages are
    on; empty on other pages, for other people, or while they are off.
    """
    match = request.resolver_match
    is_queue = match is not None and match.url_name == "queue"
    if not (
        is_queue
        and request.actor.has(Role.REVIEWER)
        and PracticeSetting.objects.exists()
    ):
        return ""
    return render_to_string("practice/_told.html")
