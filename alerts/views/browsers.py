"""The browsers that get a person's notifications: each is a destination of theirs."""

from typing import Any

from django import forms
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from alerts.channels.web_push import WebPush, public_key
from alerts.models import Destination
from audit.recording import record
from common.pages import DeskRequest, first_or_404, redirect_with_notice
from people.sign_in.sessions import device_name

# How many browsers one person switches on.
MAX_BROWSERS = 10


class SubscriptionForm(forms.Form):
    """What a browser gives: the address at its push service, and its two keys."""

    endpoint = forms.CharField(max_length=2000)
    p256dh = forms.CharField(max_length=200)
    auth = forms.CharField(max_length=50)

    def clean(self) -> None:
        """Refuse what is no subscription, and join the keys as they are stored."""
        if self.errors:
            return
        typed = self.cleaned_data
        typed["keys"] = f"{typed['p256dh']} {typed['auth']}"
        if error := WebPush().subscription_error(typed["endpoint"], typed["keys"]):
            raise forms.ValidationError(error)


def _own(request: DeskRequest) -> QuerySet[Destination]:
    own = Destination.objects.filter(owner=int(request.actor.id), kind=WebPush.kind)
    return own.filter(switched_off_at=None).order_by("pk")


@require_safe
def browsers(request: DeskRequest) -> HttpResponse:
    """List the browsers of the person, with a button to add this one: a fragment."""
    context = {"browsers": _own(request), "key": public_key()}
    return render(request, "alerts/_browsers.html", context)


@require_POST
@transaction.atomic
def add_browser(request: DeskRequest) -> HttpResponse:
    """Switch notifications of a browser on."""
    form = SubscriptionForm(request.POST)
    if not form.is_valid():
        error = "This browser could not be switched on. Try again."
        return redirect_with_notice(request, error, "notice-preferences")
    typed = form.cleaned_data
    own = list(_own(request))
    # The same browser again, and the oldest of too many.
    replaced = [one for one in own if one.url == typed["endpoint"]]
    for one in [*replaced, *own[: len(own) + 1 - MAX_BROWSERS]]:
        _switch_off(one)
    name = device_name(request.headers.get("User-Agent", ""))
    Destination.objects.create(
        owner_id=int(request.actor.id),
        kind=WebPush.kind,
        name=name[:80],
        url=typed["endpoint"],
        secret=typed["keys"],
    )
    record(
        "person.browser_added",
        actor=request.actor,
        details={"before": "", "after": name},
    )
    notice = f"Notifications are on: {name}."
    return redirect_with_notice(request, notice, "notice-preferences")


@require_POST
@transaction.atomic
def remove_browser(request: DeskRequest, browser_id: int) -> HttpResponse:
    """Switch notifications of a browser off."""
    own = _own(request).filter(pk=browser_id)
    one = first_or_404(own, "This browser is not switched on.")
    _switch_off(one)
    record(
        "person.browser_removed",
        actor=request.actor,
        details={"before": one.name, "after": ""},
    )
    notice = f"Notifications are off: {one.name}."
    return redirect_with_notice(request, notice, "notice-preferences")


def _switch_off(browser: Destination) -> None:
    """Forget the address and the keys of a browser; what was sent to it stays known."""
    fields: Any = {"switched_off_at": Now(), "url": "", "secret": ""}
    Destination.objects.filter(pk=browser.pk).update(**fields)
