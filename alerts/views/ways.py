"""The page that tests each way in which the desk tells people something, and the switch
for what mails to people name.
"""

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from alerts.channels import channel_of
from alerts.destinations import commands
from common.pages import (
    DeskRequest,
    admin_or_403,
    redirect_with_notice,
    require_get_or_post,
)
from people.second_admin.setting import set_mail_subjects
from people.sign_in.reauthentication import reauthenticated


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
    return render(request, "alerts/ways.html", {"rows": rows})


@require_POST
@reauthenticated
def set_subjects(request: DeskRequest) -> HttpResponse:
    """Set whether mails to people name the subjects of messages, and who sends them."""
    admin_or_403(request)
    on = request.POST.get("on") == "yes"
    set_mail_subjects(actor=request.actor, on=on)
    notice = f"Mails to people name {'subjects and senders' if on else 'neither'} now."
    return redirect_with_notice(request, notice, "alerts")
