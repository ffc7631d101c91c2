"""The page of one connection, with its health, keys and webhook, and the views that
rename, move, pause and remove it and change its keys and secret.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals import tasks
from common.actors import Role
from common.drawn_forms import DrawnForm
from common.errors import SentenceError
from common.pages import (
    ChangeView,
    DeskRequest,
    FormInvalid,
    View,
    cleaned,
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
    ApprovalCodeForm,
    answer,
    get_visible_connection_or_404,
)
from mirror.models import Connection, Message, WebhookEvent
from mirror.states import MessageState
from people.sign_in.reauthentication import reauthenticated
from upstream.capabilities import DOORS


@require_safe
def connection(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show the page of a connection."""
    return _connection_page(
        request, get_visible_connection_or_404(request, connection_id)
    )


def _connection_page(
    request: DeskRequest,
    connection: Connection,
    *,
    section: str = "",
    failed: SentenceError | None = None,
) -> HttpResponse:
    """Render the page of a connection. If a change `failed`, the error is shown in the
    `section` of that change.
    """
    if failed is not None:
        # Some of the change may have been saved before it failed.
        connection = Connection.objects.get(pk=connection.pk)
    actor = request.actor
    forms = _forms(request, connection, section, failed)
    context = {
        "one": connection,
        "row": rows_of([connection], actor, now=timezone.now())[0],
        "slots": _slots_of(connection, forms),
        "doors": [
            (words, effect, connection.doors.get(kind))
            for kind, (words, effect) in DOORS.items()
        ],
        "is_auditor": actor.is_a(Role.AUDITOR, connection=connection.pk, mailbox=None),
        # Never the secret of the webhook.
        "hook": {
            "address": own_webhook.address_of(connection),
            "unreachable": own_webhook.unreachable_because(connection),
            "events": WebhookEvent.objects.filter(connection=connection).count(),
            "wanted": own_webhook.wanted_events(connection),
            "is_open": own_webhook.is_open(connection),
            "rotate_act": "Finish the change"
            if own_webhook.is_open(connection)
            else "Change the secret",
            "rotates": connection.upstream_webhook_id
            and connection.admin_key
            and connection.is_our_gateway,
        },
        "forms": forms,
        "may_change": is_admin(actor, connection),
        "may_remove": actor.is_admin_of_all,
        # Only a gateway's page has the address section; on other pages the error is
        # shown at the top.
        "section": section if connection.is_our_gateway or section != "address" else "",
        "error": failed.sentence if failed else "",
    }
    return answer(request, "connections/connection.html", context, failed=failed)


def _forms(
    request: DeskRequest,
    connection: Connection,
    section: str,
    failed: SentenceError | None,
) -> dict[str, DrawnForm]:
    """Return the forms of the page by their sections. The form of a change that
    `failed` shows what was typed, and the error.
    """
    form_by_section: dict[str, type[DrawnForm]] = {
        "name": NameForm,
        "address": AddressForm,
        "pause": PauseForm,
        "rotate": OverlapForm,
        "secret": SecretForm,
    }
    form_by_section |= {f"key_{name}": KeyForm for name in SLOTS}
    forms: dict[str, DrawnForm] = {}
    for name, form_class in form_by_section.items():
        form = form_class(
            request.POST if name == section else None,
            initial={"name": connection.name, "address": connection.api_url},
            auto_id=f"{name}-%s",
        )
        if form_class is KeyForm:
            slot = SLOTS[name.removeprefix("key_")]
            form.fields["key"].label = f"{slot.label} key"
        if failed and name == section:
            # What was typed may be valid: MultiMail or a command has refused it.
            form.errors.clear()
            form.add_error(next(iter(form.fields)), failed.sentence)
        forms[name] = form
    forms["hook"] = ApprovalCodeForm(auto_id="hook-%s")
    return forms


def _slots_of(
    connection: Connection, forms: dict[str, DrawnForm]
) -> list[dict[str, Any]]:
    """Return what the page shows about each slot for a key, never the key itself."""
    rows = []
    for name, slot in SLOTS.items():
        key = getattr(connection, slot.field)
        is_known = name in connection.key_scopes
        scopes = connection.key_scopes.get(name)
        # If the scopes are not known, there is no error.
        error = scope_error(slot, scopes) if key else ""
        tone = "green" if is_known else "amber"
        if error:
            tone = "rose"
        rows.append(
            {
                "slot": slot,
                "is_there": bool(key),
                "is_removable": bool(key) and name != "oversight",
                "form": forms[f"key_{name}"],
                "start": shown_start(key),
                "scopes": scopes,
                "is_known": is_known,
                "error": error,
                "tone": tone if key else "plain",
            }
        )
    return rows


def _changes(section: str) -> Callable[[ChangeView], View]:
    """Return a decorator for views that change a connection. The view gets the
    connection of its URL, and returns the notice to show.

    If the change fails, the error is shown in this `section` of the connection's page.
    """

    def decorate(view: ChangeView) -> View:
        @wraps(view)
        def changed(
            request: DeskRequest, connection_id: int, **rest: Any
        ) -> HttpResponse:
            connection = get_visible_connection_or_404(request, connection_id)
            try:
                outcome = view(request, connection, **rest)
            except SentenceError as error:
                return _connection_page(
                    request, connection, section=section.format(**rest), failed=error
                )
            if isinstance(outcome, HttpResponse):
                return outcome
            return redirect_with_notice(
                request, outcome, "connection", connection_id=connection.pk
            )

        return changed

    return decorate


@require_POST
@_changes("name")
def rename_connection(request: DeskRequest, connection: Connection) -> str:
    """Rename the connection."""
    name = cleaned(NameForm(request.POST))["name"]
    commands.rename(connection=connection, name=name, actor=request.actor)
    return f"Renamed to {name}."


@require_POST
@reauthenticated
@_changes("address")
def change_address(request: DeskRequest, connection: Connection) -> str:
    """Change a gateway's address, after the same account has answered there."""
    # Before check_address sends the keys to the new address.
    commands.check_may_change(request.actor, connection)
    url = cleaned(AddressForm(request.POST))["address"]
    account = check_address(connection=connection, api_url=url)
    commands.set_address(
        connection=connection, api_url=url, account=account, actor=request.actor
    )
    tasks.read_connection.delay_on_commit(connection.pk)
    return f"{connection} is now at {url} and being read."


@require_POST
@_changes("pause")
def pause(request: DeskRequest, connection: Connection) -> str:
    """Pause the connection until somebody resumes it."""
    reason = cleaned(PauseForm(request.POST))["reason"]
    commands.pause_by_hand(connection=connection, reason=reason, actor=request.actor)
    return f"{connection} is paused. Decisions wait here."


@require_POST
@_changes("pause")
def resume(request: DeskRequest, connection: Connection) -> str:
    """Resume the connection."""
    commands.resume(connection=connection, actor=request.actor)
    tasks.read_connection.delay_on_commit(connection.pk)
    return f"{connection} is resumed. Decisions that are due are carried out now."


@require_get_or_post
@reauthenticated
@_changes("remove")
def remove(request: DeskRequest, connection: Connection) -> HttpResponse:
    """Show what it means to remove the connection. Remove it when its name is typed."""
    commands.check_may_add(request.actor)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    form.fields["name"].label = f"Type {connection} to remove it"
    if form.is_bound:
        try:
            name = cleaned(form)["name"]
            commands.remove_connection(
                connection=connection,
                typed_name=name,
                actor=request.actor,
                now=timezone.now(),
            )
            to_do_by_hand = own_webhook.unregister(connection)
            notice = (
                f"{connection} was removed. Its history stays. {to_do_by_hand}".strip()
            )
            return redirect_with_notice(request, notice, "connections")
        except FormInvalid:
            pass
        except ConnectionNotChanged as refused:
            form.add_error("name", f"{refused.sentence} Nothing was changed.")
    context = {
        "one": connection,
        "hindrance": commands.removal_error(connection),
        "waiting": Message.objects.filter(
            connection=connection, state=MessageState.HELD
        ).count(),
        "form": form,
    }
    status = 422 if form.errors else 200
    return render(request, "connections/connection_remove.html", context, status=status)


@require_POST
@reauthenticated
@_changes("key_{slot}")
def set_key(request: DeskRequest, connection: Connection, slot: str) -> str:
    """Put a key into a slot after MultiMail has accepted it, or remove the key."""
    if slot not in SLOTS:
        raise Http404("A connection has no such key.")
    label = SLOTS[slot].label
    commands.check_may_change(request.actor, connection)
    if request.POST.get("do") == "remove":
        commands.remove_key(connection=connection, slot=slot, actor=request.actor)
        return f"The {label.lower()} key was removed."
    key = cleaned(KeyForm(request.POST))["key"]
    checked = check_key(
        api_url=connection.api_url,
        key=key,
        slot=SLOTS[slot],
        account=connection.account_id,
    )
    if checked.problem:
        raise ConnectionNotChanged(checked.problem)
    commands.set_key(
        connection=connection,
        slot=slot,
        key=key,
        scopes=checked.scopes,
        account=checked.account,
        actor=request.actor,
    )
    if slot == "oversight":
        tasks.read_connection.delay_on_commit(connection.pk)
    return f"MultiMail accepts the key. It is now the {label.lower()} key."


@require_POST
@reauthenticated
@_changes("hook")
def register(request: DeskRequest, connection: Connection) -> str:
    """Register the desk's webhook at MultiMail."""
    code = cleaned(ApprovalCodeForm(request.POST))["approval_code"]
    own_webhook.register(connection=connection, actor=request.actor, code=code)
    return "The webhook is registered. Send a test to check it."


@require_POST
@reauthenticated
@_changes("rotate")
def rotate(request: DeskRequest, connection: Connection) -> str:
    """Change the secret here and at our gateway, or finish an interrupted change."""
    _, overlap = own_webhook.OVERLAPS[cleaned(OverlapForm(request.POST))["overlap"]]
    until = own_webhook.rotate(
        connection=connection, overlap=overlap, actor=request.actor
    ).previous_secret_until
    ends = f" The old one is valid until {until:%-d %b, %H:%M} UTC." if until else ""
    return f"MultiMail has the new secret.{ends}"


@require_POST
@reauthenticated
@_changes("secret")
def take_secret(request: DeskRequest, connection: Connection) -> str:
    """Save a secret that MultiMail made and the admin copied from there."""
    typed = cleaned(SecretForm(request.POST))
    _, overlap = own_webhook.OVERLAPS[typed["overlap"]]
    own_webhook.take_secret(
        connection=connection,
        secret=typed["secret"],
        overlap=overlap,
        actor=request.actor,
    )
    return "The secret is saved."


@require_POST
@reauthenticated
@_changes("end-old")
def end_old_secret(request: DeskRequest, connection: Connection) -> str:
    """Stop accepting the old secret."""
    own_webhook.end_overlap(connection=connection, actor=request.actor)
    return "The old secret is no longer valid."
