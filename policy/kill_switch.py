"""Pulls and releases the kill switch. While it is pulled, no decision in its scope is
sent to MultiMail.

It stops only what this desk does. MultiMail still sends messages that were approved
before and are scheduled there, and mail of autonomous mailboxes.
"""

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.dispatch import Signal
from django.urls import reverse

from audit.recording import record
from common.actors import Actor, Role
from common.postgres import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy.models import KillSwitch

# In characters.
MAX_REASON = 1000
# Sent when a kill switch is released, in the same transaction.
released = Signal()


def may_pull(
    actor: Actor,
    *,
    connection: Connection | None = None,
    mailbox: Mailbox | None = None,
) -> bool:
    """Whether the actor is a reviewer or an admin of everything that would be stopped."""
    switch = KillSwitch(connection=connection, mailbox=mailbox)
    return _is_within(switch, actor, Role.REVIEWER) or may_release(actor, switch)


def may_release(actor: Actor, switch: KillSwitch) -> bool:
    """Whether the actor is an admin of everything that the switch stops."""
    return _is_within(switch, actor, Role.ADMIN)


def _is_within(switch: KillSwitch, actor: Actor, role: Role) -> bool:
    """Whether the actor has this role for everything that a switch stops."""
    return actor.is_a(
        role, connection=switch.owning_connection, mailbox=switch.mailbox_id
    )


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
    scope = KillSwitch.objects.pulled().filter(connection=connection, mailbox=mailbox)
    try:
        with transaction.atomic():
            # If two people pull at once, the second one waits here for the first, and
            # then gets an IntegrityError.
            switch = KillSwitch.objects.create(
                connection=connection,
                mailbox=mailbox,
                reason=reason.strip()[:MAX_REASON],
                pulled_by_id=int(actor.id),
            )
    except IntegrityError:
        # None is found if the other switch was released just now: pull again.
        return scope.first() or pull(
            actor=actor, reason=reason, connection=connection, mailbox=mailbox
        )
    switch.refresh_from_db()
    _record("kill_switch.pulled", switch, actor, "released", "pulled")
    return switch


@atomic_with_retry
@second_admin("Kill switch")
def release(*, switch_id: int, actor: Actor) -> CanWait[KillSwitch]:
    """Release a switch; due decisions are then sent at once. Raises ActNotAllowed if
    the actor is no admin of everything that it stops.
    """
    switch = (
        KillSwitch.objects.pulled()
        .select_for_update(of=("self",))
        .filter(pk=switch_id)
        .first()
    )
    if switch is None:
        raise ActNotAllowed("This kill switch is no longer pulled.")
    if not may_release(actor, switch):
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
    _record("kill_switch.released", switch, actor, "pulled", "released")
    released.send(sender=KillSwitch)
    return switch


def _record(
    action: str, switch: KillSwitch, actor: Actor, before: str, after: str
) -> None:
    record(
        action,
        actor=actor,
        connection=switch.owning_connection,
        details={
            "scope": str(switch.mailbox or switch.connection or "everything"),
            "reason": switch.reason,
            "before": before,
            "after": after,
        },
    )
