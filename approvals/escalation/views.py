"""The page of a message on which reviewers and admins assign it to a person and extend
its deadlines.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.decisions.ruling import is_reviewer, may_handle
from approvals.escalation.handling import (
    MAX_REASON,
    assign_by_hand,
    deadline_of,
    extend_deadline,
)
from approvals.message_page.views import (
    get_visible_message_or_404,
    note_refused_act,
)
from approvals.models import Claim
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    DrawnForm,
    MultilineField,
    answer,
    changes,
    cleaned,
    same_error,
)
from common.time_zones import clock_error, here, local_time
from mirror.models import Message
from people.models import Person


class AssignForm(DrawnForm):
    """The person to whom a message is assigned: a reviewer of its mailbox."""

    to = forms.TypedChoiceField(
        coerce=int,
        label="Assign to",
        help_text="Others can still decide it.",
        error_messages=same_error("Choose a reviewer of this mailbox."),
    )

    def __init__(self, *args: Any, message: Message, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        present = set(Person.objects.present().values_list("pk", flat=True))
        seeing = Person.objects.seeing(
            connection=message.connection_id, mailbox=message.mailbox_id
        )
        to: Any = self.fields["to"]
        to.choices = [
            (one.pk, str(one) if one.pk in present else f"{one} (out of office)")
            for one in seeing
            if is_reviewer(one.actor(surface="web"), message)
        ]


class ExtendForm(DrawnForm):
    """The new deadline, in the time zone of whoever enters it, and the reason."""

    until = forms.DateTimeField(
        label="Extend to",
        help_text="In your time zone. Earlier deadlines move to this time.",
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        widget=forms.DateTimeInput({"type": "datetime-local"}, "%Y-%m-%dT%H:%M"),
        error_messages=same_error("Enter day and time as 2026-11-20 14:30."),
    )
    reason = MultilineField(
        label="Reason",
        help_text="It is recorded. The recipient and the agent do not see it.",
        max_length=MAX_REASON,
        widget=forms.Textarea({"rows": 2}),
        error_messages={"required": "Write why it needs more time."},
    )

    def clean_until(self) -> Any:
        """Return the entered time with the time zone of the person."""
        until = here(self.cleaned_data["until"])
        if error := clock_error(until):
            raise forms.ValidationError(error)
        return until


def _page(
    request: DeskRequest, public_id: UUID, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show who has claimed a message, its deadlines, and the forms to change both."""
    message = get_visible_message_or_404(request, public_id)
    deadline = deadline_of(message)
    offered = max(deadline or timezone.now(), timezone.now()) + timedelta(hours=4)
    context = {
        "message": message,
        "claim": Claim.objects.on(message).live().select_related("person").first(),
        "assign_form": AssignForm(
            request.POST if "to" in request.POST else None, message=message
        ),
        "extend_form": ExtendForm(
            request.POST if "until" in request.POST else None,
            initial={"until": local_time(offered)},
        ),
        "may_assign": may_handle(request.actor, message) and message.state == "held",
        "has_deadline": deadline is not None,
    }
    return answer(request, "approvals/escalation/handling.html", context, error)


handling = require_safe(_page)


_changes = changes(_page, to="message", is_same=True)


@require_POST
@_changes
def assign(request: DeskRequest, public_id: UUID) -> str:
    """Assign the message to a person."""
    message = get_visible_message_or_404(request, public_id)
    to = cleaned(AssignForm(request.POST, message=message))["to"]
    claim = assign_by_hand(message=public_id, to=to, actor=request.actor)
    return f"Assigned to {claim.person}."


@require_POST
@_changes
def extend(request: DeskRequest, public_id: UUID) -> str:
    """Extend the deadlines of the message."""
    message = get_visible_message_or_404(request, public_id)
    typed = cleaned(ExtendForm(request.POST))
    reason = typed["reason"].strip()
    try:
        extend_deadline(
            message=public_id,
            actor=request.actor,
            reason=reason,
            until=typed["until"],
        )
    except SentenceError as error:
        note_refused_act(request, message, error, reason)
        raise
    return "The deadline is extended."
