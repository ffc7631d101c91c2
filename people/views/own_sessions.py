"""Where a person is signed in, and ending that."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.pages import DeskRequest
from people.session_store import IDLE, LONGEST
from people.sign_in.sessions import NoSuchSession, end_other_sessions, sessions_of
from people.sign_in.sessions import end_session as end


@login_required
@require_safe
def sessions(request: DeskRequest) -> HttpResponse:
    """Show each browser in which the person is signed in."""
    person: Any = request.user
    found = sessions_of(person, this_key=request.session.session_key)
    hours = {"idle": int(IDLE.total_seconds() // 3600), "longest": int(LONGEST.total_seconds() // 3600)}
    context = {"sessions": found, "others": sum(not one.is_this for one in found), "hours": hours}
    return render(request, "people/account_sessions.html", {**context, "now": timezone.now()})


@login_required
@require_POST
def end_session(request: DeskRequest, session_id: int) -> HttpResponse:
    """End one session of the person's own; ending this one signs out."""
    try:
        end(actor=request.actor, session=session_id)
    except NoSuchSession:
        raise Http404("This session has ended already, or it is not yours.") from None
    messages.info(request, "That session is ended.", extra_tags="desk")
    return redirect("sessions")


@login_required
@require_POST
def end_others(request: DeskRequest) -> HttpResponse:
    """End every session of the person's own but this one."""
    count = end_other_sessions(actor=request.actor, this_key=str(request.session.session_key))
    said = f"{count} other session{'' if count == 1 else 's'} ended." if count else "There was no other session."
    messages.info(request, said, extra_tags="desk")
    return redirect("sessions")
