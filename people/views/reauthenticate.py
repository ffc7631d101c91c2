"""Confirming who one is, and going on with what was posted before that was asked."""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import record_authentication
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from common.pages import DeskRequest
from people.accounts.forms import ConfirmForm
from people.accounts.profile import note_failed_confirmation
from people.sign_in.limits import limited
from people.sign_in.reauthentication import ask_first, forget_kept, has_just_proved, has_kept, own_address, take_kept


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@limited("reauthenticate")
def reauthenticate(request: DeskRequest) -> HttpResponse:
    """Ask for the password once more; whoever has none is led to another way."""
    wanted = own_address(request, request.POST.get("next") or request.GET.get("next", ""))
    back = own_address(request, request.POST.get("back") or request.GET.get("back", ""))
    person: Any = request.user
    ways = get_adapter().get_reauthentication_methods(person)
    others = [
        {**way, "url": f"{way['url']}?{urlencode({'next': wanted})}"} for way in ways if way["url"] != request.path
    ]
    if not person.has_usable_password():
        return redirect(others[0]["url"]) if others else _without_a_way(request, back)
    form = ConfirmForm(request.POST or None, person=person)
    if request.method == "POST" and form.is_valid():
        # Notes it in the ledger too, and gives the session another id (people.sign_in.events).
        record_authentication(request, person, method="password", reauthenticated=True)
        return redirect(wanted)
    if request.method == "POST":
        note_failed_confirmation(actor=request.actor)
    context: dict[str, Any] = {
        "form": form,
        "reauthentication_alternatives": others,
        "redirect_field_name": "next",
        "redirect_field_value": wanted,
        "back": back,
        "has_kept": has_kept(request),
    }
    return render(request, "account/reauthenticate.html", context, status=422 if request.method == "POST" else 200)


def _without_a_way(request: DeskRequest, back: str) -> HttpResponse:
    forget_kept(request)
    return render(request, "account/no_proof.html", {"back": back}, status=403)


@login_required
@require_safe
def go_on(request: DeskRequest) -> HttpResponse:
    """Let the browser post once more what was kept, to its own address. Opening this page does nothing by itself."""
    if not has_just_proved(request):
        return ask_first(request)
    kept = take_kept(request)
    return render(request, "account/go_on.html", {"kept": kept}) if kept else redirect("queue")
