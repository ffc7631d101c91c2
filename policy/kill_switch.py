"""Pulls and releases the kill switch. While it is pulled, no decision in its scope is
sent to MultiMail, and our own gateway sends nothing that was approved.

MultiMail still sends mail of autonomous mailboxes; hosted MultiMail also what was
approved there before.
"""

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.dispatch import Signal
from django.urls import reverse

from audit.recording import record
from common.actors import Actor, Role
from common.postgres import atomic_with_retry, take_lock
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox
from mirror.models.connections import ConnectionQuerySet
from mirror.sync.reads import oversight_client
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.models import KillSwitch
from upstream import errors

# In characters.
MAX_REASON = 1000
# Pulling takes this lock, and the last check before a call takes it shared: so no call
# begins after a pull, and of two people who pull at once the second finds the first.
LOCK = "kill switch"
# Seconds in which a gateway has to answer that it stops.
WITHIN = 5.0
# Sent when a kill switch is released, in the same transaction.
released = Signal()


def may_pull(actor: Actor, **scope: Connection | Mailbox | None) -> bool:
    """Whether the actor is a reviewer or an admin of everything that would be stopped."""
    switch = KillSwitch(**scope)
    return any(switch.is_within(actor, role) for role in (Role.REVIEWER, Role.ADMIN))


@atomic_with_retry
def pull(
    *,
    actor: Actor,
    reason: str,
    connection: Connection | None = None,
    mailbox: Mailbox | None = None,
) -> KillSwitch:
    """Stop all decisions for one mailbox, one connection, or (with neither) everything.
    Raises ActNotAllowed if the actor is no reviewer or admin of all of it.

    If it is pulled already, return that switch: stopping must not fail because somebody
    else was first.
    """
    if mailbox is not None:
        connection = None
    if not may_pull(actor, connection=connection, mailbox=mailbox):
        raise ActNotAllowed(
            "Only a reviewer or an admin of all that it stops can pull this kill switch."
        )
    if not reason.strip():
        raise ActNotAllowed(
            "Give a reason: it is shown to everybody whose mail is stopped."
        )
    take_lock(LOCK)
    scope = KillSwitch.objects.pulled().filter(connection=connection, mailbox=mailbox)
    if pulled := scope.first():
        return pulled
    switch = KillSwitch.objects.create(
        connection=connection,
        mailbox=mailbox,
        reason=reason.strip()[:MAX_REASON],
        pulled_by_id=actor.person_id,
    )
    switch.refresh_from_db()
    _record(switch, actor, before="released", after="pulled")
    return switch


@atomic_with_retry
@second_admin("Kill switch")
def release(*, switch_id: int, actor: Actor) -> CanWait[KillSwitch]:
    """Release a switch; due decisions are then sent at once. Raises ActNotAllowed if
    the actor is no admin of everything that it stops.
    """
    pulled = KillSwitch.objects.pulled().select_for_update(of=("self",))
    switch = pulled.filter(pk=switch_id).first()
    if switch is None:
        raise ActNotAllowed("This kill switch is no longer pulled.")
    if not switch.is_within(actor, Role.ADMIN):
        raise ActNotAllowed(
            "Only an admin of all that it stops can release this kill switch."
        )
    yield lambda: ChangeInWords(
        title=f"Release the {switch}",
        before=f"pulled: {switch.reason}",
        after="released",
        page=reverse("stop"),
        connection=switch.owning_connection,
        mailbox=switch.mailbox_id,
    )
    KillSwitch.objects.filter(pk=switch.pk).update(released_at=Now())
    switch.refresh_from_db()
    _record(switch, actor, before="pulled", after="released")
    released.send(sender=KillSwitch)
    return switch


def to_tell() -> ConnectionQuerySet:
    """Return our own gateways that have to know what is stopped: of their mailboxes one
    is stopped, or was when they were last told.
    """
    stopping = KillSwitch.objects.stopping(connection=OuterRef("pk"), mailbox=None)
    gateways = Connection.objects.at_work().filter(is_our_gateway=True)
    return gateways.filter(Exists(stopping) | Q(is_gate_stopped=True))


def tell_gateway(*, connection_id: int) -> str:
    """Tell one gateway which of its mailboxes are stopped: what was approved there
    before waits. Return why that failed; the sweep repeats it.
    """
    gateway = Connection.objects.filter(pk=connection_id)
    stopping = KillSwitch.objects.stopping(
        connection=connection_id, mailbox=OuterRef("pk")
    )
    # Noted before the call, whose answer may be lost.
    gateway.update(is_gate_stopped=True)
    connection = gateway.get()
    stopped = list(connection.mailboxes.filter(Exists(stopping)))
    try:
        client = oversight_client(connection, for_reading=True)
        client.stop_mailboxes([one.upstream_id for one in stopped], within=WITHIN)
    except errors.UpstreamError as error:
        return error.sentence
    gateway.update(is_gate_stopped=bool(stopped))
    return ""


def _record(switch: KillSwitch, actor: Actor, *, before: str, after: str) -> None:
    record(
        f"kill_switch.{after}",
        actor,
        connection=switch.owning_connection,
        details={
            "scope": switch.scope,
            "reason": switch.reason,
            "before": before,
            "after": after,
        },
    )
