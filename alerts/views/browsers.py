"""The pages on which people switch notifications of their browsers on and off."""

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from alerts.channels.web_push import WebPush, public_key
from alerts.destinations import browsers as commands
from common.pages import DeskRequest, first_or_404, redirect_with_notice
from people.sign_in.sessions import device_name


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


@require_safe
def browsers(request: DeskRequest) -> HttpResponse:
    """List the browsers of the person, with a button to add this one: a fragment."""
    context = {"browsers": commands.browsers_of(request.actor), "key": public_key()}
    return render(request, "alerts/_browsers.html", context)


@require_POST
def add_browser(request: DeskRequest) -> HttpResponse:
    """Switch notifications of a browser on."""
    form = SubscriptionForm(request.POST)
    if not form.is_valid():
        error = "This browser could not be switched on. Try again."
        return redirect_with_notice(request, error, "notice-preferences")
    name = device_name(request.headers.get("User-Agent", ""))
    commands.add_browser(
        name=name,
        url=form.cleaned_data["endpoint"],
        keys=form.cleaned_data["keys"],
        actor=request.actor,
    )
    notice = f"Notifications are on: {name}."
    return redirect_with_notice(request, notice, "notice-preferences")


@require_POST
def remove_browser(request: DeskRequest, browser_id: int) -> HttpResponse:
    """Switch notifications of a browser off."""
    own = commands.browsers_of(request.actor).filter(pk=browser_id)
    one = first_or_404(own, "This browser is not switched on.")
    commands.remove_browser(one, actor=request.actor)
    notice = f"Notifications are off: {one.name}."
    return redirect_with_notice(request, notice, "notice-preferences")
