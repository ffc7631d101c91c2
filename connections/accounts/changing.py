"""Renames a connection, gives it another address, and puts keys into its slots or takes them out.

Keys are never written anywhere else.
"""

from datetime import datetime

from django.db.models.functions import Now

from approvals.models import Decision
from audit.recording import changed, record
from common.postgres.anew import atomic_anew
from connections.accounts import rights
from connections.accounts.adding import check_name
from connections.accounts.key_slots import SLOTS
from connections.errors import ConnectionNotChanged
from mirror.models import Connection
from people.actors import Actor


@atomic_anew
def rename(*, connection: Connection, name: str, actor: Actor) -> Connection:
    """Give the connection another name; its history carries that too. Raises ConnectionNotChanged for one in use."""
    locked = rights.lock(connection, actor)
    check_name(name, connection=locked)
    if locked.name != name:
        before, locked.name = locked.name, name
        locked.save(update_fields=["name"])
        record("connection.changed", actor=actor, connection=locked.pk, details=changed(before=before, after=name))
    return locked


@atomic_anew
def set_address(*, connection: Connection, api_url: str, account: str, actor: Actor) -> Connection:
    """Have MultiMail asked at another address; the caller has seen this account, by its id, answer there with its keys.

    A read that is under way at the old address ends without effect, and the next one begins at once. Raises
    ConnectionNotChanged while a decision is being carried out, and where another connection is to the same account.
    """
    locked = rights.lock(connection, actor)
    if locked.api_url == api_url:
        raise ConnectionNotChanged("That is the address which is asked already.")
    others = Connection.objects.at_work().exclude(pk=locked.pk)
    if other := others.filter(api_url=api_url, account_id=account).first():
        raise ConnectionNotChanged(f"This account is connected at that address already, as {other}.")
    if Decision.objects.filter(message__connection=locked).being_carried_out().exists():
        raise ConnectionNotChanged(
            "A decision is being carried out at the old address at this moment. Try again in a few seconds; if that "
            "does not help, pause the connection first."
        )
    before, locked.api_url = locked.api_url, api_url
    # The shown times stay: they tell when the account was last read and its keys last asked about.
    fresh = {"reading_until": None, "read_at": None, "checked_key": "", "wait_until": None}
    Connection.objects.filter(pk=locked.pk).update(api_url=api_url, account_id=account, **fresh)
    explanation = f"The account {account} answered at {api_url} with the keys that are here."
    details = {"explanation": explanation, **changed(before=f"at: {before}", after=f"at: {api_url}")}
    record("connection.moved", actor=actor, connection=locked.pk, details=details)
    return locked


@atomic_anew
def set_key(
    *, connection: Connection, slot: str, key: str, scopes: list[str] | None, actor: Actor, now: datetime
) -> Connection:
    """Put a key into a slot; the caller has checked it. A pause that the old oversight key brought about is looked into
    at once, because the next read shows whether this one is taken.
    """
    locked = rights.lock(connection, actor)
    before = _slot_in_words(locked, slot)
    setattr(locked, SLOTS[slot].field, key)
    locked.key_scopes = {**locked.key_scopes, slot: scopes}
    locked.keys_checked_at = now
    locked.save(update_fields=[SLOTS[slot].field, "key_scopes", "keys_checked_at"])
    if slot == "oversight":
        Connection.objects.filter(pk=locked.pk).update(read_at=None, checked_key="")
    _record_key("connection.key_set", locked, slot, actor, before)
    return locked


@atomic_anew
def remove_key(*, connection: Connection, slot: str, actor: Actor) -> Connection:
    """Take a key out of its slot. The oversight key can only be replaced: without it there is no connection."""
    locked = rights.lock(connection, actor)
    if slot == "oversight":
        raise ConnectionNotChanged("Without an oversight key nothing works. Put in another one, or pause or remove it.")
    if not getattr(locked, SLOTS[slot].field):
        return locked
    before = _slot_in_words(locked, slot)
    setattr(locked, SLOTS[slot].field, "")
    locked.key_scopes = {name: found for name, found in locked.key_scopes.items() if name != slot}
    locked.save(update_fields=[SLOTS[slot].field, "key_scopes"])
    _record_key("connection.key_removed", locked, slot, actor, before)
    return locked


@atomic_anew
def note_checked(
    *, connection: Connection, scopes: dict[str, list[str] | None], account: str, problems: str, actor: Actor
) -> None:
    """Write down what MultiMail said that each key may do; a key that it did not tell of keeps what it had."""
    locked = rights.lock(connection, actor)
    known = {**locked.key_scopes, **scopes}
    known_as = locked.account_id or account
    Connection.objects.filter(pk=locked.pk).update(key_scopes=known, keys_checked_at=Now(), account_id=known_as)
    record("connection.checked", actor=actor, connection=locked.pk, details={"explanation": problems})


def _slot_in_words(connection: Connection, slot: str) -> str:
    """Return what is in a slot as the ledger may tell it: what the key may do, and nothing of its text."""
    if not getattr(connection, SLOTS[slot].field):
        return ""
    scopes = connection.key_scopes.get(slot)
    return f"a key that may: {', '.join(scopes)}" if scopes else "a key"


def _record_key(action: str, connection: Connection, slot: str, actor: Actor, before: str) -> None:
    details = {"slot": SLOTS[slot].label, **changed(before=before, after=_slot_in_words(connection, slot))}
    record(action, actor=actor, connection=connection.pk, details=details)
