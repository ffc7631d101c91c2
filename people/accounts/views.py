"""The pages of a person's own account: profile and password, sessions, shortcuts,
chat accounts.
"""

from datetime import timedelta
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.pages import (
    VERBATIM,
    DayField,
    DeskRequest,
    DrawnForm,
    answer,
    posted,
    redirect_with_notice,
    require_get_or_post,
)
from common.time_zones import zone_named
from people import addresses
from people.accounts import profile
from people.accounts.chat_accounts import (
    accounts_of,
    link_account,
    read_offer,
    unlink_own,
)
from people.errors import LinkedElsewhere, LinkNotGood, NameTaken, PeopleError
from people.identities import Identities
from people.roles import grants_of, target_of
from people.sign_in.reauthentication import (
    NameField,
    NewPasswordForm,
    PasswordField,
    limited,
    reauthenticated,
)
from people.sign_in.sessions import (
    IDLE,
    LONGEST,
    end_other_sessions,
    renew_session,
    sessions_of,
)
from people.sign_in.sessions import end_session as end


class ProfileForm(DrawnForm):
    """What a person says of themselves: display name, time zone by name, and the first
    and the last day out of office. If both are empty, the person is not away.
    """

    name = NameField(max_length=80, label="Name")
    zone = forms.CharField(
        max_length=64,
        label="Time zone",
        help_text="Type part of a city’s name, then choose. Your pages show times of this zone.",
        widget=forms.TextInput({**VERBATIM, "list": "zones"}),
        error_messages={"required": "Choose a time zone from the list."},
    )
    away_first = DayField(required=False, label="Out of office from")
    away_last = DayField(
        required=False,
        label="Out of office until",
        help_text="Nothing is assigned to you in this time, and your assignments go to those on duty. "
        "Clear both days if you are back earlier.",
    )

    def clean_zone(self) -> str:
        zone = zone_named(self.cleaned_data["zone"])
        if zone is None or str(zone) not in zones():
            raise forms.ValidationError(
                "There is no such time zone. Choose one from the list, such as Europe/Lisbon."
            )
        return str(zone)

    def clean(self) -> None:
        first = self.cleaned_data.get("away_first")
        last = self.cleaned_data.get("away_last")
        if not self.errors and (first is None) != (last is None):
            missing = "away_last" if first else "away_first"
            self.add_error(missing, "Enter both days, or neither.")
        elif first and last and last < first:
            self.add_error("away_last", "The last day is before the first one.")
        elif first and last and (first.year < 2000 or last.year > 2199):
            # PostgreSQL could store a time that Python cannot read again.
            self.add_error("away_first", "Enter days between 2000 and 2199.")


class PasswordForm(NewPasswordForm):
    """The old password once and the new one twice."""

    old = PasswordField(
        missing="Enter your current password.", label="Current password"
    )

    field_order = ("old",)

    def clean_old(self) -> str:
        old = str(self.cleaned_data["old"])
        if not self.person.check_password(old):
            raise forms.ValidationError("This is not your current password.")
        return old

    def clean(self) -> None:
        super().clean()
        if self.cleaned_data.get("password", "") == self.cleaned_data.get("old"):
            sentence = "This is your current password. Choose another one."
            self.add_error("password", sentence)


class ChatAccountForm(forms.Form):
    """The chat account to unlink."""

    account = forms.IntegerField(min_value=1, max_value=2**62)


@cache
def zones() -> tuple[str, ...]:
    """Return the time zones to choose from: UTC, and all that are named after a
    place.
    """
    regional = (
        zone
        for zone in sorted(available_timezones())
        if "/" in zone and not zone.startswith(("Etc/", "SystemV/"))
    )
    return ("UTC", *regional)


_HOUR = timedelta(hours=1)


@require_get_or_post
@limited("change_password")
def own_password(request: DeskRequest) -> HttpResponse:
    """Change the password. Its form asks for the old one, so it needs no
    reauthentication.
    """
    person: Any = request.user
    has_password = person.has_usable_password()
    typed = posted(request) if has_password else None
    form = PasswordForm(typed, person=person)
    if form.is_valid():
        changed = profile.change_password(
            actor=request.actor,
            password=form.cleaned_data["password"],
            this_key=str(request.session.session_key),
        )
        renew_session(request, with_password_of=changed)
        notice = "Your password is changed. You are signed out everywhere else."
        return redirect_with_notice(request, notice, "account")
    context = {"has_password": has_password, "form": form}
    return answer(request, "people/account_password.html", context, form=form)


@require_get_or_post
def account(request: DeskRequest) -> HttpResponse:
    """Show the person's account, with a form for what they say of themselves."""
    person: Any = request.user
    first, last = profile.away_days(person)
    before = {
        "name": person.name,
        "zone": person.time_zone,
        "away_first": first,
        "away_last": last,
    }
    form = ProfileForm(request.POST or None, initial=before)
    if form.is_valid():
        try:
            profile.change_profile(actor=request.actor, **form.cleaned_data)
        except NameTaken as error:
            form.add_error("name", error.sentence)
        else:
            return redirect_with_notice(request, "Your account is saved.", "account")
    context = {
        "form": form,
        "person": person,
        "roles": [
            (grant.get_role_display(), target_of(grant)) for grant in grants_of(person)
        ],
        "zones": zones(),
        "sessions": len(sessions_of(person, this_key=request.session.session_key)),
        "chat_accounts": [str(one) for one in accounts_of(person)],
        "counts_as": Identities().others_behind(person.pk),
    }
    return answer(request, "people/account.html", context, form=form)


@require_get_or_post
def prove_address(request: DeskRequest, proof: str) -> HttpResponse:
    """Ask the person whether a test mail reached them, and note it when they say so."""
    try:
        if request.method == "POST":
            addresses.prove_address(proof=proof, actor=request.actor)
            notice = "Noted: mail of the desk reaches you."
            return redirect_with_notice(request, notice, "account")
        addresses.check_proof(proof, request.actor)
    except PeopleError as refused:
        return answer(request, "people/prove_address.html", {}, refused)
    return answer(request, "people/prove_address.html", {})


@require_safe
def sessions(request: DeskRequest) -> HttpResponse:
    """List the browsers in which the person is signed in."""
    person: Any = request.user
    open_sessions = sessions_of(person, this_key=request.session.session_key)
    context = {
        "sessions": open_sessions,
        "others": sum(not one.is_this for one in open_sessions),
        "hours": {"idle": IDLE // _HOUR, "longest": LONGEST // _HOUR},
        "now": timezone.now(),
    }
    return render(request, "people/account_sessions.html", context)


@require_POST
def end_session(request: DeskRequest, session_id: int) -> HttpResponse:
    """End one of the person's own sessions; ending the current one signs out."""
    if not end(actor=request.actor, session=session_id):
        raise Http404("This session has already ended, or it is not yours.")
    return redirect_with_notice(request, "The session was ended.", "sessions")


@require_POST
def end_others(request: DeskRequest) -> HttpResponse:
    """End all of the person's own sessions except this one."""
    count = end_other_sessions(
        actor=request.actor, this_key=str(request.session.session_key)
    )
    notice = f"{count} other session{'' if count == 1 else 's'} ended."
    if not count:
        notice = "There was no other session."
    return redirect_with_notice(request, notice, "sessions")


@require_POST
def shortcuts(request: DeskRequest) -> HttpResponse:
    """Switch the person's single-key shortcuts off or on."""
    off = request.POST.get("do") == "off"
    profile.switch_shortcuts(actor=request.actor, off=off)
    if request.htmx:
        return HttpResponse(status=204)
    notice = f"Keyboard shortcuts are {'off' if off else 'on'}."
    return redirect_with_notice(request, notice, "account")


@require_safe
def own_chat_accounts(request: DeskRequest) -> HttpResponse:
    """List the person's own chat accounts."""
    person: Any = request.user
    return render(
        request, "people/own_chat_accounts.html", {"accounts": accounts_of(person)}
    )


@require_POST
@reauthenticated
def unlink_chat_account(request: DeskRequest) -> HttpResponse:
    """Unlink one of the person's own chat accounts."""
    form = ChatAccountForm(request.POST)
    if form.is_valid() and unlink_own(
        actor=request.actor, account_id=form.cleaned_data["account"]
    ):
        return redirect_with_notice(
            request, "The account is unlinked.", "own-chat-accounts"
        )
    return redirect("own-chat-accounts")


@require_get_or_post
def link_chat_account(request: DeskRequest, token: str) -> HttpResponse:
    """Ask whether the chat account of a link is the person's own, and link it when
    they confirm.
    """
    view = _link_chat_account if request.method == "POST" else _link_page
    try:
        return view(request, token)
    except LinkNotGood as unusable:
        raise Http404(unusable.sentence) from None


@reauthenticated
def _link_chat_account(request: DeskRequest, token: str) -> HttpResponse:
    try:
        account = link_account(actor=request.actor, token=token)
    except LinkedElsewhere as error:
        return _link_page(request, token, error=error)
    notice = f"What {account} does on {account.get_service_display()} now counts as done by you."
    return redirect_with_notice(request, notice, "own-chat-accounts")


def _link_page(
    request: DeskRequest, token: str, *, error: PeopleError | None = None
) -> HttpResponse:
    context = {"offer": read_offer(token)}
    return answer(request, "people/link_chat_account.html", context, error)
