"""The pages to invite people, and to use a one-time link: joining, accepting roles,
setting a new password.

Opening a link changes nothing, so that programs that check the links in mail do not use
it up. Links that are used, withdrawn, expired or unknown all get the same answer.
"""

from datetime import timedelta
from typing import Any

from allauth.account.internal.flows.login import record_authentication
from django import forms
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache

from common.actors import Role
from common.desk_mail import MailNotSent
from common.mail_addresses import ascii_address
from common.pages import (
    VERBATIM,
    DeskRequest,
    only_for,
    redirect_with_notice,
    require_get_or_post,
    same_error,
)
from people.errors import LinkNotGood, PeopleError, WrongPerson
from people.invitations.links import (
    DAYS,
    Link,
    NewLink,
    accept_roles,
    invite,
    join,
    mail_link,
    may_mail_invitation,
    read_link,
    roles_of,
    set_password,
)
from people.models import Person
from people.roles import ROLES_TO_GIVE, GrantTargetForm, targets_to_give
from people.sign_in.reauthentication import NameField, NewPasswordForm, reauthenticated


class InviteForm(GrantTargetForm):
    """An invitation: the address, the name, the roles and what they are for."""

    email = forms.CharField(
        max_length=254,
        label="Email address",
        widget=forms.EmailInput({**VERBATIM, "autofocus": True}),
        error_messages={"required": "Enter the address to invite."},
    )
    name = NameField(
        required=False,
        max_length=80,
        label="Name",
        help_text="Optional: they can change it.",
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    roles = forms.MultipleChoiceField(
        label="Roles",
        choices=ROLES_TO_GIVE,
        widget=forms.CheckboxSelectMultiple,
        error_messages=same_error("Choose at least one role."),
    )

    field_order = ("email", "name", "roles", "place")

    def clean_email(self) -> str:
        try:
            return ascii_address(self.cleaned_data["email"]).lower()
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class JoinForm(NewPasswordForm):
    """The name and password of a person who joins."""

    name = NameField(
        label="Your name",
        max_length=80,
        widget=forms.TextInput({"autocomplete": "name"}),
    )

    field_order = ("name", "password", "password_again")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # There is none yet, from which it would differ.
        self.fields["password"].label = "Password"


@require_get_or_post
def invite_person(request: DeskRequest) -> HttpResponse:
    """Show the form of an invitation, or make one and show its link once."""
    only_for("an admin", request.actor.has(Role.ADMIN))
    if request.method == "POST":
        return _make(request)
    return _form(request, InviteForm(targets=targets_to_give(request.actor)))


@reauthenticated
def _make(request: DeskRequest) -> HttpResponse:
    form = InviteForm(request.POST, targets=targets_to_give(request.actor))
    if not form.is_valid():
        return _form(request, form, status=422)
    by_mail = is_by_mail(request) and may_mail_invitation(request.actor)
    typed = form.cleaned_data
    try:
        link = invite(
            actor=request.actor,
            email=typed["email"],
            name=typed["name"],
            roles=[(Role(one), typed["place"]) for one in typed["roles"]],
            lasts=timedelta(days=DAYS),
        )
    except PeopleError as error:
        form.add_error("email", error.sentence)
        return _form(request, form, status=403)
    roles = roles_of(link.invitation)
    return mail_or_show(request, link, by_mail=by_mail, back="people", roles=roles)


def is_by_mail(request: DeskRequest) -> bool:
    """Whether the button was pressed that mails a link."""
    return request.POST.get("by") == "mail"


def mail_or_show(
    request: DeskRequest, made: NewLink, *, by_mail: bool, back: str, **context: Any
) -> HttpResponse:
    """Mail a new link and lead `back`, or show it once. The answer to the post shows
    it: for a redirect, its token would have to be stored.
    """
    error = ""
    if by_mail:
        try:
            return redirect_with_notice(request, mail_link(made, request.actor), back)
        except MailNotSent as not_sent:
            error = f"{not_sent} {not_sent.advice}"
    context |= {"made": made, "error": error, "has_server": bool(settings.EMAIL_URL)}
    return render(request, "people/link_made.html", context)


def _form(request: DeskRequest, form: InviteForm, *, status: int = 200) -> HttpResponse:
    form[
        "place"
    ].help_text = "You can add roles for other mailboxes later, on their page."
    context = {
        "form": form,
        "may_mail": may_mail_invitation(request.actor),
        "has_server": bool(settings.EMAIL_URL),
    }
    return render(request, "people/invite.html", context, status=status)


@login_not_required
@never_cache
@require_get_or_post
def join_page(request: DeskRequest, token: str) -> HttpResponse:
    """Show who a link is for and who made it, and use it when its form is posted."""
    try:
        link = read_link(token)
        if _is_somebody_else(request, link):
            return _page(request, link, status=403 if request.method == "POST" else 200)
        if request.method != "POST":
            return _page(request, link)
        if link.is_for_password:
            assert link.person is not None
            form = NewPasswordForm(request.POST, person=link.person)
            if not form.is_valid():
                return _page(request, link, form=form, status=422)
            set_password(
                token=token, password=form.cleaned_data["password"], actor=request.actor
            )
            # They are not signed in by the link: a person with a second factor must
            # still prove it.
            return render(request, "people/join_password_set.html")
        if link.person is None:
            return _join(request, link, token)
        if not request.user.is_authenticated:
            return _page(request, link, status=403)
        accept_roles(token=token, actor=request.actor)
        return redirect_with_notice(request, "You have the new roles.", "home")
    except LinkNotGood:
        return render(request, "people/join_not_good.html", status=404)


def _join(request: DeskRequest, link: Link, token: str) -> HttpResponse:
    typed = Person(email=link.invitation.email, name=request.POST.get("name", "")[:80])
    form = JoinForm(request.POST, person=typed)
    if not form.is_valid():
        return _page(request, link, form=form, status=422)
    try:
        person = join(
            token=token,
            name=form.cleaned_data["name"],
            password=form.cleaned_data["password"],
            actor=request.actor,
        )
    except WrongPerson as error:
        return _page(request, link, error=error.sentence, status=409)
    login(request, person, backend="people.sign_in.backend.PersonBackend")
    record_authentication(request, person, method="password", email=person.email)
    # Admins of everything come to the set-up page.
    return redirect("setup" if person.actor(surface="web").is_admin_of_all else "home")


def _is_somebody_else(request: DeskRequest, link: Link) -> bool:
    """Whether somebody is signed in for whom the link is not."""
    return request.user.is_authenticated and (
        link.person is None or request.user.pk != link.person.pk
    )


def _page(
    request: DeskRequest,
    link: Link,
    *,
    form: NewPasswordForm | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    shown = NewPasswordForm if link.is_for_password else JoinForm
    context = {
        "link": link,
        "invitation": link.invitation,
        "roles": [f"{role} of {target.name}" for role, target in link.roles],
        "is_somebody_else": _is_somebody_else(request, link),
        "form": form or shown(person=None, initial={"name": link.invitation.name}),
        "error": error,
        "here": request.path,
    }
    return render(request, "people/join.html", context, status=status)
