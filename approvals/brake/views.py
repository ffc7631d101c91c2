"""The pages about floods, which are messages set apart because a cap was passed: the
list of floods, one flood with the button to put its messages back, and the form of the
caps.
"""

from typing import Any

from django import forms
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.brake import commands
from approvals.brake.commands import MOST_CAP, Caps
from approvals.caps import caps_now
from approvals.decisions.ruling import is_reviewer, may_handle
from approvals.desk_messages import desk_messages
from approvals.models import Brake
from approvals.models.reviews import Kind
from approvals.queue.filters import Filters
from approvals.queue.rows import rows_of
from common.actors import Role
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    DrawnForm,
    answer,
    changes,
    cleaned,
    first_or_404,
    posted,
    same_error,
)
from people.sign_in.reauthentication import reauthenticated

_WRONG = f"Enter a whole number up to {MOST_CAP:,}, or nothing for no limit."


# The name and a note for each kind of cap.
_LABELS = {
    Kind.KEY: ("Of one API key", "All that one agent sends, in all mailboxes."),
    Kind.ALIKE: (
        "With the same text",
        "The same but for names, numbers, amounts, dates and addresses.",
    ),
    Kind.MAILBOX: ("From one mailbox", "All that is sent from one address."),
    Kind.RECIPIENT: (
        "From one API key to one recipient",
        "Without a key: from one mailbox to one recipient.",
    ),
}


class CapsForm(DrawnForm):
    """Eight numbers: for each kind of cap, messages an hour and messages a day. Empty
    or 0 is no cap.
    """

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
                    widget=forms.NumberInput({"placeholder": "no limit"}),
                    error_messages=same_error(_WRONG),
                )

    def rows(self) -> list[tuple[str, str, list[forms.BoundField]]]:
        """Return for each kind its name, a note and its two fields."""
        return [
            (*_LABELS[kind], [self[f"{kind}_hour"], self[f"{kind}_day"]])
            for kind in Kind
        ]

    def caps(self) -> dict[str, tuple[int, int]]:
        """Return the entered caps by kind: messages an hour, messages a day; 0 is no
        cap.
        """
        typed = self.cleaned_data
        return {
            str(kind): (typed[f"{kind}_hour"] or 0, typed[f"{kind}_day"] or 0)
            for kind in Kind
        }


# How many messages of a flood a page shows.
PAGE = 50


@require_safe
def brakes(request: DeskRequest) -> HttpResponse:
    """List the floods that have messages set apart or whose cap is still passed, the
    newest first.
    """
    actor = request.actor
    apart = desk_messages().visible_to(actor).set_apart().order_by()
    counted = apart.values("review__brake").annotate(number=Count("pk"))
    # By the key of a flood, how many of its messages are set apart.
    numbers = dict(counted.values_list("review__brake", "number"))
    floods = Brake.objects.visible_to(actor).with_all().filter_shown(numbers)
    context = {
        "floods": [(one, numbers.get(one.pk, 0)) for one in floods],
        "may_set_caps": actor.has(Role.ADMIN),
    }
    return render(request, "approvals/brake/brakes.html", context)


def _visible(request: DeskRequest, brake_id: int) -> Brake:
    return first_or_404(
        Brake.objects.visible_to(request.actor).with_all().filter(pk=brake_id),
        "There is no such group of messages over limit, or you may not see it.",
    )


def _page(
    request: DeskRequest, brake_id: int, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show one flood with its messages, and what the person can do about it."""
    actor = request.actor
    flood = _visible(request, brake_id)
    apart = desk_messages().visible_to(actor).filter(review__brake=flood).set_apart()
    page_after = request.GET.get("after", "")
    position = int(page_after) if page_after.isdecimal() and len(page_after) < 19 else 0
    found_rows = list(
        apart.filter(pk__gt=position).for_rows().order_by("pk")[: PAGE + 1]
    )
    page_rows = found_rows[:PAGE]
    context = {
        "brake": flood,
        "number": apart.count(),
        "next_after": page_rows[-1].pk if len(found_rows) > PAGE else None,
        "is_first_page": not position,
        "rows": rows_of(page_rows, filters=Filters(), actor=actor, now=timezone.now()),
        "may_put_back": any(may_handle(actor, one) for one in page_rows),
        "may_decide": any(is_reviewer(actor, one) for one in page_rows),
        "may_pause": may_handle(actor, flood)
        and flood.sent_by_key
        and flood.connection.is_our_gateway,
        "has_admin_key": bool(flood.connection.admin_key),
        "administers": actor.is_a(
            Role.ADMIN, connection=flood.connection_id, mailbox=None
        ),
    }
    return answer(request, "approvals/brake/brake.html", context, error)


brake = require_safe(_page)


@require_POST
@changes(_page, to="brakes")
def put_back(request: DeskRequest, brake_id: int) -> str:
    """Put the messages of a flood back into the queue, as far as the person may."""
    number = commands.put_back(brake=_visible(request, brake_id), actor=request.actor)
    return f"{number} message{'' if number == 1 else 's'} returned to the queue."


def _caps_page(
    request: DeskRequest, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show the caps, with the form to set them."""
    form = CapsForm(posted(request), caps_now())
    context = {"form": form, "may_change": request.actor.is_admin_of_all}
    return answer(request, "approvals/brake/caps.html", context, error)


caps = require_safe(_caps_page)


@require_POST
@reauthenticated
@changes(_caps_page, to="caps")
def set_caps(request: DeskRequest) -> str:
    """Set the caps from the form; invalid numbers show it again with 422."""
    commands.check_may_set_caps(request.actor)
    form = CapsForm(request.POST, caps_now())
    cleaned(form)
    commands.set_caps(caps=form.caps(), actor=request.actor)
    return "The limits are saved. They count from the next message."
