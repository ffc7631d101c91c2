"""The pages of connections: the list, adding one, and one with its health, keys, webhook, pause and removal."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import NON_FIELD_ERRORS
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from approvals import wake_ups
from approvals.intake import senders
from approvals.reconcile.ask_again import read_again, readable_by
from common.forms import SentenceForm
from common.pages import DeskRequest, page_or_fragment
from connections.accounts import commands, own_webhook
from connections.accounts.forms import (
    OURS,
    AddConnectionForm,
    AddressForm,
    KeyForm,
    NameForm,
    OverlapForm,
    PauseForm,
    RegisterForm,
    RemoveForm,
    SecretForm,
)
from connections.accounts.keys import SLOTS, KeyCheck, check_address, check_all, check_key, problem_in, shown_start
from connections.errors import AccountConnected, ConnectionNotChanged
from connections.pages import CHANGE_ERRORS, answer, get_visible_connection_or_404
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Connection, WebhookEvent
from mirror.sync.health import Freshness, freshness_of
from people.actors import Actor
from people.sign_in.reauthentication import reauthenticated
from upstream.hosts import HOSTED

_ONLY_ADMINS_REMOVE = "Only an admin of everything can add or remove connections."


@dataclass(frozen=True)
class Health:
    """How a connection is: a word, its tone, and what to do about it where anything is to do."""

    word: str
    tone: str
    advice: str = ""


@login_required
@require_safe
def connections(request: DeskRequest) -> HttpResponse:
    """Show each account: its address, mailboxes, which keys it has, when it was last read, and what is wrong."""
    return connections_page(request)


def connections_page(request: DeskRequest, *, status: int = 200, problem: str = "") -> HttpResponse:
    """Render the list of connections, with what went wrong where anything did."""
    actor: Actor = request.actor
    context = {
        "rows": connection_rows(actor, now=timezone.now()),
        "problem": problem,
        "may_add": commands.may_add(actor),
        "removed": Connection.objects.removed().visible_to(actor).order_by("-removed_at"),
    }
    page, fragment = "approvals/connections.html", "approvals/_connections.html"
    return page_or_fragment(request, page=page, fragment=fragment, context=context, status=status)


@login_required
@require_POST
def read_now(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Have a whole account read now instead of in half a minute."""
    found = get_visible_connection_or_404(request, connection_id)
    try:
        connection = read_again(connection_id=found.pk, actor=request.actor)
    except ActNotAllowed as error:
        return connections_page(request, status=403, problem=error.sentence)
    wake_ups.read_connection(connection)
    messages.info(request, f"{connection} is being read; what comes of it stands here in a moment.", extra_tags="desk")
    back = request.POST.get("back")
    if back == "connection":
        return redirect("connection", connection_id=connection.pk)
    return redirect("attention" if back == "attention" else "connections")


def connection_rows(actor: Actor, *, now: datetime) -> list[dict[str, Any]]:
    """Return what the page shows of each account the actor has a role for; no key ever leaves this function."""
    found = list(Connection.objects.at_work().visible_to(actor).order_by("name"))
    readable = set(readable_by(actor).values_list("pk", flat=True))
    forged = senders.unsigned_lately(connection.pk for connection in found)
    return [_row(one, actor, now, may_read=one.pk in readable, forged=forged.get(one.pk, 0)) for one in found]


def row_of(connection: Connection, actor: Actor, *, now: datetime) -> dict[str, Any]:
    """Return the same of one connection."""
    may_read = readable_by(actor).filter(pk=connection.pk).exists()
    forged = senders.unsigned_lately([connection.pk]).get(connection.pk, 0)
    return _row(connection, actor, now, may_read=may_read, forged=forged)


def _row(connection: Connection, actor: Actor, now: datetime, *, may_read: bool, forged: int) -> dict[str, Any]:
    events, freshness = WebhookEvent.objects.visible_to(actor), freshness_of(connection, now=now)
    return {
        "connection": connection,
        "may_read": may_read,
        "freshness": freshness,
        "since": connection.paused_at or connection.failing_since,
        "health": health_of(connection, freshness, now=now),
        "mailboxes": connection.mailboxes.visible_to(actor).order_by("address"),
        "keys": [(slot.label, bool(getattr(connection, slot.field)), slot.turns_on) for slot in SLOTS.values()],
        "last_event": events.filter(connection=connection).order_by("-pk").first(),
        "old_secret_until": _old_secret_until(connection, now),
        "unsigned": forged,
        "to_look_at": events.to_look_at().filter(connection=connection).count(),
    }


def health_of(connection: Connection, freshness: Freshness, *, now: datetime) -> Health:
    """Return how a connection is, in words: never well while it was not read."""
    if connection.paused_by_hand:
        return Health("Paused", "amber", "What is decided stays recorded here until an admin lets it go on.")
    if connection.paused_at:
        return Health("Paused", "rose", "Put in a key that MultiMail takes. A read that works ends the pause.")
    if connection.wait_until and connection.wait_until > now:
        return Health("Waits", "amber", f"MultiMail asked to be left alone until {connection.wait_until:%H:%M:%S} UTC.")
    if freshness.as_of is None:
        advice = "It is read every half minute. If that does not come to pass, look at its address and oversight key."
        return Health("Not read yet", "amber", advice)
    tone = "rose" if freshness.level == "red" else "amber"
    if connection.failing_since:
        advice = "It is tried again by itself, once a minute at least. What MultiMail holds since may be missing here."
        return Health("Out of date" if freshness.level == "red" else "Failing", tone, advice)
    if freshness.level != "green":
        advice = "No read has come to its end since. See whether a worker runs: ./run manage doctor."
        return Health("Out of date" if freshness.level == "red" else "Late", tone, advice)
    return Health("Well", "green")


def _old_secret_until(connection: Connection, now: datetime) -> datetime | None:
    until = connection.previous_secret_until
    return until if connection.previous_webhook_secret and until and until > now else None


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def add(request: DeskRequest) -> HttpResponse:
    """Add a connection. Nothing is saved before MultiMail has accepted its keys."""
    if not commands.may_add(request.actor):
        return connections_page(request, status=403, problem="Only an admin of everything can add connections.")
    if request.method != "POST":
        return _add_page(request, typed={"place": OURS})
    form = AddConnectionForm(request.POST)
    if not form.is_valid():
        return _add_page(request, typed=form.kept(), errors=form.errors_by_field())
    cleaned, keys = form.cleaned_data, form.keys_of(form.cleaned_data)
    checks = check_all(api_url=cleaned["api_url"], keys=keys)
    if errors := problems_in(checks):
        return _add_page(request, typed=form.kept(), errors=errors)
    try:
        added = commands.add_connection(
            actor=request.actor,
            name=cleaned["name"],
            api_url=cleaned["api_url"],
            keys=keys,
            scopes={name: check.scopes for name, check in checks.items()},
            is_our_gateway=cleaned["place"] == OURS,
            account=checks["oversight"].account,
            now=timezone.now(),
        )
    except ConnectionNotChanged as error:
        field = "oversight_key" if isinstance(error, AccountConnected) else "name"
        return _add_page(request, typed=form.kept(), errors={field: error.sentence})
    except ActNotAllowed as error:
        return connections_page(request, status=403, problem=error.sentence)
    wake_ups.read_connection(added)
    wake_ups.read_mailboxes(added)
    return _done(request, added, f"{added} is connected, and is being read. Register its webhook next.")


def problems_in(checks: dict[str, KeyCheck]) -> dict[str, str]:
    """Return what is wrong with the keys, by the field that each was typed into."""
    return {SLOTS[name].field: check.problem for name, check in checks.items() if check.problem}


def _add_page(request: DeskRequest, *, typed: dict[str, str], errors: dict[str, str] | None = None) -> HttpResponse:
    errors = errors or {}
    places = [
        ("ours", "Our gateway here", f"It came with this desk, and answers at {settings.MULTIMAIL_API_URL}."),
        ("hosted", "Hosted MultiMail", f"An account at {HOSTED}."),
        ("other", "Another address", "A gateway elsewhere, that OUTGOING_ALLOW names."),
    ]
    context = {
        "places": places,
        "slots": [(slot, errors.get(slot.field, "")) for slot in SLOTS.values()],
        "problems": errors,
        "problem": errors.get(NON_FIELD_ERRORS, ""),
        "typed": typed,
    }
    return render(request, "approvals/connection_add.html", context, status=422 if errors else 200)


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
    return answer(request, "approvals/connection.html", context, status=status, failed=failed)


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
    return render(request, "approvals/connection_remove.html", context, status=422 if problem else 200)


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
        return render(request, "approvals/connection_secret.html", {"one": changed, "secret": secret})
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
