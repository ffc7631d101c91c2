"""The conversation of a draft, as the desk last read it. The view asks nobody; a task does, when somebody opens it."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from approvals import wakeups
from approvals.decisions.unread_parts import note_opened_part
from approvals.message_page.opened_parts import thread_context
from approvals.message_page.views import find_message, is_ahead_of_reading
from common.pages import DeskRequest, page_or_fragment


@login_required
@require_safe
def thread(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the letters of the thread, newest first, and note that they were opened."""
    message = find_message(request.actor, public_id)
    context = thread_context(message)
    if request.method != "HEAD" and not is_ahead_of_reading(request):
        wakeups.freshen_thread(message)
        conversation = context["conversation"]
        if conversation.letters:
            details = {"letters": str(len(conversation.letters))}
            note_opened_part(
                message, key=conversation.part, actor=request.actor, action="thread.opened", details=details
            )
    return page_or_fragment(request, page="approvals/thread.html", fragment="approvals/_thread.html", context=context)
