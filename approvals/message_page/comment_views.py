"""Commenting on a message: a form under its history. What is said stays on the desk."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from approvals.collaboration.comments import Said, add_comment
from approvals.collaboration.forms import CommentForm
from approvals.message_page.side_panel import beside_context, said_context
from approvals.message_page.views import answer_with_message, find_message
from approvals.queue.views import filters_of
from common.pages import DeskRequest
from mirror.errors import ActNotAllowed
from mirror.models import Message


@login_required
@require_POST
def comment(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Keep a comment; 422 for a bad one, with everything that was typed."""
    message = find_message(request.actor, public_id)
    form = CommentForm(request.POST)
    if not form.is_valid():
        return _refuse(request, message, form.first_error(), status=422)
    try:
        said = add_comment(message=public_id, actor=request.actor, text=form.cleaned_data["text"], now=timezone.now())
    except ActNotAllowed as error:
        return _refuse(request, message, error.sentence, status=403)
    if request.htmx:
        return _fragment(request, message, {"comment_said": _words_of(said), "comment_remarks": said.remarks})
    query = filters_of(request).query()
    address = reverse("message", kwargs={"public_id": public_id})
    return redirect(f"{address}{f'?{query}' if query else ''}#comments")


def _refuse(request: DeskRequest, message: Message, problem: str, *, status: int) -> HttpResponse:
    typed = {"outcome": "comment", "comment": request.POST.get("text", ""), "tell": request.POST.get("tell", "")}
    if request.htmx:
        return _fragment(request, message, {"problem": problem, "typed": typed}, status=status)
    return answer_with_message(request, message.public_id, status=status, problem=problem, typed=typed)


def _fragment(request: DeskRequest, message: Message, more: dict[str, object], *, status: int = 200) -> HttpResponse:
    query = filters_of(request).query()
    context = {
        **beside_context(request, message),
        **said_context(request, message),
        "message": message,
        "queue_query": f"?{query}" if query else "",
        **more,
    }
    return render(request, "approvals/_comments.html", context, status=status)


def _words_of(said: Said) -> str:
    if not said.asked:
        return "Comment posted. Whoever opens this message sees it."
    names = [str(one) for one in said.asked]
    told = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"Comment posted. {told} will see it under Mine."
