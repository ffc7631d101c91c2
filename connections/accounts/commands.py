"""Commands that add, rename, move, pause and remove connections, and set their keys.
The ledger gets a key's slot and scopes, never the key.

An admin of everything adds and removes connections; an admin of a connection changes
it. A command with `second_admin` checks that the actor may do it, then yields the change in
words: if a second admin must accept that, the call ends there, and the command is
called again when it is accepted. What depends on the stored state is checked then.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db.models.functions import Now
from django.urls import reverse
from django.utils.text import slugify

from approvals import tasks
from approvals.models import Decision
from approvals.reconcile.closing import leave_queue
from common.actors import Actor
from common.postgres import atomic_with_retry, clock
from connections.accounts.keys import SLOTS
from connections.changes import (
    AccountConnected,
    ConnectionNotChanged,
    in_words,
    is_admin,
)
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from mirror.recording import record_of_connection
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin
from policy.models import KillSwitch
from policy.rules.facts import needs_of_new_mailbox


def check_may_add(actor: Actor) -> None:
    """Raise ActNotAllowed unless the actor is an admin of everything."""
    if not actor.is_admin_of_all:
        raise ActNotAllowed(
            "Only an admin of everything can add or remove connections."
        )


def check_may_change(actor: Actor, connection: Connection) -> None:
    """Raise ActNotAllowed if the connection was removed, or the actor is not its
    admin.
    """
    if connection.removed_at:
        raise ActNotAllowed(f"{connection} was removed; only its history is left.")
    if not is_admin(actor, connection):
        raise ActNotAllowed("Only an admin of this connection can change it.")


def lock(connection: Connection, actor: Actor) -> Connection:
    """Lock the connection's row and return it as it is now. Raises ActNotAllowed unless
    the actor may change it.
    """
    locked = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
    check_may_change(actor, locked)
    return locked


MAX_NAME = 80
# What is learnt at one address, and does not hold at another.
_NOTHING_LEARNT: dict[str, Any] = {
    "reading_until": None,
    "read_at": None,
    "rest_until": None,
    "checked_key": "",
    "wait_until": None,
    "surveyed_at": None,
}


def new_secret() -> str:
    """Return a new signing secret."""
    return f"whsec_{secrets.token_urlsafe(32)}"


@atomic_with_retry
@second_admin("Connection", secrets=("keys",))
def add_connection(
    *,
    actor: Actor,
    name: str,
    api_url: str,
    keys: Mapping[str, str],
    scopes: Mapping[str, list[str] | None],
    is_our_gateway: bool,
    account: str,
) -> CanWait[Connection]:
    """Add a connection with these keys, by slot. The caller must have checked the keys.
    Only an admin of everything may do this.

    `account` is MultiMail's id of the account. Raises AccountConnected if it has a
    connection already: each of its messages would appear twice.
    """
    check_may_add(actor)
    check_name(name, key=None)
    # By any address: one account can be reached by several spellings of it.
    same = Connection.objects.at_work().filter(account_id=account)
    if account and (existing := same.first()):
        raise AccountConnected(
            f"This account is connected already, as {existing}. Change its keys there."
        )
    filled_slots = ", ".join(slot for slot, key in keys.items() if key)
    # Rules, roles and owners of keys that name the removed connection of this account
    # are about it again.
    removed = Connection.objects.removed().select_for_update().order_by("-removed_at")
    earlier = removed.filter(account_id=account).first() if account else None
    added = listed(
        {
            "name": name,
            "at": api_url,
            "account": account,
            "keys": filled_slots,
            "history and rules of": earlier.name if earlier else "",
        }
    )
    needs = needs_of_new_mailbox(actor, earlier.pk if earlier else 0)
    yield lambda: ChangeInWords(
        title=f"Connection {name}: add it",
        before="not connected",
        after=f"{added}\nMail of its new mailboxes will need:\n{needs}",
        page=reverse("connections"),
    )
    base = slugify(name)[:40].strip("-") or "connection"
    used = Connection.objects.filter(slug__startswith=base)
    used_slugs = set(used.values_list("slug", flat=True))
    slug = base
    number = 1
    while slug in used_slugs:
        number += 1
        slug = f"{base}-{number}"
    connection = earlier or Connection(slug=slug)
    values: dict[str, Any] = {
        **_NOTHING_LEARNT,
        "refused_fields": [],
        "removed_at": None,
        "paused_at": None,
        "paused_because": "",
        "paused_by_hand": False,
        "name": name,
        "api_url": api_url,
        "is_our_gateway": is_our_gateway,
        "webhook_secret": new_secret(),
        "account_id": account,
        "key_scopes": {
            slot: its_scopes for slot, its_scopes in scopes.items() if keys.get(slot)
        },
        **{f"{slot}_key": key for slot, key in keys.items()},
    }
    for field, value in values.items():
        setattr(connection, field, value)
    connection.save()
    record_of_connection(
        "connection.added",
        connection,
        actor,
        explanation=f"{name}, keys: {filled_slots}.",
        before="",
        after=f"name: {name}; at: {api_url}; keys: {filled_slots}",
    )
    return connection


def check_name(name: str, *, key: int | None) -> None:
    """Raise ConnectionNotChanged if another connection has this name. `key` is the
    primary key of the connection to name, None for a new one.
    """
    others = Connection.objects.at_work().filter(name__iexact=name)
    if others.exclude(pk=key or 0).exists():
        raise ConnectionNotChanged(
            f"There is a connection named {name} already. Choose another name."
        )


@atomic_with_retry
@second_admin("Connection")
def rename(*, connection: Connection, name: str, actor: Actor) -> CanWait[None]:
    """Rename the connection. Its history shows the new name too. Raises
    ConnectionNotChanged if another connection has the name.
    """
    locked = lock(connection, actor)
    yield lambda: in_words(locked, "rename it", name=name)
    check_name(name, key=locked.pk)
    if locked.name != name:
        before = locked.name
        locked.name = name
        locked.save(update_fields=["name"])
        record_of_connection(
            "connection.changed", locked, actor, before=before, after=name
        )


@atomic_with_retry
@second_admin("Connection")
def set_address(
    *, connection: Connection, api_url: str, account: str, actor: Actor
) -> CanWait[None]:
    """Change the address of a connection's MultiMail. The caller must have checked that
    the account with this id answers there to the connection's keys.

    A read in progress at the old address has no effect, and the next read begins at
    once. Raises ConnectionNotChanged while a decision is being carried out, and if
    another connection has the same account.
    """
    locked = lock(connection, actor)
    yield lambda: in_words(
        locked, "change its address", api_url=api_url, account=account
    )
    if locked.api_url == api_url:
        raise ConnectionNotChanged("This is the present address.")
    _check_not_connected(locked, api_url, account)
    if Decision.objects.filter(message__connection=locked).being_carried_out().exists():
        raise ConnectionNotChanged(
            "A decision is being carried out at the old address. Try again in a few seconds, or pause the connection "
            "first."
        )
    # The time of the last read, which pages show, stays.
    locked.row.update(
        api_url=api_url,
        account_id=account,
        **_NOTHING_LEARNT,
        refused_fields=[],
    )
    record_of_connection(
        "connection.moved",
        locked,
        actor,
        explanation=f"The account {account} answered at {api_url} with these keys.",
        before=f"at: {locked.api_url}",
        after=f"at: {api_url}",
    )


# Each message of an account with two connections would appear twice.
def _check_not_connected(locked: Connection, api_url: str, account: str) -> None:
    others = Connection.objects.at_work().exclude(pk=locked.pk)
    if other := others.filter(api_url=api_url, account_id=account).first():
        raise ConnectionNotChanged(
            f"This account is connected at that address already, as {other}."
        )


@atomic_with_retry
@second_admin("Connection", secrets=("key",))
def set_key(
    *,
    connection: Connection,
    slot: str,
    key: str,
    scopes: list[str] | None,
    actor: Actor,
    account: str = "",
) -> CanWait[None]:
    """Put a key into a slot. The caller must have checked it: it is a key of this
    account, if MultiMail told which. A new oversight key is used for a read at once. If
    MultiMail accepts it, that read ends a pause that the old key caused
    (mirror.sync.health).

    Raises ConnectionNotChanged if another connection has the same account.
    """
    locked = lock(connection, actor)
    yield lambda: in_words(locked, "set a key", slot=slot, scopes=scopes)
    for other, held in locked.keys.items():
        if held == key and other != slot:
            # If MultiMail does not report what a key may do, one key could both send a
            # message and approve it.
            raise ConnectionNotChanged(
                f"This is the {other} key already. Each needs its own key."
            )
    if account and not locked.account_id:
        _check_not_connected(locked, locked.api_url, account)
        locked.row.update(account_id=account)
    _store_key(locked, slot, key, {slot: scopes}, actor, "connection.key_set")
    if slot == "oversight":
        # MultiMail may have been updated: fields that it refused before are sent again.
        locked.row.update(read_at=None, checked_key="", refused_fields=[])


@atomic_with_retry
@second_admin("Connection")
def remove_key(*, connection: Connection, slot: str, actor: Actor) -> CanWait[None]:
    """Remove a key. The oversight key can only be replaced: a connection cannot work
    without it.
    """
    locked = lock(connection, actor)
    yield lambda: in_words(locked, "remove a key", slot=slot)
    if slot == "oversight":
        raise ConnectionNotChanged(
            "Nothing works without an oversight key. Enter another one, or pause or remove the connection."
        )
    if locked.keys[slot]:
        _store_key(locked, slot, "", {}, actor, "connection.key_removed")


def _slot_in_words(connection: Connection, slot: str) -> str:
    """Return a slot in words for the ledger: the key's scopes, never the key. Empty if
    there is no key.
    """
    if not connection.keys[slot]:
        return ""
    scopes = connection.key_scopes.get(slot)
    return f"a key that may: {', '.join(scopes)}" if scopes else "a key"


def _store_key(
    locked: Connection,
    slot: str,
    key: str,
    scopes: dict[str, list[str] | None],
    actor: Actor,
    action: str,
) -> None:
    """Store a key of a locked connection and its scopes by slot; an empty key removes
    the old one.
    """
    before = _slot_in_words(locked, slot)
    field = SLOTS[slot].field
    setattr(locked, field, key)
    locked.key_scopes.pop(slot, None)
    locked.key_scopes |= scopes
    locked.surveyed_at = None
    locked.save(update_fields=[field, "key_scopes", "surveyed_at"])
    record_of_connection(
        action,
        locked,
        actor,
        slot=SLOTS[slot].label,
        before=before,
        after=_slot_in_words(locked, slot),
    )


MAX_REASON = 500


@atomic_with_retry
def pause_by_hand(*, connection: Connection, reason: str, actor: Actor) -> None:
    """Pause the connection: no decision is executed until somebody resumes it.
    Decisions that are made meanwhile wait.
    """
    locked = lock(connection, actor)
    reason = reason.strip()
    if not reason:
        raise ConnectionNotChanged(
            "Enter a reason: others need to know why mail waits."
        )
    if locked.paused_by_hand:
        raise ConnectionNotChanged(f"It is already paused: {locked.paused_because}")
    before = "at work"
    if locked.paused_at:
        before = f"paused by the desk: {locked.paused_because}"
    locked.row.update(
        paused_at=Now(),
        paused_because=f"{reason[:MAX_REASON]} ({actor.label})",
        paused_by_hand=True,
    )
    record_of_connection(
        "connection.paused_by_hand",
        locked,
        actor,
        reason=reason,
        before=before,
        after="paused by hand",
    )


@atomic_with_retry
@second_admin("Connection")
def resume(*, connection: Connection, actor: Actor) -> CanWait[None]:
    """Resume a connection that a person paused. Decisions that are due are executed,
    and the next read is due at once.
    """
    locked = lock(connection, actor)
    yield lambda: in_words(locked, "resume it")
    if not locked.paused_by_hand:
        raise ConnectionNotChanged(
            "Nobody paused it by hand. A pause by the desk ends with the next successful read."
        )
    locked.row.update(
        paused_at=None, paused_because="", paused_by_hand=False, read_at=None
    )
    record_of_connection(
        "connection.resumed",
        locked,
        actor,
        reason=locked.paused_because,
        before="paused by hand",
        after="at work",
    )
    tasks.execute_due.delay_on_commit()


@atomic_with_retry
@second_admin("Connection")
def remove_connection(
    *, connection: Connection, typed_name: str, actor: Actor
) -> CanWait[None]:
    """Remove the connection permanently. Its held messages leave the queue and stay
    held at MultiMail. All history stays.

    Raises ConnectionNotChanged if decisions are under way, if a kill switch stops the
    connection, or if its name was not typed.
    """
    check_may_add(actor)
    # A full row lock, not only `no_key`: no row that refers to it may be added
    # meanwhile.
    locked = Connection.objects.select_for_update().get(pk=connection.pk)
    check_may_change(actor, locked)
    if typed_name.strip() != locked.name:
        raise ConnectionNotChanged(
            f"Type the connection's name, {locked.name}, to remove it."
        )
    if error := removal_error(locked):
        raise ConnectionNotChanged(error)
    did = "remove it; if it has a webhook at MultiMail, delete that there"
    yield lambda: replace(in_words(locked, did), connection=None)
    # A decision about one of these messages waits for this lock, and then finds the
    # message gone.
    waiting = locked.messages.held().order_by("pk")
    held = list(waiting.select_for_update(of=("self",), no_key=True))
    if error := removal_error(locked):
        raise ConnectionNotChanged(error)
    now = clock()
    for message in held:
        leave_queue(message, actor, now)
    # It is also paused below, because some queries exclude paused connections, and
    # others removed ones.
    for slot in SLOTS.values():
        setattr(locked, slot.field, "")
    locked.webhook_secret = ""
    locked.previous_webhook_secret = ""
    locked.previous_secret_until = None
    locked.key_scopes = {}
    locked.checked_key = ""
    locked.last_error = ""
    locked.failing_since = None
    locked.wait_until = None
    locked.upstream_webhook_id = ""
    locked.paused_by_hand = True
    locked.paused_because = "It was removed from the desk."
    locked.paused_at = Now()
    locked.removed_at = Now()
    locked.save()
    record_of_connection(
        "connection.removed",
        locked,
        actor,
        explanation=locked.name,
        before=f"name: {locked.name}; at: {locked.api_url}",
        after="",
    )


def removal_error(connection: Connection) -> str:
    """Return why a connection cannot be removed now, as a sentence; empty if it can."""
    switch = KillSwitch.objects.stopping(connection=connection.pk, mailbox=None).first()
    if switch is not None:
        return f"The {switch} is pulled: {switch.reason} Release it first, then remove the connection."
    if connection.row.filter(reading_until__gt=Now()).exists():
        return "It is being read. Try again in a few seconds."
    live = Decision.objects.live().filter(message__connection=connection).count()
    if not live:
        return ""
    are = "1 decision is" if live == 1 else f"{live} decisions are"
    return (
        f"{are} still on the way to MultiMail, and the outcome would be lost. Wait until they are carried out, or undo "
        "them on their pages. Unconfirmed ones are under Needs attention."
    )
