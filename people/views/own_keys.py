"""The page on which a person moves their keys or switches them off."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from common.pages import DeskRequest
from people.accounts.shortcuts import GROUPS, KEYS, places_of
from people.forms import KeysForm
from people.liking import put_keys, switch_keys


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def own_keys(request: DeskRequest) -> HttpResponse:
    """Show where the person's keys are, move them, put them all back, or switch them off."""
    if request.method != "POST":
        return _page(request, places_of(request.user.key_map))  # type: ignore[union-attr]
    wanted = request.POST.get("do")
    if wanted in ("off", "on"):
        switch_keys(actor=request.actor, off=wanted == "off")
        return _done(request, f"Single keys are {wanted}.")
    if wanted == "reset":
        put_keys(actor=request.actor, places=places_of({}))
        return _done(request, "All keys are where they were.")
    form = KeysForm(request.POST)
    if not form.is_valid():
        return _page(request, {one.name: request.POST.get(one.name, "")[:10] for one in KEYS}, *form.first_error())
    put_keys(actor=request.actor, places=form.cleaned_data)
    return _done(request, "Your keys are saved.")


def _done(request: DeskRequest, said: str) -> HttpResponse:
    if request.htmx:
        return HttpResponse(status=204)
    messages.info(request, said, extra_tags="desk")
    return redirect("keys")


def _page(request: DeskRequest, places: dict[str, str], wrong: str = "", problem: str = "") -> HttpResponse:
    lines: list[dict[str, Any]] = [
        {"key": one, "place": places[one.name], "is_wrong": one.name == wrong} for one in KEYS
    ]
    context: dict[str, Any] = {
        "groups": [(group, [line for line in lines if line["key"].group == group]) for group in GROUPS],
        "problem": problem,
    }
    return render(request, "people/keys.html", context, status=422 if problem else 200)
