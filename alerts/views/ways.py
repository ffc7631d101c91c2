"""The pages of the ways in which the desk tells people something: their browsers, mail
after it came back, a test of each way, and the switch for what mails to people name.
"""

from django import forms
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from alerts.channels import channel_of
from alerts.channels.web_push import WebPush, endpoint_hash, public_key
from alerts.destinations import browsers as own
from alerts.destinations import commands
from common.desk_mail import own_domain
from common.pages import (
    DeskRequest,
    admin_or_403,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
)
from people.second_admin.setting import set_mail_subjects
from people.sign_in.reauthentication import reauthenticated
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
    rows = [(one, endpoint_hash(one.url)) for one in own.browsers_of(request.actor)]
    context = {"browsers": rows, "key": public_key()}
    return render(request, "alerts/_browsers.html", context)


@require_POST
def add_browser(request: DeskRequest) -> HttpResponse:
    """Switch notifications of a browser on."""
    form = SubscriptionForm(request.POST)
    if not form.is_valid():
        error = "This browser could not be switched on. Try again."
        return redirect_with_notice(request, error, "notice-preferences")
    name = device_name(request.headers.get("User-Agent", ""))
    own.add_browser(
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
    browsers = own.browsers_of(request.actor).filter(pk=browser_id)
    one = first_or_404(browsers, "This browser is not switched on.")
    own.remove_browser(one, actor=request.actor)
    notice = f"Notifications are off: {one.name}."
    return redirect_with_notice(request, notice, "notice-preferences")


@require_POST
def mail_me_again(request: DeskRequest) -> HttpResponse:
    """Mail the person again, for instance once their mailbox is mended."""
    commands.mail_again(request.actor)
    return redirect_with_notice(request, "You are mailed again.", "notice-preferences")


@require_get_or_post
def ways(request: DeskRequest) -> HttpResponse:
    """List each way to the person, and to admins of everything each destination, and
    send a test to the one whose button was pressed.
    """
    pressed = request.POST.get("way", "")
    rows = []
    result = None
    for way in commands.ways_of(request.actor):
        channel = channel_of(way.kind)
        row = {
            "way": way,
            "key": str(way.pk or way.kind),
            "channel": channel,
            "address": channel.address(way),
            "result": None,
        }
        if row["key"] == pressed:
            row["result"] = result = commands.test_way(way=way, actor=request.actor)
        rows.append(row)
    if request.method == "POST" and result is None:
        raise Http404("This way was removed in the meantime.")
    context = {"rows": rows, "domain": own_domain()}
    return render(request, "alerts/ways.html", context)


@require_POST
@reauthenticated
def set_subjects(request: DeskRequest) -> HttpResponse:
    """Set whether mails to people name the subjects of messages, and who sends them."""
    admin_or_403(request)
    on = request.POST.get("on") == "yes"
    set_mail_subjects(actor=request.actor, on=on)
    notice = f"Mails to people name {'subjects and senders' if on else 'neither'} now."
    return redirect_with_notice(request, notice, "alerts")
