"""Allowing a recipient from the message that the allowlists hold up. It decides nothing: that is the next step."""

from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from approvals.decisions.ruling import ruled
from approvals.message_page.views import answer_with_message, back_to_message, find_message
from common.pages import DeskRequest
from common.patterns import compared
from people.sign_in.reauthentication import reauthenticated
from policy.allowlists.changes import allow_for_days
from policy.errors import AllowlistNotAllowed

DAYS = 7


class AllowForm(forms.Form):
    """Which of the refused recipients is to be allowed, as the letter writes it."""

    address = forms.CharField(max_length=1000)


@login_required
@require_POST
@reauthenticated
def allow_address(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Let one recipient be written to from this mailbox for seven days, and show the message again."""
    message = find_message(request.actor, public_id)
    form = AllowForm(request.POST)
    asked = compared(form.cleaned_data["address"]) if form.is_valid() else None
    _, judged = ruled(message, actor=request.actor, now=timezone.now())
    if asked is None or message.mailbox_id is None or asked not in map(compared, judged.outsiders):
        problem = "This is none of the recipients that an allowlist refuses now. Look at the message again."
        return answer_with_message(request, public_id, status=422, problem=problem)
    try:
        allow_for_days(address=asked, mailbox=message.mailbox_id, days=DAYS, actor=request.actor, now=timezone.now())
    except AllowlistNotAllowed as error:
        return answer_with_message(request, public_id, status=403, problem=error.sentence)
    said = f"{asked} may be written to from {message.mailbox} for {DAYS} days. Nothing is decided yet."
    return back_to_message(request, public_id, said=said)
