"""A person's Discord accounts: linking one by the link that it was given, and taking one off."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from common.pages import DeskRequest
from people.accounts.discord import accounts_of, link_account, read_offer, unlink_own
from people.directory.forms import AccountForm
from people.errors import LinkedElsewhere, LinkNotGood
from people.models import Person
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_safe
def own_discord(request: DeskRequest) -> HttpResponse:
    """List the person's own Discord accounts."""
    assert isinstance(request.user, Person)
    return render(request, "people/own_discord.html", {"accounts": accounts_of(request.user)})


@login_required
@require_POST
@reauthenticated
def unlink_discord(request: DeskRequest) -> HttpResponse:
    """Take one of the person's own Discord accounts off."""
    form = AccountForm(request.POST)
    if form.is_valid() and unlink_own(actor=request.actor, account_id=form.cleaned_data["account"]):
        messages.info(request, "Done: what comes from that Discord account is nobody's now.", extra_tags="desk")
    return redirect("own-discord")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def link_discord(request: DeskRequest, token: str) -> HttpResponse:
    """Ask whether the Discord account of a link is the person's, and link it when they say so."""
    return _link(request, token) if request.method == "POST" else _ask(request, token)


@reauthenticated
def _link(request: DeskRequest, token: str) -> HttpResponse:
    try:
        account = link_account(actor=request.actor, token=token)
    except LinkedElsewhere as error:
        return _ask(request, token, problem=error.sentence, status=409)
    except LinkNotGood as error:
        raise Http404(error.sentence) from None
    messages.info(request, f"Linked: what {account} does on Discord, you do.", extra_tags="desk")
    return redirect("own-discord")


def _ask(request: DeskRequest, token: str, *, problem: str = "", status: int = 200) -> HttpResponse:
    try:
        offer = read_offer(token)
    except LinkNotGood as error:
        raise Http404(error.sentence) from None
    return render(request, "people/link_discord.html", {"offer": offer, "problem": problem}, status=status)
