"""The pages of two safeguards: which roles need a second factor; and the changes that
wait for a second admin, with the page that asks an admin why they want a change.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from common.actors import ROLE_CHOICES, Role
from common.pages import (
    DeskRequest,
    MultilineField,
    SentenceForm,
    first_or_404,
    redirect_with_notice,
)
from people.errors import FactorNotAllowed, NotYours
from people.models import PendingChange, RoleRule
from people.second_admin.changes import (
    MAX_REASON,
    ChangeNotWaiting,
    accept,
    ask_second_admin,
    check_may_accept,
    covers,
    decline,
    other_admins,
    pack,
    reveal_secret,
    unpack,
    withdraw_change,
)
from people.second_admin.registry import ChangeInWords, SecondAdminNeeded, command_of
from people.second_admin.setting import (
    has_another_admin,
    organisation_settings,
    set_second_admin,
)
from people.sign_in.factors import lacking_factor, set_role_rule
from people.sign_in.reauthentication import (
    ask_first,
    is_recently_authenticated,
    reauthenticated,
)


class RoleRuleForm(forms.Form):
    """Whether a role needs a second factor."""

    role = forms.ChoiceField(choices=ROLE_CHOICES)
    needed = forms.ChoiceField(choices=[("yes", "yes"), ("no", "no")])


@require_safe
def second_factor(request: DeskRequest) -> HttpResponse:
    """Show the rule of each role, and how many people have no second factor."""
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    return _rules_page(request)


@require_POST
def set_rule(request: DeskRequest) -> HttpResponse:
    """Set whether a role needs a second factor."""
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    if not is_recently_authenticated(request):
        return ask_first(request)
    form = RoleRuleForm(request.POST)
    if not form.is_valid():
        return _rules_page(
            request,
            status=422,
            error="Choose a role, and whether it needs a second factor.",
        )
    role = Role(form.cleaned_data["role"])
    needed = form.cleaned_data["needed"] == "yes"
    try:
        set_role_rule(actor=request.actor, role=role, needed=needed)
    except FactorNotAllowed as error:
        return _rules_page(request, status=409, error=error.sentence)
    notice = f"Every {role} no longer needs a second factor."
    if needed:
        notice = f"Every {role} needs a second factor from now on."
    return redirect_with_notice(request, notice, "second-factor")


def _rules_page(
    request: DeskRequest, *, error: str = "", status: int = 200
) -> HttpResponse:
    rules: dict[str, Any] = RoleRule.objects.select_related("changed_by").in_bulk()
    context = {
        "roles": [
            {"name": role, "rule": rules.get(role), "lacking": lacking_factor(role)}
            for role in Role
        ],
        "error": error,
        "waiting_changes": PendingChange.objects.at("second-factor"),
    }
    return render(request, "people/second_factor.html", context, status=status)


# How many ended changes the page of changes shows.
ENDED = 30


class ReasonForm(SentenceForm):
    """Why an admin wants a change."""

    reason = MultilineField(
        max_length=MAX_REASON,
        error_messages={
            "required": "Give a reason: the second admin reads it.",
            "max_length": f"Keep the reason under {MAX_REASON} characters.",
        },
    )


class AnswerForm(SentenceForm):
    """What an admin adds to their answer: a code of MultiMail's operator when they
    accept, or a reason when they decline.
    """

    code = forms.CharField(
        required=False,
        max_length=40,
        error_messages={"max_length": "A code has at most 40 characters."},
    )
    reason = MultilineField(
        required=False,
        max_length=MAX_REASON,
        error_messages={
            "max_length": f"Keep the reason under {MAX_REASON} characters."
        },
    )


class SwitchForm(SentenceForm):
    """Whether loosening waits for a second admin."""

    on = forms.ChoiceField(choices=[("yes", "Yes"), ("no", "No")])


class SecondAdminMiddleware:
    """Shows a page that asks for a reason if the command of a view has to wait for a
    second admin.
    """

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = self.get_response(request)
        return response

    def process_exception(
        self, request: DeskRequest, exception: Exception
    ) -> HttpResponse | None:
        """Answer SecondAdminNeeded with the page that asks for a reason; leave other
        exceptions to Django.
        """
        if isinstance(exception, SecondAdminNeeded):
            return _ask_page(request, exception.asked)
        return None


def _ask_page(
    request: DeskRequest, asked: ChangeInWords, *, error: str = ""
) -> HttpResponse:
    try:
        packed = pack(asked, request.actor)
    except NotYours as too_long:
        return _changes_page(request, status=422, error=too_long.sentence)
    context = {
        "asked": asked,
        "packed": packed,
        "others": other_admins(asked, asker=int(request.actor.id)),
        "error": error,
        "reason": request.POST.get("reason", "") if error else "",
        "most": MAX_REASON,
    }
    status = 422 if error else 200
    response = render(request, "people/ask_second_admin.html", context, status=status)
    # If htmx made the request for a part of a page, it replaces the whole page.
    response["HX-Retarget"] = "body"
    response["HX-Reswap"] = "innerHTML"
    return response


@require_POST
def ask(request: DeskRequest) -> HttpResponse:
    """Store the change of the posted form, which then waits, with its reason."""
    try:
        asked = unpack(request.POST.get("change", ""), request.actor)
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return _ask_page(request, asked, error=form.first_error())
        ask_second_admin(
            asked=asked, reason=form.cleaned_data["reason"], actor=request.actor
        )
    except NotYours as error:
        return _changes_page(request, status=403, error=error.sentence)
    return redirect_with_notice(
        request, f"Waiting for a second admin: {asked.title}.", asked.page
    )


@require_safe
def pending_changes(request: DeskRequest) -> HttpResponse:
    """List the changes that wait for a second admin, and those that ended last."""
    return _changes_page(request)


@require_POST
@reauthenticated
def set_setting(request: DeskRequest) -> HttpResponse:
    """Switch on or off that loosening waits for a second admin."""
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    form = SwitchForm(request.POST)
    if not form.is_valid():
        return _changes_page(
            request, status=422, error="Choose whether changes wait for a second admin."
        )
    on = form.cleaned_data["on"] == "yes"
    try:
        set_second_admin(actor=request.actor, on=on)
    except NotYours as error:
        return _changes_page(request, status=409, error=error.sentence)
    notice = "Loosening applies at once again."
    if on:
        notice = "Loosening waits for a second admin from now on."
    return redirect_with_notice(request, notice, "pending-changes")


def _of_change(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate a view of the change in its URL. The view also gets what was typed in an
    AnswerForm; an error is shown at the change.
    """

    @wraps(view)
    def checked(request: DeskRequest, change_id: int) -> HttpResponse:
        first_or_404(
            PendingChange.objects.visible_to(request.actor).filter(pk=change_id),
            "There is no such change, or you do not manage what it changes.",
        )
        form = AnswerForm(request.POST)
        page = partial(_changes_page, request, at=change_id)
        if not form.is_valid():
            return page(status=422, error=form.first_error())
        try:
            return view(request, change_id, form.cleaned_data)
        except ChangeNotWaiting as error:
            return page(status=409, error=error.sentence)

    return checked


@require_POST
@reauthenticated
@_of_change
def accept_change(
    request: DeskRequest, change_id: int, typed: dict[str, str]
) -> HttpResponse:
    """Accept a change, and carry it out."""
    change = accept(change_id=change_id, actor=request.actor, code=typed["code"])
    if change.state != PendingChange.State.ACCEPTED:
        return _changes_page(request, status=409, error=change.outcome, at=change_id)
    return redirect_with_notice(
        request, f"Accepted and carried out: {change.title}.", "pending-changes"
    )


@require_POST
@reauthenticated
@_of_change
def show_secret(
    request: DeskRequest, change_id: int, typed: dict[str, str]
) -> HttpResponse:
    """Show the secret that an accepted change made, once, to the admin who asked for
    the change.
    """
    change, secret = reveal_secret(change_id=change_id, actor=request.actor)
    response = render(
        request, "people/change_secret.html", {"change": change, "secret": secret}
    )
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@_of_change
def decline_change(
    request: DeskRequest, change_id: int, typed: dict[str, str]
) -> HttpResponse:
    """Decline a change that another admin asked for."""
    change = decline(change_id=change_id, actor=request.actor, reason=typed["reason"])
    return redirect_with_notice(
        request, f"Declined: {change.title}. Nothing was changed.", "pending-changes"
    )


@require_POST
@_of_change
def withdraw(
    request: DeskRequest, change_id: int, typed: dict[str, str]
) -> HttpResponse:
    """Withdraw a change that the actor asked for."""
    change = withdraw_change(change_id=change_id, actor=request.actor)
    # People who are no longer admins cannot open the page of changes.
    page = "pending-changes" if request.actor.has(Role.ADMIN) else "home"
    return redirect_with_notice(
        request, f"Withdrawn: {change.title}. Nothing was changed.", page
    )


def _changes_page(
    request: DeskRequest, *, status: int = 200, error: str = "", at: int = 0
) -> HttpResponse:
    """Render the page of changes. `error` is shown at the change with the key `at`
    while that one waits, otherwise at the top.
    """
    actor = request.actor
    if not actor.has(Role.ADMIN):
        raise PermissionDenied
    visible = PendingChange.objects.visible_to(actor).for_page()
    waiting = {one.pk: one for one in visible.waiting()}
    rows = []
    for change in waiting.values():
        is_own = change.is_of(actor)
        why_not = ""
        try:
            check_may_accept(change, actor)
        except ChangeNotWaiting as refused:
            why_not = refused.sentence
        command = command_of(change)
        rows.append(
            {
                "change": change,
                "kind": command.kind,
                "is_own": is_own,
                "may_decline": not is_own and covers(change, actor),
                "why_not": why_not,
                "others": other_admins(change, asker=change.asked_by_id),
                "wants_code": command.calls_multimail and bool(change.outcome),
            }
        )
    ended = visible.exclude(pk__in=waiting)
    # However old: whoever asked has not seen its secret yet.
    unseen = ended.filter(
        state="accepted", change__has_key="secret", asked_by=int(actor.id)
    )
    newest = ended.exclude(pk__in=unseen.values("pk"))[:ENDED]
    context = {
        "settings": organisation_settings(),
        "may_set": actor.is_admin_of_all,
        "is_alone": actor.is_admin_of_all and not has_another_admin(actor),
        "rows": rows,
        "ended": [
            *((change, True) for change in unseen),
            *((change, False) for change in newest),
        ],
        "error": error,
        "at": at if at in waiting else 0,
    }
    return render(request, "people/pending_changes.html", context, status=status)
