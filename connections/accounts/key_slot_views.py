"""The four keys of a connection: putting one in, taking one out, asking MultiMail about them again."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from approvals import wakeups
from common.pages import DeskRequest
from connections.accounts import changing, rights
from connections.accounts.checks import check_again, check_key
from connections.accounts.connection_views import failed, page
from connections.accounts.forms import KeyForm
from connections.accounts.key_slots import SLOTS
from connections.errors import ConnectionNotChanged
from connections.page_base import connection_seen
from mirror.errors import ActNotAllowed, DeskError
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_POST
@reauthenticated
def set_key(request: DeskRequest, connection_id: int, slot: str) -> HttpResponse:
    """Put a key into a slot, once MultiMail has said that it belongs there; or take one out."""
    found = connection_seen(request, connection_id)
    if slot not in SLOTS:
        raise Http404("A connection has no such place for a key.")
    section = f"key-{slot}"
    try:
        rights.check_may_change(request.actor, found)
        if request.POST.get("do") == "remove":
            changing.remove_key(connection=found, slot=slot, actor=request.actor)
            messages.info(request, f"The key was taken out of {SLOTS[slot].label}.", extra_tags="desk")
            return redirect("connection", connection_id=found.pk)
        form = KeyForm(request.POST)
        if not form.is_valid():
            return page(request, found, status=422, section=section, problem=form.sentences()["key"])
        key = form.cleaned_data["key"]
        check = check_key(api_url=found.api_url, key=key, slot=SLOTS[slot], account=found.account_id)
        if check.problem:
            return page(request, found, status=422, section=section, problem=check.problem)
        actor, now = request.actor, timezone.now()
        changing.set_key(connection=found, slot=slot, key=key, scopes=check.scopes, actor=actor, now=now)
    except (ActNotAllowed, ConnectionNotChanged) as error:
        return failed(request, found, error, section=section)
    if slot == "oversight":
        wakeups.read_connection(found)
    messages.info(request, f"MultiMail takes the key. It stands in {SLOTS[slot].label} now.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_POST
def check(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Ask MultiMail what each key may do."""
    found = connection_seen(request, connection_id)
    try:
        rights.check_may_change(request.actor, found)
        checks = check_again(connection=found, actor=request.actor)
    except DeskError as error:
        return failed(request, found, error, section="keys")
    problems = {name: check.problem for name, check in checks.items() if check.problem}
    if problems:
        found.refresh_from_db()
        return page(request, found, status=422, section="keys", key_problems=problems)
    messages.info(request, "MultiMail takes every key, and each is in its place.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)
