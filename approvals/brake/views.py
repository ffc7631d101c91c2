"""The pages of floods that were set apart, and of the caps."""

from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.brake import commands
from approvals.brake.commands import MOST_CAP, Caps
from approvals.caps import caps_now
from approvals.decisions.ruling import is_reviewer, may_handle
from approvals.desk_messages import desk_messages
from approvals.errors import http_status
from approvals.models import Brake
from approvals.models.reviews import Kind
from approvals.queue.filters import Filters
from approvals.queue.rows import rows_of
from common.actors import Role
from common.pages import (
    DeskRequest,
    SentenceForm,
    first_or_404,
    redirect_with_notice,
    same_error,
)
from mirror.errors import ActNotAllowed, DeskError
from people.models import PendingChange
from people.sign_in.reauthentication import reauthenticated

_WRONG = f"Enter a whole number up to {MOST_CAP:,}, or nothing for no cap."


_LABELS = {
    Kind.KEY: ("Of one API key", "All that one agent sends, in all mailboxes."),
    Kind.ALIKE: (
        "With the same text",
        "The same but for names, numbers, amounts, dates and addresses.",
    ),
    Kind.MAILBOX: ("From one mailbox", "All that is sent from one address."),
    Kind.RECIPIENT: ("To one recipient", "Whoever sends it."),
}


class CapsForm(SentenceForm):
    """Eight numbers, an hour and a day for each kind; empty and 0 are no cap."""

    def __init__(self, data: Any, caps: Caps) -> None:
        super().__init__(data)
        for kind in Kind:
            for window, number in zip(("hour", "day"), caps[kind], strict=True):
                self.fields[f"{kind}_{window}"] = forms.IntegerField(
                    label={"hour": "An hour", "day": "A day"}[window],
                    initial=number or None,
                    required=False,
                    min_value=0,
                    max_value=MOST_CAP,
                    error_messages=same_error(_WRONG),
                )

    def rows(self) -> list[tuple[str, str, list[forms.BoundField]]]:
        """Return for each kind its name, a note and its two fields."""
        return [
            (*_LABELS[kind], [self[f"{kind}_hour"], self[f"{kind}_day"]])
            for kind in Kind
        ]

    def caps(self) -> dict[str, tuple[int, int]]:
        """Return the caps by kind: an hour, a day; 0 for none."""
        typed = self.cleaned_data
        return {
            str(kind): (typed[f"{kind}_hour"] or 0, typed[f"{kind}_day"] or 0)
            for kind in Kind
        }


PAGE = 50


@require_safe
def brakes(request: DeskRequest) -> HttpResponse:
    """List the floods with messages that stand apart, the newest first, and those whose
    cap is still passed.
    """
    actor = request.actor
    numbers = desk_messages().visible_to(actor).set_apart().numbers_by_brake()
    found = Brake.objects.visible_to(actor).with_all().filter_shown(numbers)
    context = {
        "floods": [(one, numbers.get(one.pk, 0)) for one in found],
        "may_set_caps": actor.has(Role.ADMIN),
    }
    return render(request, "approvals/brake/brakes.html", context)


@require_safe
def brake(request: DeskRequest, brake_id: int) -> HttpResponse:
    """Show one flood with its messages and what can be done."""
    return _page(request, _visible(request, brake_id))


def _visible(request: DeskRequest, brake_id: int) -> Brake:
    return first_or_404(
        Brake.objects.visible_to(request.actor).with_all().filter(pk=brake_id),
        "There is no such flood, or you may not see it.",
    )


def _page(
    request: DeskRequest,
    found: Brake,
    error: DeskError | None = None,
) -> HttpResponse:
    actor = request.actor
    apart = desk_messages().visible_to(actor).filter(review__brake=found).set_apart()
    after = request.GET.get("after", "")
    position = int(after) if after.isdecimal() and len(after) < 19 else 0
    found_rows = list(
        apart.filter(pk__gt=position).for_rows().order_by("pk")[: PAGE + 1]
    )
    shown = found_rows[:PAGE]
    context = {
        "brake": found,
        "number": apart.count(),
        "next_after": shown[-1].pk if len(found_rows) > PAGE else None,
        "is_first_page": not position,
        "rows": rows_of(
            shown, filters=Filters(), actor=actor, now=timezone.now(), weights={}
        ),
        "may_put_back": any(may_handle(actor, one) for one in shown),
        "may_decide": any(is_reviewer(actor, one) for one in shown),
        "may_pause": may_handle(actor, found)
        and bool(found.sent_by_key)
        and found.connection.is_our_gateway,
        "has_admin_key": bool(found.connection.admin_key),
        "administers": actor.is_a(
            Role.ADMIN, connection=found.connection_id, mailbox=None
        ),
        "error": error.sentence if error else "",
    }
    return render(
        request, "approvals/brake/brake.html", context, status=http_status(error)
    )


@require_POST
def put_back(request: DeskRequest, brake_id: int) -> HttpResponse:
    """Put the messages of a flood back into the queue."""
    found = _visible(request, brake_id)
    try:
        number = commands.put_back(brake=found, actor=request.actor)
    except ActNotAllowed as error:
        return _page(request, found, error)
    notice = f"{number} message{'' if number == 1 else 's'} put back into the queue."
    return redirect_with_notice(request, notice, "brakes")


@require_safe
def caps(request: DeskRequest) -> HttpResponse:
    """Show the caps."""
    return _caps(request, CapsForm(None, caps_now()))


@require_POST
@reauthenticated
def set_caps(request: DeskRequest) -> HttpResponse:
    """Set the caps."""
    form = CapsForm(request.POST, caps_now())
    try:
        commands.check_may_set_caps(request.actor)
        if not form.is_valid():
            return _caps(request, form)
        commands.set_caps(caps=form.caps(), actor=request.actor)
    except ActNotAllowed as error:
        return _caps(request, form, error)
    notice = "The caps are saved. They count from the next message."
    return redirect_with_notice(request, notice, "caps")


def _caps(
    request: DeskRequest, form: CapsForm, error: DeskError | None = None
) -> HttpResponse:
    actor = request.actor
    context = {
        "form": form,
        "may_change": actor.is_admin_of_all,
        "waiting_changes": PendingChange.objects.visible_to(actor).at("caps"),
        "error": error.sentence if error else "",
    }
    status = 422 if form.is_bound and not error else http_status(error)
    return render(request, "approvals/brake/caps.html", context, status=status)
