"""Coming in by a one-time link: joining, accepting roles with an account that is there, setting a new password.

Opening a link changes nothing, so that programs that look at links in mail do not use it up. One that is used,
withdrawn, past its time or was never made answers alike.
"""

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from common.pages import DeskRequest
from people.actors import Role, Scope
from people.directory.forms import JoinForm, PasswordForm
from people.errors import LinkNotGood, WrongPerson
from people.joining import Link, accept_roles, join, read_link, set_password
from people.models import Person
from people.roles.places import role_words

_BACKEND = "people.sign_in.backend.PersonBackend"


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join_page(request: DeskRequest, token: str) -> HttpResponse:
    """Show for whom a link is and by whom it was made, and use it when its form is posted."""
    try:
        link = read_link(token)
        if _is_somebody_else(request, link):
            return _page(request, link, status=403 if request.method == "POST" else 200)
        if request.method != "POST":
            return _page(request, link)
        if link.is_for_password:
            return _set_password(request, link, token)
        return _accept(request, link, token) if link.person else _join(request, link, token)
    except LinkNotGood:
        return render(request, "people/join_not_good.html", status=404)


def _join(request: DeskRequest, link: Link, token: str) -> HttpResponse:
    typed = Person(email=link.invitation.email, name=request.POST.get("name", "")[:80])
    form = JoinForm(request.POST, person=typed)
    if not form.is_valid():
        return _page(request, link, form=form, status=422)
    cleaned = form.cleaned_data
    try:
        person = join(token=token, name=cleaned["name"], password=cleaned["password"], actor=request.actor)
    except WrongPerson as error:
        return _page(request, link, problem=error.sentence, status=409)
    login(request, person, backend=_BACKEND)
    record_authentication(request, person, method="password", email=person.email)
    return redirect(_first_page(person))


def _accept(request: DeskRequest, link: Link, token: str) -> HttpResponse:
    if not request.user.is_authenticated:
        return _page(request, link, status=403)
    accept_roles(token=token, actor=request.actor)
    messages.info(request, "The new roles are yours.", extra_tags="desk")
    return redirect("home")


def _set_password(request: DeskRequest, link: Link, token: str) -> HttpResponse:
    assert link.person is not None
    form = PasswordForm(request.POST, person=link.person)
    if not form.is_valid():
        return _page(request, link, form=form, status=422)
    set_password(token=token, password=form.cleaned_data["password"], actor=request.actor)
    # Not signed in by it: whoever has a second factor is still asked for it.
    return render(request, "people/join_password_set.html")


def _is_somebody_else(request: DeskRequest, link: Link) -> bool:
    """Whether somebody is signed in for whom the link is not."""
    return request.user.is_authenticated and (link.person is None or request.user.pk != link.person.pk)


def _page(
    request: DeskRequest,
    link: Link,
    *,
    form: JoinForm | PasswordForm | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    errors = {str(name): [str(one) for one in found] for name, found in form.errors.items()} if form else {}
    context: dict[str, Any] = {
        "link": link,
        "invitation": link.invitation,
        "roles": [role_words(role.value, place.name) for role, place in link.roles],
        "is_somebody_else": _is_somebody_else(request, link),
        "name": request.POST.get("name", link.invitation.name)[:80],
        "errors": errors,
        "problem": problem,
        "here": request.path,
    }
    return render(request, "people/join.html", context, status=status)


def _first_page(person: Person) -> str:
    """Return where somebody begins: the first admin sets the desk up."""
    is_admin_of_all = Scope(Role.ADMIN) in person.actor(surface="web").scopes
    try:
        return reverse("setup") if is_admin_of_all else reverse("home")
    except NoReverseMatch:
        return reverse("home")
