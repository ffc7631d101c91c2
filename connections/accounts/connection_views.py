"""The pages of one connection: its health, keys and webhook; renaming, moving, pausing
and removing it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import (
    require_POST,
    require_safe,
)

from approvals import tasks
from common.pages import (
    ChangeView,
    DeskRequest,
    View,
    redirect_with_notice,
    require_get_or_post,
)
from connections.accounts import commands, own_webhook
from connections.accounts.keys import (
    SLOTS,
    check_address,
    check_key,
    scope_error,
    shown_start,
)
from connections.accounts.views import (
    AddressForm,
    KeyForm,
    NameForm,
    OverlapForm,
    PauseForm,
    RemoveForm,
    SecretForm,
    rows_of,
)
from connections.changes import is_admin
from connections.errors import ConnectionNotChanged
from connections.pages import (
    CHANGE_ERRORS,
    ApprovalCodeForm,
    FormInvalid,
    answer,
    cleaned,
    get_visible_connection_or_404,
)
from mirror.errors import DeskError
from mirror.models import Connection, Message, WebhookEvent
from mirror.states import MessageState
from people.models import PendingChange
from people.sign_in.reauthentication import reauthenticated


@require_safe
def connection(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show one connection."""
    return _connection_page(
        request, get_visible_connection_or_404(request, connection_id)
    )


def _connection_page(
    request: DeskRequest,
    found: Connection,
    *,
    section: str = "",
    failed: DeskError | None = None,
    **more: Any,
) -> HttpResponse:
    """Render the page of a connection; what went wrong is shown in the `section` that
    it belongs to.
    """
    if failed is not None:
        # Some of the change may have been saved before it failed.
        found = Connection.objects.get(pk=found.pk)
    actor = request.actor
    context = {
        "one": found,
        "row": rows_of([found], actor, now=timezone.now())[0],
        "slots": _slots_of(found),
        # Never the secret of the webhook.
        "hook": {
            "address": own_webhook.address_of(found),
            "unreachable": own_webhook.unreachable_because(found),
            "events": WebhookEvent.objects.filter(connection=found).count(),
            "wanted": own_webhook.wanted_events(found),
            "is_open": own_webhook.is_open(found),
            "rotates": found.upstream_webhook_id
            and found.admin_key
            and found.is_our_gateway,
        },
        "overlaps": [
            (name, words) for name, (words, _) in own_webhook.OVERLAPS.items()
        ],
        "may_change": is_admin(actor, found),
        "may_remove": actor.is_admin_of_all,
        "waiting_changes": PendingChange.objects.visible_to(actor).at(
            "connection", found.pk
        ),
        "typed": request.POST,
        # Only a gateway's page has the address section; on other pages the error is
        # shown at the top.
        "section": section if found.is_our_gateway or section != "address" else "",
        "error": failed.sentence if failed else "",
        **more,
    }
    status = 422 if section else 200
    return answer(
        request, "connections/connection.html", context, status=status, failed=failed
    )


def _slots_of(found: Connection) -> list[dict[str, Any]]:
    """Return what the page shows of each slot, never the key itself."""
    rows = []
    for name, slot in SLOTS.items():
        key = getattr(found, slot.field)
        is_known = name in found.key_scopes
        scopes = found.key_scopes.get(name)
        # Scopes that are not known are no error.
        error = scope_error(slot, scopes) if key else ""
        tone = "green" if is_known else "amber"
        if error:
            tone = "rose"
        rows.append(
            {
                "slot": slot,
                "is_there": bool(key),
                "start": shown_start(key),
                "scopes": scopes,
                "is_known": is_known,
                "error": error,
                "tone": tone if key else "plain",
            }
        )
    return rows


def _changes(section: str) -> Callable[[ChangeView], View]:
    """Decorate a view that changes the connection of its URL and returns the notice to
    show.

    An error is shown in the `section` of the connection's page.
    """

    def decorate(view: ChangeView) -> View:
        @wraps(view)
        def changed(
            request: DeskRequest, connection_id: int, **rest: Any
        ) -> HttpResponse:
            found = get_visible_connection_or_404(request, connection_id)
            try:
                answered = view(request, found, **rest)
            except CHANGE_ERRORS as error:
                return _connection_page(
                    request, found, section=section.format(**rest), failed=error
                )
            if isinstance(answered, HttpResponse):
                return answered
            return redirect_with_notice(
                request, answered, "connection", connection_id=found.pk
            )

        return changed

    return decorate


@require_POST
@_changes("name")
def rename_connection(request: DeskRequest, found: Connection) -> str:
    """Rename the connection."""
    name = cleaned(NameForm(request.POST))["name"]
    commands.rename(connection=found, name=name, actor=request.actor)
    return f"Renamed to {name}."


@require_POST
@reauthenticated
@_changes("address")
def change_address(request: DeskRequest, found: Connection) -> str:
    """Change a gateway's address, after the same account has answered there."""
    # Check this before any key is sent there.
    commands.check_may_change(request.actor, found)
    url = cleaned(AddressForm(request.POST))["address"]
    account = check_address(connection=found, api_url=url)
    commands.set_address(
        connection=found, api_url=url, account=account, actor=request.actor
    )
    tasks.read_connection.delay_on_commit(found.pk)
    return f"{found} is now at {url} and being read."


@require_POST
@_changes("pause")
def pause(request: DeskRequest, found: Connection) -> str:
    """Pause the connection until somebody resumes it."""
    reason = cleaned(PauseForm(request.POST))["reason"]
    commands.pause_by_hand(connection=found, reason=reason, actor=request.actor)
    return f"{found} is paused. Decisions wait here."


@require_POST
@_changes("pause")
def resume(request: DeskRequest, found: Connection) -> str:
    """Resume the connection."""
    commands.resume(connection=found, actor=request.actor)
    tasks.read_connection.delay_on_commit(found.pk)
    return f"{found} is resumed. Decisions that are due are carried out now."


@require_get_or_post
@reauthenticated
@_changes("remove")
def remove(request: DeskRequest, found: Connection) -> HttpResponse:
    """Show what removing a connection means, and remove it after its name was typed."""
    commands.check_may_add(request.actor)
    error = ""
    if request.method == "POST":
        try:
            name = cleaned(RemoveForm(request.POST))["name"]
            commands.remove_connection(
                connection=found,
                typed_name=name,
                actor=request.actor,
                now=timezone.now(),
            )
            left = own_webhook.unregister(found)
            notice = f"{found} was removed. Its history stays. {left}".strip()
            return redirect_with_notice(request, notice, "connections")
        except (FormInvalid, ConnectionNotChanged) as refused:
            error = refused.sentence
    context = {
        "one": found,
        "hindrance": commands.removal_error(found),
        "waiting": Message.objects.real()
        .filter(connection=found, state=MessageState.HELD)
        .count(),
        "error": error,
        "typed": request.POST.get("name", ""),
    }
    status = 422 if error else 200
    return render(request, "connections/connection_remove.html", context, status=status)


@require_POST
@reauthenticated
@_changes("key-{slot}")
def set_key(request: DeskRequest, found: Connection, slot: str) -> str:
    """Put a key into a slot after MultiMail has confirmed its scopes, or remove one."""
    if slot not in SLOTS:
        raise Http404("A connection has no such key.")
    label = SLOTS[slot].label
    commands.check_may_change(request.actor, found)
    if request.POST.get("do") == "remove":
        commands.remove_key(connection=found, slot=slot, actor=request.actor)
        return f"The {label.lower()} key was removed."
    key = cleaned(KeyForm(request.POST))["key"]
    checked = check_key(
        api_url=found.api_url, key=key, slot=SLOTS[slot], account=found.account_id
    )
    if checked.problem:
        raise ConnectionNotChanged(checked.problem)
    commands.set_key(
        connection=found,
        slot=slot,
        key=key,
        scopes=checked.scopes,
        actor=request.actor,
    )
    if slot == "oversight":
        tasks.read_connection.delay_on_commit(found.pk)
    return f"MultiMail accepts the key. It is now the {label.lower()} key."


@require_POST
@reauthenticated
@_changes("hook")
def register(request: DeskRequest, found: Connection) -> str:
    """Register the desk's webhook at MultiMail."""
    code = cleaned(ApprovalCodeForm(request.POST))["approval_code"]
    own_webhook.register(connection=found, actor=request.actor, code=code)
    return "The webhook is registered. Send a test to check it."


@require_POST
@reauthenticated
@_changes("secret")
def rotate(request: DeskRequest, found: Connection) -> str:
    """Change the secret here and at our gateway, or finish an interrupted change."""
    _, overlap = own_webhook.OVERLAPS[cleaned(OverlapForm(request.POST))["overlap"]]
    until = own_webhook.rotate(
        connection=found, overlap=overlap, actor=request.actor
    ).previous_secret_until
    ends = f" The old one is valid until {until:%-d %b, %H:%M} UTC." if until else ""
    return f"MultiMail has the new secret.{ends}"


@require_POST
@reauthenticated
@_changes("secret")
def take_secret(request: DeskRequest, found: Connection) -> str:
    """Accept a secret that MultiMail made."""
    typed = cleaned(SecretForm(request.POST))
    _, overlap = own_webhook.OVERLAPS[typed["overlap"]]
    own_webhook.take_secret(
        connection=found,
        secret=typed["secret"],
        overlap=overlap,
        actor=request.actor,
    )
    return "The secret is saved."


@require_POST
@reauthenticated
@_changes("secret")
def end_old_secret(request: DeskRequest, found: Connection) -> str:
    """Stop accepting the old secret."""
    own_webhook.end_overlap(connection=found, actor=request.actor)
    return "The old secret is no longer valid."
