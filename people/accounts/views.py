"""A person's own account: name, time zone and password, and what else there is to look after."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.password_validation import password_validators_help_texts
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from common.pages import DeskRequest
from people.accounts.forms import NameForm, OwnForm, PasswordForm, TimeZoneForm, zones
from people.accounts.profile import change_password, choose_time_zone, rename
from people.models import Person
from people.roles.places import grants_of, place_of
from people.sign_in.limits import limited
from people.sign_in.sessions import renew_session, sessions_of


@login_required
@require_safe
def account(request: DeskRequest) -> HttpResponse:
    """Show who the person is here, and what they can change."""
    return _page(request)


@login_required
@require_POST
def own_name(request: DeskRequest) -> HttpResponse:
    """Take another name."""
    form = NameForm(request.POST)
    if not form.is_valid():
        return _page(request, form)
    rename(actor=request.actor, name=form.cleaned_data["name"])
    return _done(request, "Your name is saved.")


@login_required
@require_POST
def own_time_zone(request: DeskRequest) -> HttpResponse:
    """Have times shown as clocks say where the person lives."""
    form = TimeZoneForm(request.POST)
    if not form.is_valid():
        return _page(request, form)
    zone = form.cleaned_data["zone"]
    choose_time_zone(actor=request.actor, zone=zone)
    return _done(request, f"Times are those of {zone.replace('_', ' ')} now.")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@limited("change_password")
def own_password(request: DeskRequest) -> HttpResponse:
    """Take another password. That the old one is asked for each time is the proof of who does it."""
    person = _person(request)
    form = PasswordForm(request.POST or None, person=person) if person.has_usable_password() else None
    if request.method == "POST" and form is not None and form.is_valid():
        this_key = str(request.session.session_key)
        changed = change_password(actor=request.actor, password=form.cleaned_data["new"], this_key=this_key)
        renew_session(request, with_password_of=changed)
        return _done(request, "Your password is changed. You are signed out everywhere else.")
    wrong, problem = form.first_error() if form is not None and request.method == "POST" else ("", "")
    context = {"has_password": form is not None, "wrong": wrong, "problem": problem}
    context["advice"] = password_validators_help_texts()[-1]
    return render(request, "people/account_password.html", context, status=422 if problem else 200)


def _person(request: DeskRequest) -> Person:
    # The request holds a lazy one, which passes for it everywhere but in types.
    return Person.objects.get(pk=int(request.actor.id))


def _done(request: DeskRequest, said: str) -> HttpResponse:
    messages.info(request, said, extra_tags="desk")
    return redirect("account")


def _page(request: DeskRequest, form: OwnForm | None = None) -> HttpResponse:
    person = _person(request)
    wrong, problem = form.first_error() if form else ("", "")
    typed: Any = form.data if form else {}
    context = {
        "person": person,
        "roles": [(grant.get_role_display(), place_of(grant)) for grant in grants_of(person)],
        "name": typed.get("name", person.name),
        "zone": typed.get("zone", person.time_zone),
        "zones": zones(),
        "sessions": len(sessions_of(person, this_key=request.session.session_key)),
        "discord": [str(one) for one in person.discord_accounts.order_by("name", "pk")],
        "wrong": wrong,
        "problem": problem,
        "now": timezone.now(),
    }
    return render(request, "people/account.html", context, status=422 if problem else 200)
