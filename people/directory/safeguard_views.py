"""The pages of two safeguards: which roles need a second factor; and the changes that
wait for a second admin, with the page that asks an admin why they want a change.
"""

from typing import Any

from django import forms
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.http import require_POST, require_safe

from common.actors import ROLE_CHOICES, Role
from common.errors import SentenceError
from common.pages import (
    CODE_INPUT,
    DeskRequest,
    MultilineField,
    SentenceForm,
    admin_or_403,
    answer,
    changes,
    cleaned,
    first_or_404,
    only_for,
    redirect_with_notice,
    same_error,
)
from people.errors import NotYours
from people.invitations.links import mail_link_of
from people.models import PendingChange, RoleRule
from people.second_admin.changes import (
    MAX_REASON,
    ChangeNotWaiting,
    ChangeTooLong,
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

_YES_OR_NO = [("yes", "Yes"), ("no", "No")]
_CHOOSE_RULE = same_error("Choose a role, and whether it needs a second factor.")


class RoleRuleForm(SentenceForm):
    """Whether a role needs a second factor."""

    role = forms.ChoiceField(choices=ROLE_CHOICES, error_messages=_CHOOSE_RULE)
    needed = forms.ChoiceField(choices=_YES_OR_NO, error_messages=_CHOOSE_RULE)


@require_safe
def second_factor(request: DeskRequest) -> HttpResponse:
    """Show the rule of each role, and how many people have no second factor."""
    admin_or_403(request)
    return _rules_page(request)


def _rules_page(
    request: DeskRequest, *, error: SentenceError | None = None
) -> HttpResponse:
    rules: dict[str, Any] = RoleRule.objects.select_related("changed_by").in_bulk()
    context = {
        "roles": [
            {"name": role, "rule": rules.get(role), "lacking": lacking_factor(role)}
            for role in Role
        ]
    }
    return answer(request, "people/second_factor.html", context, error)


@require_POST
@changes(_rules_page, to="second-factor")
def set_rule(request: DeskRequest) -> HttpResponse | str:
    """Set whether a role needs a second factor."""
    admin_or_403(request)
    if not is_recently_authenticated(request):
        return ask_first(request)
    typed = cleaned(RoleRuleForm(request.POST))
    role = Role(typed["role"])
    needed = typed["needed"] == "yes"
    set_role_rule(actor=request.actor, role=role, needed=needed)
    if needed:
        return f"Every {role} needs a second factor from now on."
    return f"Every {role} no longer needs a second factor."


# How many ended changes the page of changes shows.
ENDED = 30


class ReasonForm(SentenceForm):
    """Why an admin wants a change."""

    reason = MultilineField(
        max_length=MAX_REASON,
        widget=forms.Textarea({"rows": 3}),
        error_messages={"required": "Give a reason: the second admin reads it."},
    )


class AnswerForm(SentenceForm):
    """What an admin adds to their answer: a code of MultiMail's operator when they
    accept, or a reason when they decline.
    """

    code = forms.CharField(
        label="Code of MultiMail's operator",
        required=False,
        max_length=40,
        widget=forms.TextInput(CODE_INPUT),
    )
    reason = forms.CharField(
        label="Reason (optional)",
        required=False,
        max_length=MAX_REASON,
    )


class SwitchForm(SentenceForm):
    """Whether loosening waits for a second admin."""

    on = forms.ChoiceField(
        choices=_YES_OR_NO,
        error_messages=same_error("Choose whether changes wait for a second admin."),
    )


class SecondAdminMiddleware(MiddlewareMixin):
    """Shows a page that asks for a reason if the command of a view has to wait for a
    second admin.
    """

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
    request: DeskRequest, asked: ChangeInWords, form: ReasonForm | None = None
) -> HttpResponse:
    try:
        packed = pack(asked, request.actor)
    except ChangeTooLong as too_long:
        return _changes_page(request, error=too_long)
    context = {
        "asked": asked,
        "packed": packed,
        "others": other_admins(asked, asker=request.actor.person_id),
        "form": form or ReasonForm(),
    }
    response = answer(request, "people/ask_second_admin.html", context, form=form)
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
            return _ask_page(request, asked, form)
        ask_second_admin(asked=asked, actor=request.actor, **form.cleaned_data)
    except NotYours as error:
        return _changes_page(request, error=error)
    return redirect_with_notice(
        request, f"Waiting for a second admin: {asked.title}.", asked.page
    )


def _changes_page(
    request: DeskRequest, *, error: SentenceError | None = None, change_id: int = 0
) -> HttpResponse:
    """List the changes that wait for a second admin, and those that ended last. `error`
    is shown at the change with this key while that one waits, otherwise at the top.
    """
    actor = request.actor
    only_for("an admin", actor.has(Role.ADMIN))
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
                "form": AnswerForm(auto_id=f"change-{change.pk}-%s"),
                "kind": command.kind,
                "is_own": is_own,
                "may_decline": not is_own and covers(change, actor),
                "why_not": why_not,
                "others": other_admins(change, asker=change.asked_by_id),
                "wants_code": command.calls_multimail and bool(change.outcome),
            }
        )
    ended = visible.exclude(pk__in=waiting)
    # However old: they have not seen its secret yet.
    unseen = ended.filter(
        Q(change__has_key="secret", asked_by=actor.person_id)
        | Q(change__has_key="second_half", ended_by=actor.person_id),
        state="accepted",
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
        "at": change_id if change_id in waiting else 0,
    }
    return answer(request, "people/pending_changes.html", context, error)


pending_changes = require_safe(_changes_page)


_changes = changes(_changes_page, to="pending-changes")


@require_POST
@reauthenticated
@_changes
def set_setting(request: DeskRequest) -> str:
    """Switch on or off that loosening waits for a second admin."""
    admin_or_403(request)
    on = cleaned(SwitchForm(request.POST))["on"] == "yes"
    set_second_admin(actor=request.actor, on=on)
    if on:
        return "Loosening waits for a second admin from now on."
    return "Loosening applies at once again."


def _typed(request: DeskRequest, change_id: int) -> dict[str, str]:
    """Return what was typed in an AnswerForm about a change. Raises Http404 if the
    actor may not see the change.
    """
    first_or_404(
        PendingChange.objects.visible_to(request.actor).filter(pk=change_id),
        "There is no such change, or you do not manage what it changes.",
    )
    return cleaned(AnswerForm(request.POST))


@require_POST
@reauthenticated
@_changes
def accept_change(request: DeskRequest, change_id: int) -> str:
    """Accept a change, and carry it out."""
    typed = _typed(request, change_id)
    change = accept(change_id=change_id, actor=request.actor, code=typed["code"])
    if change.state != PendingChange.State.ACCEPTED:
        raise ChangeNotWaiting(change.outcome)
    told = ""
    if command_of(change).is_link:
        told = mail_link_of(change, request.actor)
        told = told or "Show your half of the link below."
    return f"Accepted and carried out: {change.title}. {told}"


@require_POST
@reauthenticated
@_changes
def show_secret(request: DeskRequest, change_id: int) -> HttpResponse:
    """Show the secret that an accepted change made, once, to the admin who asked for
    the change; of a link one half to each of both.
    """
    _typed(request, change_id)
    change, secret = reveal_secret(change_id=change_id, actor=request.actor)
    context = {
        "change": change,
        "secret": secret,
        "is_link": command_of(change).is_link,
        "is_first": change.is_of(request.actor),
    }
    response = render(request, "people/change_secret.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@_changes
def decline_change(request: DeskRequest, change_id: int) -> str:
    """Decline a change that another admin asked for."""
    typed = _typed(request, change_id)
    change = decline(change_id=change_id, actor=request.actor, reason=typed["reason"])
    return f"Declined: {change.title}. Nothing was changed."


@require_POST
@_changes
def withdraw(request: DeskRequest, change_id: int) -> HttpResponse:
    """Withdraw a change that the actor asked for."""
    _typed(request, change_id)
    change = withdraw_change(change_id=change_id, actor=request.actor)
    # People who are no longer admins cannot open the page of changes.
    page = "pending-changes" if request.actor.has(Role.ADMIN) else "home"
    return redirect_with_notice(
        request, f"Withdrawn: {change.title}. Nothing was changed.", page
    )
