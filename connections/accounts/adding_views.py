"""Adding a connection: nothing is saved before MultiMail has taken its oversight key."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import NON_FIELD_ERRORS
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from approvals import wakeups
from common.pages import DeskRequest
from connections.accounts.adding import add_connection
from connections.accounts.checks import KeyCheck, check_all
from connections.accounts.forms import OURS, AddConnectionForm
from connections.accounts.key_slots import SLOTS
from connections.accounts.rights import may_add
from connections.accounts.views import connections_page
from connections.errors import AccountConnected, ConnectionNotChanged
from mirror.errors import ActNotAllowed
from people.sign_in.reauthentication import reauthenticated
from upstream.hosts import HOSTED


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def add(request: DeskRequest) -> HttpResponse:
    """Ask for what a connection needs, check it with MultiMail, and add it."""
    if not may_add(request.actor):
        return connections_page(request, status=403, problem="Only an admin of everything can add connections.")
    if request.method != "POST":
        return _answer(request, typed={"place": OURS})
    form = AddConnectionForm(request.POST)
    if not form.is_valid():
        return _answer(request, status=422, typed=form.kept(), problems=form.sentences())
    cleaned, keys = form.cleaned_data, form.keys_of(form.cleaned_data)
    checks = check_all(api_url=cleaned["api_url"], keys=keys)
    if problems := problems_in(checks):
        return _answer(request, status=422, typed=form.kept(), problems=problems)
    try:
        made = add_connection(
            actor=request.actor,
            name=cleaned["name"],
            api_url=cleaned["api_url"],
            keys=keys,
            scopes={name: check.scopes for name, check in checks.items()},
            is_our_gateway=cleaned["place"] == OURS,
            account=checks["oversight"].account,
            now=timezone.now(),
        )
    except AccountConnected as error:
        return _answer(request, status=422, typed=form.kept(), problems={"oversight_key": error.sentence})
    except ConnectionNotChanged as error:
        return _answer(request, status=422, typed=form.kept(), problems={"name": error.sentence})
    except ActNotAllowed as error:
        return connections_page(request, status=403, problem=error.sentence)
    wakeups.read_connection(made)
    wakeups.read_mailboxes(made)
    messages.info(request, f"{made} is connected, and is being read. Register its webhook next.", extra_tags="desk")
    return redirect("connection", connection_id=made.pk)


def problems_in(checks: dict[str, KeyCheck]) -> dict[str, str]:
    """Return what is wrong with the keys, by the field that each was typed into."""
    return {SLOTS[name].field: check.problem for name, check in checks.items() if check.problem}


def _answer(
    request: DeskRequest, *, typed: dict[str, str], status: int = 200, problems: dict[str, str] | None = None
) -> HttpResponse:
    said = problems or {}
    places = [
        ("ours", "Our gateway here", f"It came with this desk, and answers at {settings.MULTIMAIL_API_URL}."),
        ("hosted", "Hosted MultiMail", f"An account at {HOSTED}."),
        ("other", "Another address", "A gateway elsewhere, that OUTGOING_ALLOW names."),
    ]
    context = {
        "places": places,
        "slots": [(slot, said.get(slot.field, "")) for slot in SLOTS.values()],
        "problems": said,
        "problem": said.get(NON_FIELD_ERRORS, ""),
        "typed": typed,
    }
    return render(request, "approvals/connection_add.html", context, status=status)
