"""The letter by itself: its sheet with another tab open, its frame, and how a person likes letters to open."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from approvals.message_page.changes import changes_since_sent_back
from approvals.message_page.content.opening import note_served
from approvals.message_page.content.rendered_cache import letter_of
from approvals.message_page.content.view_modes import TextFirstForm, Way
from approvals.message_page.sheet import sheet_context, way_asked
from approvals.message_page.views import find_message
from approvals.queue.pane import unseen_fields
from approvals.queue.views import filters_of
from common.pages import DeskRequest
from mirror.store import stored_content
from people.accounts.profile import set_text_first


@login_required
@require_safe
def letter(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show the sheet with the tab that is asked for; to a plain request the page that it belongs to."""
    if not request.htmx:
        query = request.GET.urlencode()
        address = reverse("message", kwargs={"public_id": find_message(request.actor, public_id).public_id})
        return redirect(f"{address}?{query}" if query else address)
    return _sheet(request, public_id, way_asked(request))


def _sheet(request: DeskRequest, public_id: UUID, way: Way) -> HttpResponse:
    message = find_message(request.actor, public_id)
    content = stored_content(message.revision) if message.revision else None
    shown = letter_of(message.revision, content) if message.revision else None
    if message.revision and request.method != "HEAD":
        note_served(message, actor=request.actor)
    query = f"?{found}" if (found := filters_of(request).query()) else ""
    context = {
        "message": message,
        "revision": message.revision,
        "content": content,
        "letter": shown,
        "unseen": unseen_fields(content),
        **sheet_context(message, content, shown, way=way, sent_back=changes_since_sent_back(message), query=query),
    }
    return render(request, "approvals/_sheet.html", context)


@login_required
@require_safe
def body(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Answer the framed mail: sanitised, with a policy of its own under which nothing loads and nothing acts."""
    message = find_message(request.actor, public_id)
    if message.revision is None:
        return HttpResponse("The content is still being fetched.", content_type="text/plain; charset=utf-8")
    if request.method != "HEAD":
        note_served(message, actor=request.actor)
    response = HttpResponse(letter_of(message.revision).document)
    response.is_mail_frame = True  # type: ignore[attr-defined]
    return response


@login_required
@require_POST
def text_first(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Let this person's letters open as text from now on, or laid out again."""
    message = find_message(request.actor, public_id)
    form = TextFirstForm(request.POST)
    wanted = form.is_wanted()
    set_text_first(actor=request.actor, wanted=wanted)
    if request.htmx:
        request.user.text_first = wanted  # type: ignore[union-attr]
        return _sheet(request, public_id, Way("text" if wanted else "rendered"))
    query = filters_of(request).query()
    address = reverse("message", kwargs={"public_id": message.public_id})
    return redirect(f"{address}?{query}" if query else address)
