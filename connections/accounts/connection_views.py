"""The pages of one connection: its health, keys and webhook; renaming, moving, pausing and removing it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from approvals import wake_ups
from common.forms import SentenceForm
from common.pages import DeskRequest
from connections.accounts import commands, own_webhook
from connections.accounts.forms import (
    AddressForm,
    KeyForm,
    NameForm,
    OverlapForm,
    PauseForm,
    RegisterForm,
    RemoveForm,
    SecretForm,
)
from connections.accounts.keys import SLOTS, check_address, check_key, problem_in, shown_start
from connections.accounts.views import row_of
from connections.errors import ConnectionNotChanged
from connections.pages import CHANGE_ERRORS, answer, get_visible_connection_or_404
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Connection, WebhookEvent
from people.actors import Actor
from people.sign_in.reauthentication import reauthenticated

_ONLY_ADMINS_REMOVE = "Only an admin of everything can add or remove connections."


@login_required
@require_safe
def connection(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show one connection."""
    return connection_page(request, get_visible_connection_or_404(request, connection_id))


def connection_page(
    request: DeskRequest,
    found: Connection,
    *,
    section: str = "",
    form: SentenceForm | None = None,
    failed: DeskError | None = None,
    problem: str = "",
    **more: Any,
) -> HttpResponse:
    """Render the page of a connection; what went wrong is shown in the `section` that it belongs to.

    `more` is what was typed, or what a check found.
    """
    if failed is not None:
        # Some of the change may have been saved before it failed.
        found = Connection.objects.get(pk=found.pk)
    problem = form.first_error() if form is not None else problem
    actor: Actor = request.actor
    context = {
        "one": found,
        "row": row_of(found, actor, now=timezone.now()),
        "slots": slots_of(found),
        "hook": webhook_of(found),
        "overlaps": [(name, words) for name, (words, _) in own_webhook.OVERLAPS.items()],
        "may_change": commands.may_change(actor, found),
        "may_remove": commands.may_add(actor),
        "typed": {},
        "section": section,
        "problem": problem,
        **more,
    }
    status = 422 if section or problem else 200
    return answer(request, "connections/connection.html", context, status=status, failed=failed)


def slots_of(found: Connection) -> list[dict[str, Any]]:
    """Return what the page shows of each key: never the key."""
    rows = []
    for name, slot in SLOTS.items():
        key, scopes = getattr(found, slot.field), found.key_scopes.get(name)
        is_known = name in found.key_scopes
        problem = problem_in(slot, scopes) if key and is_known else ""
        rows.append(
            {
                "slot": slot,
                "is_there": bool(key),
                "start": shown_start(key),
                "scopes": scopes,
                "is_known": is_known,
                "problem": problem,
                "tone": "plain" if not key else "rose" if problem else "green" if is_known else "amber",
            }
        )
    return rows


def webhook_of(found: Connection) -> dict[str, Any]:
    """Return what the page shows of the webhook: never the secret."""
    return {
        "address": own_webhook.address_of(found),
        "unreachable": own_webhook.unreachable_because(found),
        "events": WebhookEvent.objects.filter(connection=found).count(),
        "wanted": own_webhook.wanted_events(found),
        "is_open": own_webhook.is_open(found),
        "rotates": bool(found.upstream_webhook_id and found.admin_key and found.is_our_gateway),
    }


def _done(request: DeskRequest, found: Connection, notice: str) -> HttpResponse:
    messages.info(request, notice, extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_POST
def rename_connection(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Give it another name."""
    found, form = get_visible_connection_or_404(request, connection_id), NameForm(request.POST)
    if not form.is_valid():
        return connection_page(request, found, section="name", form=form, typed={"name": request.POST.get("name", "")})
    name = form.cleaned_data["name"]
    try:
        commands.rename(connection=found, name=name, actor=request.actor)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section="name", failed=error)
    return _done(request, found, f"It is called {name} now.")


@login_required
@require_POST
@reauthenticated
def change_address(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Ask a gateway at another address from now on, once the same account has answered there."""
    found, form = get_visible_connection_or_404(request, connection_id), AddressForm(request.POST)
    # Only a gateway has this section; elsewhere the error stands at the top of the page.
    section = "address" if found.is_our_gateway else ""
    typed = {"address": request.POST.get("address", "")[:200]}
    try:
        # Before its keys go anywhere.
        commands.check_may_change(request.actor, found)
        if not form.is_valid():
            return connection_page(request, found, section=section, form=form, typed=typed)
        url = form.cleaned_data["address"]
        problem, account = check_address(connection=found, api_url=url)
        if problem:
            return connection_page(request, found, section=section, problem=problem, typed=typed)
        commands.set_address(connection=found, api_url=url, account=account, actor=request.actor)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section=section, failed=error)
    wake_ups.read_connection(found)
    return _done(request, found, f"{found} is asked at {url} from now on, and is being read there.")


@login_required
@require_POST
def pause(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Carry out nothing through it until somebody lets it go on."""
    found, form = get_visible_connection_or_404(request, connection_id), PauseForm(request.POST)
    if not form.is_valid():
        typed = {"reason": request.POST.get("reason", "")}
        return connection_page(request, found, section="pause", form=form, typed=typed)
    try:
        commands.pause_by_hand(connection=found, reason=form.cleaned_data["reason"], actor=request.actor)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section="pause", failed=error)
    return _done(request, found, f"{found} is paused. What is decided waits here.")


@login_required
@require_POST
def resume(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Let it go on."""
    found = get_visible_connection_or_404(request, connection_id)
    try:
        commands.resume(connection=found, actor=request.actor)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section="pause", failed=error)
    wake_ups.read_connection(found)
    return _done(request, found, f"{found} goes on. What is due leaves now.")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def remove(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Say what removing a connection means, and remove it once its name was typed."""
    found = get_visible_connection_or_404(request, connection_id)
    if not commands.may_add(request.actor):
        return connection_page(request, found, section="remove", failed=ActNotAllowed(_ONLY_ADMINS_REMOVE))
    if request.method != "POST":
        return _removal_page(request, found)
    form = RemoveForm(request.POST)
    if not form.is_valid():
        return _removal_page(request, found, problem=form.first_error())
    typed = form.cleaned_data["name"]
    try:
        commands.remove_connection(connection=found, typed_name=typed, actor=request.actor, now=timezone.now())
    except ConnectionNotChanged as error:
        return _removal_page(request, found, problem=error.sentence, typed=typed)
    left = own_webhook.unregister(found)
    messages.info(request, f"{found} was removed. Its history stays. {left}".strip(), extra_tags="desk")
    return redirect("connections")


def _removal_page(request: DeskRequest, found: Connection, *, problem: str = "", typed: str = "") -> HttpResponse:
    context = {"one": found, "remains": commands.what_remains(found), "problem": problem, "typed": typed}
    return render(request, "connections/connection_remove.html", context, status=422 if problem else 200)


@login_required
@require_POST
@reauthenticated
def set_key(request: DeskRequest, connection_id: int, slot: str) -> HttpResponse:
    """Put a key into a slot, once MultiMail has said that it belongs there; or take one out."""
    found = get_visible_connection_or_404(request, connection_id)
    if slot not in SLOTS:
        raise Http404("A connection has no such place for a key.")
    section, label = f"key-{slot}", SLOTS[slot].label
    try:
        commands.check_may_change(request.actor, found)
        if request.POST.get("do") == "remove":
            commands.remove_key(connection=found, slot=slot, actor=request.actor)
            return _done(request, found, f"The key was taken out of {label}.")
        form = KeyForm(request.POST)
        if not form.is_valid():
            return connection_page(request, found, section=section, form=form)
        key = form.cleaned_data["key"]
        checked = check_key(api_url=found.api_url, key=key, slot=SLOTS[slot], account=found.account_id)
        if checked.problem:
            return connection_page(request, found, section=section, problem=checked.problem)
        actor, now = request.actor, timezone.now()
        commands.set_key(connection=found, slot=slot, key=key, scopes=checked.scopes, actor=actor, now=now)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section=section, failed=error)
    if slot == "oversight":
        wake_ups.read_connection(found)
    return _done(request, found, f"MultiMail takes the key. It stands in {label} now.")


@login_required
@require_POST
def check(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Ask MultiMail what each key may do."""
    found = get_visible_connection_or_404(request, connection_id)
    try:
        commands.check_may_change(request.actor, found)
        checks = commands.check_again(connection=found, actor=request.actor)
    except DeskError as error:
        return connection_page(request, found, section="keys", failed=error)
    if problems := {name: one.problem for name, one in checks.items() if one.problem}:
        found.refresh_from_db()
        return connection_page(request, found, section="keys", key_problems=problems)
    return _done(request, found, "MultiMail takes every key, and each is in its place.")


@login_required
@require_POST
@reauthenticated
def register(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Have MultiMail send its events here."""
    found, form = get_visible_connection_or_404(request, connection_id), RegisterForm(request.POST)
    if not form.is_valid():
        return connection_page(request, found, section="hook", form=form)
    code = form.cleaned_data["approval_code"]
    try:
        own_webhook.register(connection=found, actor=request.actor, approval_code=code)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section="hook", failed=error)
    return _done(request, found, "The webhook is registered. Send a test to see that it arrives.")


@login_required
@require_POST
def test(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Have a test sent, and say whether it arrived."""
    found = get_visible_connection_or_404(request, connection_id)
    try:
        result = own_webhook.test(connection=found, actor=request.actor)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section="hook", failed=error)
    if result.seconds is None:
        return connection_page(request, found, section="hook", problem=result.problem)
    return _done(request, found, f"The test arrived {result.seconds:.1f} s later, rightly signed.")


@login_required
@require_POST
@reauthenticated
def rotate(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Change the secret here and at our gateway, or finish a change that broke off."""
    found, form = get_visible_connection_or_404(request, connection_id), OverlapForm(request.POST)
    if not form.is_valid():
        return connection_page(request, found, section="secret", form=form)
    _, overlap = own_webhook.OVERLAPS[form.cleaned_data["overlap"]]
    try:
        changed = own_webhook.rotate(connection=found, overlap=overlap, actor=request.actor)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section="secret", failed=error)
    until = changed.previous_secret_until
    ends = f" The old one is taken until {until:%-d %b, %H:%M} UTC." if until else ""
    return _done(request, found, f"MultiMail has the new secret.{ends}")


@login_required
@require_POST
@reauthenticated
def take_secret(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Accept a secret that is put into MultiMail by hand. One that the desk makes is shown this one time."""
    found, form = get_visible_connection_or_404(request, connection_id), SecretForm(request.POST)
    if not form.is_valid():
        return connection_page(request, found, section="secret", form=form)
    typed = form.cleaned_data["secret"]
    secret = typed or commands.new_secret()
    _, overlap = own_webhook.OVERLAPS[form.cleaned_data["overlap"]]
    try:
        commands.check_may_change(request.actor, found)
        changed = own_webhook.take_secret(connection=found, secret=secret, overlap=overlap, actor=request.actor)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section="secret", failed=error)
    if not typed:
        return render(request, "connections/connection_secret.html", {"one": changed, "secret": secret})
    return _done(request, found, "The secret is taken from now on.")


@login_required
@require_POST
@reauthenticated
def end_old_secret(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Stop accepting the old secret."""
    found = get_visible_connection_or_404(request, connection_id)
    try:
        own_webhook.end_overlap(connection=found, actor=request.actor)
    except CHANGE_ERRORS as error:
        return connection_page(request, found, section="secret", failed=error)
    return _done(request, found, "The old secret is taken no more.")
