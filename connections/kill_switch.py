"""The page of the kill switch: what is stopped, by whom and why, with the forms to pull
and release it, which our own gateways are told. It also switches "hold all" of our own
gateway on and off.

`policy.kill_switch` has the commands of the switch, and says what it stops. Holding all
is recorded before the gateway is called, because a failed call may have had its effect.
"""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor, Role
from common.errors import SentenceError
from common.pages import (
    ChoicesForm,
    DeskRequest,
    DrawnForm,
    MultilineField,
    answer,
    changes,
    cleaned,
    first_or_404,
)
from connections.changes import (
    CHANGE_SECONDS,
    READ_SECONDS,
    ChangeRefused,
    ChangeUnknown,
    admin_client,
    is_admin,
    record_change,
)
from connections.pages import get_visible_connection_or_404
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.kill_switch import may_pull, pull, release, tell_gateway, to_tell
from policy.models import KillSwitch
from upstream import errors


@dataclass(frozen=True)
class HoldAll:
    """Whether the gateway holds all mail: it then sends nothing without a new approval.
    `is_on` is None if that is not known; `error` says why.
    """

    is_on: bool | None
    error: str = ""

    @property
    def why_not(self) -> str:
        """What the page says if this is not what was asked for."""
        return f"Not confirmed: {self.error or 'nothing has changed yet.'}"


def can_hold_all(connection: Connection) -> bool:
    """Whether "hold all" can be used: only our own gateway supports it, and only with
    an admin key.
    """
    return connection.is_our_gateway and bool(connection.admin_key)


def read_hold_all(connection: Connection) -> HoldAll:
    """Ask the gateway whether it holds all mail."""
    try:
        return _read(admin_client(connection).account(within=READ_SECONDS))
    except errors.UpstreamError as error:
        return HoldAll(None, error.sentence)


@second_admin("Hold all mail", calls_multimail=True)
def hold_all(*, connection: Connection, on: bool, actor: Actor) -> CanWait[HoldAll]:
    """Make the gateway hold all mail that is not approved from now on, or end that.
    Return the new state.

    It yields the change in words: if a second admin must accept it, the call ends
    there. Raises ActNotAllowed unless the actor is an admin of the connection and its
    gateway supports this. Raises ChangeUnknown if a second admin accepted the change
    and the gateway does not confirm it.
    """
    if not is_admin(actor, connection):
        raise ActNotAllowed(
            "Only an admin of this connection can hold all of its mail."
        )
    if not can_hold_all(connection):
        raise ActNotAllowed(
            f"{connection} has no admin key, or is not a gateway of this product."
        )
    yield lambda: ChangeInWords(
        title=f"Stop holding all mail at the gateway of {connection}",
        before="nothing leaves without a new approval",
        after="mail leaves as its mailbox says",
        page=reverse("stop"),
        connection=connection.pk,
        tightens=on,
    )
    record_change(f"connection.hold_all_{'on' if on else 'off'}", connection, actor)
    try:
        result = _read(admin_client(connection).hold_all(on=on, within=CHANGE_SECONDS))
    except errors.UpstreamError as error:
        result = HoldAll(None, error.sentence)
    if result.is_on is not on:
        record_change(
            "connection.hold_all_failed", connection, actor, explanation=result.error
        )
        if actor.second:
            raise ChangeUnknown(result.why_not)
    return result


# Reads the state of "hold all" from MultiMail's answer about the account.
def _read(account: dict[str, object]) -> HoldAll:
    is_on = account.get("hold_all")
    if isinstance(is_on, bool):
        return HoldAll(is_on)
    # The gateway wants an operator's code first, or this key may not read the account.
    message = account.get("message") or account.get("error")
    message = message or "The gateway did not report whether it holds all mail."
    return HoldAll(None, str(message)[:300])


class StopForm(DrawnForm, ChoicesForm):
    """What the kill switch stops, and why. Everybody sees the reason until it is
    released.
    """

    scope = forms.ChoiceField(
        label="What to stop",
        error_messages={
            "required": "Choose what to stop.",
            "invalid_choice": "You cannot stop that.",
        },
    )
    reason = MultilineField(
        help_text="Shown to everybody on every page until it is released, and kept in the ledger.",
        max_length=1000,
        widget=forms.Textarea({"rows": 3}),
        error_messages={
            "required": "Enter a reason: others need to know why mail is stopped."
        },
    )


def _page(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show what is stopped, what can be stopped, and what no switch stops."""
    actor = request.actor
    switches = list(KillSwitch.objects.visible_to(actor))
    stopped = [(switch.connection, switch.mailbox) for switch in switches]
    connections = Connection.objects.at_work().visible_to(actor).order_by("name")
    scopes = [
        (value, label)
        for value, (label, scope) in _scopes(actor).items()
        if (scope.get("connection"), scope.get("mailbox")) not in stopped
    ]
    context = {
        "switches": [
            (switch, switch.is_within(actor, Role.ADMIN)) for switch in switches
        ],
        "scopes": scopes,
        "form": StopForm(
            request.POST if "reason" in request.POST else None,
            choices={"scope": scopes},
            auto_id="stop-%s",
        ),
        "gateways": [
            {"connection": connection, "hold_all": read_hold_all(connection)}
            for connection in connections
            if can_hold_all(connection) and is_admin(actor, connection)
        ],
        "now": timezone.now(),
    }
    return answer(request, "connections/kill_switch.html", context, error)


stop = require_safe(_page)


_changes = changes(_page, to="stop")


@require_POST
@_changes
def pull_switch(request: DeskRequest) -> str:
    """Stop every decision of a scope, with a reason that everybody sees."""
    actor = request.actor
    scopes = _scopes(actor)
    labels = [(value, label) for value, (label, _) in scopes.items()]
    typed = cleaned(StopForm(request.POST, choices={"scope": labels}))
    _, chosen = scopes[typed["scope"]]
    switch = pull(actor=actor, reason=typed["reason"], **chosen)
    return f"Stopped: the {switch} is pulled. No decision for it is carried out.{_tell(actor)}"


@require_POST
@_changes
def release_switch(request: DeskRequest, switch_id: int) -> HttpResponse | str:
    """Release the decisions of a scope."""
    actor = request.actor
    pulled = first_or_404(
        KillSwitch.objects.visible_to(actor).filter(pk=switch_id),
        "This kill switch was released, or you cannot see what it stops.",
    )
    # Pulling never asks for a password: stopping must not be delayed.
    if pulled.is_within(actor, Role.ADMIN) and not is_recently_authenticated(request):
        return ask_first(request)
    switch = release(switch_id=switch_id, actor=actor)
    return f"Released: the {switch}. Decisions that are due are carried out now.{_tell(actor)}"


def _tell(actor: Actor) -> str:
    """Tell our own gateways at once what is stopped; they may have approved mail that
    did not leave yet. Return a sentence about those that did not answer.
    """
    gateways = to_tell().visible_to(actor)
    missed = [one.name for one in gateways if tell_gateway(connection_id=one.pk)]
    if not missed:
        return ""
    return (
        f" Not known yet to the gateway of {', '.join(missed)}: the desk tries again."
    )


@require_POST
@_changes
def set_hold_all(request: DeskRequest, connection_id: int) -> HttpResponse | str:
    """Make our own gateway hold all mail of an account, or end that. It waits for the
    gateway.
    """
    actor = request.actor
    connection = get_visible_connection_or_404(request, connection_id)
    wanted = request.POST.get("hold")
    if wanted not in ("on", "off"):
        raise ChangeRefused("Choose whether the gateway holds all mail.")
    on = wanted == "on"
    may_end = not on and is_admin(actor, connection)
    if may_end and not is_recently_authenticated(request):
        return ask_first(request)
    result = hold_all(connection=connection, on=on, actor=actor)
    if result.is_on is not on:
        raise ChangeUnknown(result.why_not)
    did = "holds all mail" if on else "no longer holds all mail"
    return f"The gateway of {connection} {did}."


def _scopes(actor: Actor) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what the actor may stop: the value in the form, mapped to the label and to
    the arguments of the commands.
    """
    scopes: dict[str, tuple[str, dict[str, Any]]] = {"all": ("Everything", {})}
    for connection in Connection.objects.at_work().visible_to(actor).order_by("name"):
        scopes[f"connection-{connection.pk}"] = (
            f"Connection {connection}",
            {"connection": connection},
        )
    mailboxes = Mailbox.objects.at_work().visible_to(actor).order_by("address")
    for mailbox in mailboxes.select_related("connection"):
        label = f"Mailbox {mailbox} ({mailbox.connection})"
        scopes[f"mailbox-{mailbox.pk}"] = (label, {"mailbox": mailbox})
    return {
        value: (label, scope)
        for value, (label, scope) in scopes.items()
        if may_pull(actor, **scope)
    }
