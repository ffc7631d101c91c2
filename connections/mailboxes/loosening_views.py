"""Giving a mailbox a looser oversight mode: what that means in words first, then the two steps at MultiMail."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from common.pages import DeskRequest
from connections.mailboxes.forms import LoosenForm
from connections.mailboxes.loosening import Wish, loosen, read_wishes
from connections.mailboxes.modes import consequences, is_looser, mode_named
from connections.page_base import CHANGE_ERRORS, is_admin, mailbox_seen, told_by
from mirror.models import Mailbox
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def loosen_mailbox(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Say what a looser mode means for this mailbox, and give it that mode."""
    box = mailbox_seen(request, mailbox_id)
    if not is_admin(request.actor, box.connection, box.pk):
        told: dict[str, Any] = {"problem": "Only an admin of this mailbox can loosen its oversight."}
        return _page(request, box, box.oversight_mode, status=403, is_refused=True, **told)
    form = LoosenForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid() or not is_looser(form.cleaned_data["to"], than=box.oversight_mode):
        return redirect("mailbox", mailbox_id=box.pk)
    to = form.cleaned_data["to"]
    if request.method != "POST":
        return _page(request, box, to)
    try:
        now = loosen(mailbox=box, actor=request.actor, target=to, code=form.cleaned_data["code"])
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _page(request, box, to, status=status, **told)
    mode = mode_named(now.oversight_mode)
    said = f"{box} is looser now: {mode.words.lower() if mode else now.oversight_mode}. The ledger keeps who did it."
    messages.info(request, said, extra_tags="desk")
    return redirect("mailbox", mailbox_id=box.pk)


def _page(request: DeskRequest, box: Mailbox, to: str, *, status: int = 200, **told: Any) -> HttpResponse:
    held = Mailbox.objects.visible_to(request.actor).held_in_each().get(box.pk, 0)
    context = {
        "box": box,
        "before": mode_named(box.oversight_mode),
        "after": mode_named(to),
        "to": to,
        "says": consequences(str(box), before=box.oversight_mode, after=to),
        "held": held,
        "wish": None if told.get("is_refused") else _wish(box, to),
        **told,
    }
    return render(request, "approvals/mailbox_loosen.html", context, status=status)


def _wish(box: Mailbox, to: str) -> Wish | None:
    """Return what an agent asked for that would be granted by this, or that this would end."""
    if not box.connection.admin_key:
        return None
    mine = [wish for wish in read_wishes(box.connection).waiting if wish.mailbox_id == box.upstream_id]
    return next((wish for wish in mine if wish.target == to), mine[0] if mine else None)
