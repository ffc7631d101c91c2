"""The list of connections with the health of each, the page to add one, and the page
of one connection, with its keys and webhook and the views that rename, move, pause and
remove it and change its keys and secret.

Keys and secrets can be typed in, but no page ever shows them again.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any

from django import forms
from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals import tasks
from approvals.reconcile.check_again import connections_to_read, request_read
from approvals.tasks import read_connection
from common.actors import Actor, Role
from common.errors import SentenceError
from common.pages import (
    ChangeView,
    DeskRequest,
    DrawnForm,
    NotedChoice,
    View,
    cleaned,
    page_or_fragment,
    posted,
    redirect_with_notice,
    require_get_or_post,
    same_error,
)
from common.time_zones import day_and_time, time_of_day
from common.typed_secrets import posted_with_secrets, save_secrets
from connections.accounts import commands, own_webhook
from connections.accounts.commands import MAX_NAME, MAX_REASON
from connections.accounts.keys import (
    SLOTS,
    address_error,
    check_address,
    check_all,
    check_key,
    scope_error,
    shown_start,
)
from connections.accounts.own_webhook import OVERLAPS
from connections.changes import (
    AccountConnected,
    ConnectionNotChanged,
    NotReached,
    is_admin,
)
from connections.pages import ApprovalCodeForm, answer, get_visible_connection_or_404
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Message, WebhookEvent
from mirror.states import MessageState
from mirror.sync.health import Freshness, freshness_of
from mirror.tasks import read_account
from people.sign_in.reauthentication import reauthenticated
from upstream.capabilities import DOORS
from upstream.hosts import HOSTED

# Where MultiMail is: the built-in gateway, the hosted service, or another address.
OURS = "ours"
THERE = "hosted"
OTHER = "other"


class SecretField(forms.RegexField):
    """A key or secret without spaces. `word` is what error messages call it."""

    def __init__(self, *, word: str = "key", **options: Any) -> None:
        errors = {
            "invalid": f"This is not a complete {word}. A {word} is 8 to 200 characters without spaces.",
            "required": f"Enter the {word}.",
        }
        attrs = {
            "autocomplete": "new-password",
            "maxlength": 200,
            "spellcheck": "false",
        }
        super().__init__(
            r"\A[\x21-\x7e]{8,200}\Z",
            error_messages=errors,
            strip=True,
            widget=forms.PasswordInput(attrs),
            **options,
        )


def _slot_field(name: str, *, required: bool = False) -> SecretField:
    slot = SLOTS[name]
    label = f"{slot.label} key"
    note = slot.turns_on
    if not required:
        label += " (optional)"
        note += f" Without it {slot.without}"
    return SecretField(label=label, help_text=note, required=required)


def _name_field(label: str, **attrs: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=MAX_NAME,
        error_messages={"required": "Enter a name."},
        widget=forms.TextInput(attrs),
    )


def _places() -> list[tuple[str, str]]:
    ours = f"It runs with this desk at {settings.MULTIMAIL_API_URL}."
    elsewhere = "A gateway elsewhere. An operator first adds its address to the setting OUTGOING_ALLOW."
    return [
        (OURS, NotedChoice("Built-in gateway", ours)),
        (THERE, NotedChoice("Hosted MultiMail", f"An account at {HOSTED}.")),
        (OTHER, NotedChoice("Another address", elsewhere)),
    ]


class AddConnectionForm(DrawnForm):
    """A connection to add: where its MultiMail is, its name, and its keys."""

    place = forms.ChoiceField(
        label="Where is MultiMail?",
        choices=_places,
        initial=OURS,
        error_messages=same_error("Choose where MultiMail is."),
        widget=forms.RadioSelect,
    )
    address = forms.CharField(
        label="Address, if it is another one",
        required=False,
        max_length=200,
        widget=forms.URLInput(
            {"placeholder": "https://mail.yourteam.example", "autocomplete": "off"}
        ),
    )
    name = _name_field("Name", placeholder="Acme support", autocomplete="off")
    oversight_key = _slot_field("oversight", required=True)
    read_key = _slot_field("read")
    admin_key = _slot_field("admin")
    agent_key = _slot_field("agent")

    def clean(self) -> None:
        cleaned = self.cleaned_data
        place_chosen = cleaned.get("place", "")
        url_by_place = {OURS: settings.MULTIMAIL_API_URL, THERE: HOSTED}
        url = url_by_place.get(place_chosen, cleaned.get("address", "")).rstrip("/")
        wrong_field = "address" if place_chosen == OTHER else "place"
        if place_chosen == OTHER and not url:
            self.add_error(
                wrong_field, "Enter an address, such as https://mail.yourteam.example."
            )
        elif (
            place_chosen
            and "address" not in self.errors
            and (error := address_error(url))
        ):
            self.add_error(wrong_field, error)
        keys = {name: cleaned.get(slot.field, "") for name, slot in SLOTS.items()}
        typed_keys = list(filter(None, keys.values()))
        if len(set(typed_keys)) < len(typed_keys):
            self.add_error(
                None,
                "The same key was entered twice. Enter a different one in each field.",
            )
        if self.errors:
            return
        checks = check_all(api_url=url, keys=keys)
        for name, check in checks.items():
            if check.problem and check.is_certain:
                self.add_error(SLOTS[name].field, check.problem)
            elif check.problem:
                # MultiMail did not answer, so nothing is wrong with this key or the
                # next.
                self.add_error(wrong_field, check.problem)
                break
        cleaned.update(api_url=url, keys=keys, checks=checks)


class KeyForm(DrawnForm):
    """A key to put into a slot."""

    key = SecretField()


class NameForm(DrawnForm):
    """A connection's name."""

    name = _name_field("Name at this desk")


class AddressForm(DrawnForm):
    """A gateway's new address."""

    address = forms.CharField(
        max_length=200,
        widget=forms.URLInput({"autocomplete": "off"}),
        error_messages={
            "required": "Enter an address, such as https://mail.yourteam.example."
        },
    )

    def clean_address(self) -> str:
        """Return the address as it is stored: without a trailing slash."""
        url = str(self.cleaned_data["address"]).rstrip("/")
        if not re.fullmatch(r"https?://[^/?#@\s]+", url):
            raise forms.ValidationError(
                "This is not a valid address. It begins with https:// and has no path."
            )
        if error := address_error(url):
            raise forms.ValidationError(error)
        return url


class PauseForm(DrawnForm):
    """The reason to pause a connection."""

    reason = forms.CharField(
        max_length=MAX_REASON,
        error_messages={
            "required": "Enter a reason: others need to know why mail waits."
        },
    )


class OverlapForm(DrawnForm):
    """How long the old secret is accepted as well as the new one."""

    overlap = forms.ChoiceField(
        label="The old secret",
        choices=[(name, words) for name, (words, _) in OVERLAPS.items()],
        error_messages=same_error("Choose how long the old secret stays valid."),
    )


class SecretForm(OverlapForm):
    """A secret that MultiMail made, and how long the old one is accepted too."""

    secret = SecretField(word="secret", label="Secret shown by MultiMail")
    field_order = ("secret", "overlap")


class RemoveForm(DrawnForm):
    """The connection's name, typed as a confirmation."""

    name = forms.CharField(
        max_length=MAX_NAME,
        error_messages={"required": "Type its name to remove it."},
        widget=forms.TextInput({"autocomplete": "off"}),
    )


@dataclass(frozen=True)
class Health:
    """A connection's health as pages show it: a word, its colour, and what to do."""

    word: str
    tone: str
    advice: str = ""


def connections_page(
    request: DeskRequest, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show each account: its address and mailboxes, which keys it has, when it was last
    read, and what is wrong; and the error of a refused act.
    """
    actor = request.actor
    context = {
        "rows": connection_rows(actor),
        "error": error.sentence if error else "",
        "may_add": actor.is_admin_of_all,
        "removed": Connection.objects.removed()
        .visible_to(actor)
        .order_by("-removed_at"),
    }
    return page_or_fragment(
        request,
        page="connections/connections.html",
        fragment="connections/_connections.html",
        context=context,
        status=error.status if error else 200,
    )


connections = require_safe(connections_page)


@require_POST
def read_now(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Have a whole account read now instead of within half a minute."""
    visible = get_visible_connection_or_404(request, connection_id)
    try:
        connection = request_read(connection_id=visible.pk, actor=request.actor)
    except ActNotAllowed as error:
        return connections_page(request, error=error)
    notice = f"{connection} is being read. The result appears here in a moment."
    back = request.POST.get("back")
    if back == "connection":
        return redirect_with_notice(request, notice, back, connection_id=connection.pk)
    page = back if back == "attention" else "connections"
    return redirect_with_notice(request, notice, page)


def connection_rows(actor: Actor) -> list[dict[str, Any]]:
    """Return what the page shows about each connection that the actor may see."""
    visible = Connection.objects.at_work().visible_to(actor).order_by("name")
    return _rows_of(visible, actor)


def _rows_of(connections: Iterable[Connection], actor: Actor) -> list[dict[str, Any]]:
    """Return what pages show about these connections, without their keys."""
    now = timezone.now()
    readable = set(connections_to_read(actor).values_list("pk", flat=True))
    visible = WebhookEvent.objects.visible_to(actor)
    rows = []
    for connection in connections:
        freshness = freshness_of(connection, now=now)
        events = visible.filter(connection=connection)
        until = connection.previous_secret_until
        if not connection.previous_webhook_secret or (until and until <= now):
            until = None
        rows.append(
            {
                "connection": connection,
                "may_read": connection.pk in readable,
                "freshness": freshness,
                "since": connection.paused_at or connection.failing_since,
                "health": health_of(connection, freshness, now=now),
                "mailboxes": connection.mailboxes.visible_to(actor).order_by("address"),
                "keys": [
                    (slot.label, bool(getattr(connection, slot.field)), slot.turns_on)
                    for slot in SLOTS.values()
                ],
                "last_event": events.order_by("-pk").first(),
                "old_secret_until": until,
                "to_look_at": events.to_look_at().count(),
            }
        )
    return rows


def health_of(connection: Connection, freshness: Freshness, *, now: datetime) -> Health:
    """Return a connection's health. Before the first read, it does not count as
    healthy.
    """
    if connection.paused_by_hand:
        return Health(
            "Paused", "amber", "Decisions wait here until an admin resumes it."
        )
    if connection.paused_at:
        advice = "Enter a key that MultiMail accepts. The next successful read ends the pause."
        return Health("Paused", "rose", advice)
    if connection.wait_until and connection.wait_until > now:
        advice = f"MultiMail asked the desk to wait until {time_of_day(connection.wait_until)}."
        return Health("Waiting", "amber", advice)
    if freshness.as_of is None:
        advice = "It is read every half minute. If this does not change, check its address and oversight key."
        return Health("Not read yet", "amber", advice)
    if freshness.level == "green" and not connection.failing_since:
        return Health("Healthy", "green")
    word = "Late"
    advice = "The last complete read is too long ago. Check that a worker runs: ./run manage doctor."
    if connection.failing_since:
        word = "Failing"
        advice = "The desk tries again at least once a minute. Newer held mail may be missing here."
    if freshness.level == "red":
        return Health("Out of date", "rose", advice)
    return Health(word, "amber", advice)


@require_get_or_post
@reauthenticated
def add(request: DeskRequest) -> HttpResponse:
    """Show the form to add a connection, and add it. Nothing is saved before MultiMail
    has accepted the keys.
    """
    if not request.actor.is_admin_of_all:
        refusal = ActNotAllowed("Only an admin of everything can add connections.")
        return connections_page(request, error=refusal)
    form = AddConnectionForm(posted_with_secrets(request))
    if form.is_valid():
        typed = form.cleaned_data
        checks = typed["checks"]
        accounts = (check.account for check in checks.values() if check.account)
        try:
            added = commands.add_connection(
                actor=request.actor,
                name=typed["name"],
                api_url=typed["api_url"],
                keys=typed["keys"],
                scopes={name: check.scopes for name, check in checks.items()},
                is_our_gateway=typed["place"] == OURS,
                # The first key that gets to know it: hosted MultiMail tells an
                # oversight key nothing about the account.
                account=next(accounts, ""),
            )
        except AccountConnected as error:
            form.add_error("oversight_key", error.sentence)
        except ConnectionNotChanged as error:
            form.add_error("name", error.sentence)
        else:
            read_connection.delay_on_commit(added.pk)
            read_account.delay_on_commit(added.pk)
            notice = f"{added} is connected and being read. Register its webhook next."
            return redirect_with_notice(
                request, notice, "connection", connection_id=added.pk
            )
    save_secrets(request, form)
    status = 422 if form.errors else 200
    return render(
        request, "connections/connection_add.html", {"form": form}, status=status
    )


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
        "row": _rows_of([connection], actor)[0],
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
            "rotates": connection.upstream_webhook_id
            and connection.admin_key
            and connection.is_our_gateway,
        },
        "forms": forms,
        "may_change": is_admin(actor, connection),
        "may_remove": actor.is_admin_of_all,
        "section": section,
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
            posted_with_secrets(request) if name == section else None,
            initial={"name": connection.name, "address": connection.api_url},
            auto_id=f"{name}-%s",
        )
        if form_class is KeyForm:
            slot = SLOTS[name.removeprefix("key_")]
            form.fields["key"].label = f"{slot.label} key"
        if failed and name == section:
            # What was typed may be valid: MultiMail or a command has refused it.
            form.errors.clear()
            is_of_field = not isinstance(failed, NotReached)
            field = next(iter(form.fields)) if is_of_field else None
            form.add_error(field, failed.sentence)
            save_secrets(request, form)
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
        scopes = connection.key_scopes.get(name)
        rows.append(
            {
                "slot": slot,
                "is_there": bool(key),
                "is_removable": bool(key) and name != "oversight",
                "form": forms[f"key_{name}"],
                "start": shown_start(key),
                "scopes": scopes,
                "is_known": name in connection.key_scopes,
                # If the scopes are not known, there is no error.
                "error": scope_error(slot, scopes) if key else "",
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
    form = RemoveForm(posted(request))
    form.fields["name"].label = f"Type {connection} to remove it"
    if form.is_valid():
        name = form.cleaned_data["name"]
        try:
            commands.remove_connection(
                connection=connection, typed_name=name, actor=request.actor
            )
            to_do_by_hand = own_webhook.unregister(connection)
            notice = (
                f"{connection} was removed. Its history stays. {to_do_by_hand}".strip()
            )
            return redirect_with_notice(request, notice, "connections")
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
    key = cleaned(KeyForm(posted_with_secrets(request)))["key"]
    checked = check_key(
        api_url=connection.api_url,
        key=key,
        slot=SLOTS[slot],
        account=connection.account_id,
    )
    if checked.problem and not checked.is_certain:
        raise NotReached(checked.problem)
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
    ends = f" The old one is valid until {day_and_time(until)}." if until else ""
    return f"MultiMail has the new secret.{ends}"


@require_POST
@reauthenticated
@_changes("secret")
def take_secret(request: DeskRequest, connection: Connection) -> str:
    """Save a secret that MultiMail made and the admin copied from there."""
    typed = cleaned(SecretForm(posted_with_secrets(request)))
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
