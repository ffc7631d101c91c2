"""The page of practice messages: where they are on, what can be wrong with one, what
was planted; and its switches.
"""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from common.actors import Role
from common.pages import (
    DeskRequest,
    SentenceForm,
    always,
    first_or_404,
    redirect_with_notice,
)
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, may_set
from people.models import PendingChange
from people.second_admin.setting import shows_people
from people.sign_in.reauthentication import reauthenticated
from practice import setting
from practice.faults import FAULTS
from practice.models import PracticeMessage, PracticeSetting

ALL = "all"
_SHOWN = 50


class WhereForm(SentenceForm):
    """All mailboxes, or the key of one."""

    where = forms.RegexField(
        r"\A(all|[0-9]{1,18})\Z",
        error_messages={"required": "Choose a mailbox, or all."},
    )


class OnForm(WhereForm):
    """Where, and among how many held messages one is planted."""

    one_in = forms.IntegerField(
        min_value=setting.LEAST,
        max_value=setting.MOST,
        error_messages=always(
            f"Write a number from {setting.LEAST} to {setting.MOST:,}."
        ),
    )


@require_safe
def practice_page(request: DeskRequest) -> HttpResponse:
    """Show what practice messages are and, to admins and auditors, where they are on
    and what was planted lately.
    """
    return _page(request)


@require_POST
@reauthenticated
def switch_practice_on(request: DeskRequest) -> HttpResponse:
    """Ask a second admin to switch practice messages on: it always takes two."""
    _check_may_see(request)
    form = OnForm(request.POST)
    if not form.is_valid():
        return _page(request, status=422, wrong=form.errors_by_field())
    mailbox = _mailbox(request, form.cleaned_data["where"])
    try:
        setting.switch_practice_on(
            actor=request.actor, mailbox=mailbox, one_in=form.cleaned_data["one_in"]
        )
    except ActNotAllowed as error:
        return _page(request, status=403, error=error.sentence)
    return redirect_with_notice(request, "Practice messages are on.", "practice")


@require_POST
def switch_practice_off(request: DeskRequest) -> HttpResponse:
    """Switch practice messages off, at once."""
    _check_may_see(request)
    form = WhereForm(request.POST)
    if not form.is_valid():
        return _page(request, status=422, error=form.first_error())
    try:
        is_changed = setting.switch_practice_off(
            actor=request.actor, mailbox=_mailbox(request, form.cleaned_data["where"])
        )
    except ActNotAllowed as error:
        return _page(request, status=403, error=error.sentence)
    notice = (
        "Practice messages are off. What waited has ended."
        if is_changed
        else "They were off already."
    )
    return redirect_with_notice(request, notice, "practice")


@require_POST
def confirm_practice(request: DeskRequest) -> HttpResponse:
    """Store that the person knows of practice messages, and go back to where they were."""
    if not request.actor.has(Role.REVIEWER):
        raise PermissionDenied
    setting.confirm(actor=request.actor)
    before = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(before, allowed_hosts={request.get_host()}):
        return HttpResponseRedirect(before)
    return redirect("queue")


def strip(request: DeskRequest) -> str:
    """Return the line that tells a reviewer of practice messages; empty where they know
    of them, or there are none.
    """
    actor = request.actor
    # Mostly there are none, which costs little to ask.
    if not actor.has(Role.REVIEWER) or not PracticeSetting.objects.exists():
        return ""
    if not PracticeSetting.objects.not_confirmed_by(int(actor.id)).exists():
        return ""
    return render_to_string("practice/_told.html", request=request)


def _check_may_see(request: DeskRequest) -> None:
    if not setting.may_see(request.actor):
        raise PermissionDenied


def _mailbox(request: DeskRequest, where: str) -> Mailbox | None:
    if where == ALL:
        return None
    visible = Mailbox.objects.visible_to(request.actor).select_related("connection")
    return first_or_404(
        visible.filter(pk=int(where)),
        "There is no such mailbox, or you may not see it.",
    )


def _page(
    request: DeskRequest,
    *,
    status: int = 200,
    error: str = "",
    wrong: dict[str, str] | None = None,
) -> HttpResponse:
    actor = request.actor
    may_see = setting.may_see(actor)
    if not may_see and not actor.has(Role.REVIEWER):
        raise PermissionDenied
    looking = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    mailboxes = Mailbox.objects.visible_to(actor.acting_as(Role.ADMIN)).filter(
        is_active=True
    )
    mine = mailboxes.select_related("connection").order_by("address", "pk")
    # Where they are on, as far as the actor sees the mailboxes: that for all first.
    seen = Mailbox.objects.visible_to(looking).values("pk")
    settings = PracticeSetting.objects.filter(Q(mailbox__in=seen) | Q(mailbox=None))
    named = settings.select_related("mailbox__connection", "asked_by", "accepted_by")
    planted = PracticeMessage.objects.visible_to(looking).order_by("-planted_at")
    context: dict[str, Any] = {
        "may_see": may_see,
        "shows_people": shows_people(),
        "rows": [
            (one, may_set(actor, one.mailbox))
            for one in named.order_by("mailbox__address", "pk")
        ],
        "faults": FAULTS,
        "planted": planted.select_related("message__mailbox")[:_SHOWN],
        "mailboxes": list(mine),
        "may_set_all": actor.is_admin_of_all,
        "waiting_changes": PendingChange.objects.visible_to(actor).at("practice"),
        "typed": request.POST,
        "wrong": wrong or {},
        "error": error,
    }
    return render(request, "practice/practice.html", context, status=status)
