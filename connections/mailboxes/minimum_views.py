"""The page of the organisation's minimum oversight mode, with the mailboxes below it."""

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from common.forms import SentenceForm, always
from common.pages import DeskRequest, redirect_with_notice
from connections.mailboxes.minimum import mailboxes_below, raise_to_minimum, set_minimum
from connections.pages import CHANGE_ERRORS, answer, cleaned, get_visible_mailbox_or_404
from mirror.errors import DeskError
from mirror.models import Connection
from mirror.oversight_modes import MODES, is_minimum_lower, mode_named
from people.models import PendingChange
from people.second_admin.setting import organisation_settings
from people.sign_in.reauthentication import reauthenticated
from policy.gate_minimum import gate_minimums

ANY = "any"


class MinimumForm(SentenceForm):
    """The loosest mode that a mailbox can have."""

    minimum = forms.ChoiceField(
        choices=[(ANY, "Any mode"), *((mode.name, mode.words) for mode in MODES)],
        error_messages=always("Choose one of the modes, or any."),
    )


@require_safe
def oversight_minimum(request: DeskRequest) -> HttpResponse:
    """Show the minimum, and the mailboxes below it that the actor sees."""
    return _page(request)


@require_POST
@reauthenticated
def set_oversight_minimum(request: DeskRequest) -> HttpResponse:
    """Set the minimum; a lower one waits for a second admin where the organisation
    wants that.
    """
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    try:
        chosen = cleaned(MinimumForm(request.POST))["minimum"]
        set_minimum(actor=request.actor, mode="" if chosen == ANY else chosen)
    except CHANGE_ERRORS as error:
        return _page(request, failed=error)
    notice = "Mailboxes can have any mode."
    if mode := mode_named(chosen):
        notice = f"No mailbox can be set below {mode.words}."
    return redirect_with_notice(request, notice, "oversight-minimum")


@require_POST
def raise_mailbox(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Raise one mailbox to the minimum."""
    found = get_visible_mailbox_or_404(request, mailbox_id)
    try:
        raise_to_minimum(mailbox=found, actor=request.actor)
    except CHANGE_ERRORS as error:
        return _page(request, failed=error)
    notice = f"{found} is no longer below the minimum."
    return redirect_with_notice(request, notice, "oversight-minimum")


def _page(request: DeskRequest, *, failed: DeskError | None = None) -> HttpResponse:
    if not request.actor.looks_after_people:
        raise PermissionDenied
    settings = organisation_settings()
    now = settings.minimum_oversight
    choices = [(ANY, "Any mode", "", is_minimum_lower("", than=now))]
    choices += [
        (mode.name, mode.words, mode.sent, is_minimum_lower(mode.name, than=now))
        for mode in reversed(MODES)
    ]
    connections = Connection.objects.at_work().visible_to(request.actor)
    changes = PendingChange.objects.visible_to(request.actor)
    context = {
        "settings": settings,
        "minimum": mode_named(now),
        "chosen": now or ANY,
        "choices": choices,
        "below": mailboxes_below(request.actor),
        "gateways": gate_minimums(connections.order_by("name"), now),
        "may_set": request.actor.is_admin_of_all,
        "waiting_changes": changes.at("oversight-minimum"),
    }
    return answer(request, "connections/oversight_minimum.html", context, failed=failed)
