"""Commands that create, limit, pause and revoke API keys of a MultiMail account, and
that store who owns the program that uses a key.

The key itself (its text) is returned once, to the admin who made it, and never stored.
A command with `second_admin` yields the change in words: if a second admin must accept
that, the call ends there, and the command is called again when it is accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from django.urls import reverse

from common.actors import Actor, Role
from common.postgres import atomic_with_retry
from connections.changes import (
    READ_SECONDS,
    ChangeNotOffered,
    ChangeRefused,
    ChangeUnknown,
    SecretLost,
    admin_client,
    check_admin,
    read_account,
    record_change,
    request_change,
    text_in,
)
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from mirror.recording import record_of_connection
from people.models import Person
from people.second_admin.registry import (
    AS_KEY,
    CanWait,
    ChangeInWords,
    row_of,
    second_admin,
)
from policy.models import KeyOwner, key_owners
from upstream import errors
from upstream.events import read_time

# What each scope lets a key do. docs/multimail.md, Accounts and keys.
SCOPES = {
    "read": "Read mailboxes, mail, threads, attachments and contacts.",
    "send": "Send and reply. Mail that needs review still waits.",
    "oversight": "See held mail and decide it.",
    "oversight_read": "See held mail without deciding it.",
    "admin": "Manage mailboxes, keys, webhooks and lists of the account; read everything.",
}
# A scope, and the other scope that it includes.
_INCLUDES = {"oversight": "oversight_read", "admin": "read"}
_request = partial(request_change, failed="api_key.change_failed")


@dataclass(frozen=True)
class ApiKey:
    """A key as MultiMail lists it. Empty `mailboxes` mean all. `used_as` is the slot in
    which the desk itself uses the key. Only a key that was just made has its `text`.
    """

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    mailboxes: tuple[str, ...]
    created_at: datetime | None
    last_used_at: datetime | None
    is_active: bool
    expires_at: datetime | None
    sandbox: bool
    is_paused: bool = False
    owner: Annotated[Person | None, row_of(Person), AS_KEY] = None
    used_as: str = ""
    text: str = field(default="", repr=False)

    @property
    def label(self) -> str:
        """What pages call the key: its name, or if it has none, its owner or use."""
        if self.name:
            return self.name
        if self.owner:
            return f"Key of {self.owner}"
        return f"This desk's {self.used_as} key" if self.used_as else "No name"


def read_keys(connection: Connection, *, actor: Actor) -> list[ApiKey]:
    """Read the keys of an account; those that are not revoked come first. Raises
    ActNotAllowed, ChangeRefused, ChangeUnknown.
    """
    rows = read_account(
        connection, actor, lambda admin: admin.list_keys(), may="see its API keys"
    )
    owners = {
        owner.upstream_key_id: owner.person
        for owner in connection.key_owners.select_related("person")
    }
    keys = [_key(row, connection, owners) for row in rows]
    return sorted(keys, key=lambda one: (not one.is_active, one.name.lower(), one.id))


def read_key(connection: Connection, key_id: str, *, actor: Actor) -> ApiKey:
    """Read one key. Raises ChangeNotOffered if the account has no key with this id, or
    as read_keys does.
    """
    for key in read_keys(connection, actor=actor):
        if key.id == key_id:
            return key
    raise ChangeNotOffered("MultiMail has no API key of this id in this account.")


@second_admin("API key", calls_multimail=True, made=lambda created: created.text)
def create_key(
    *,
    connection: Connection,
    actor: Actor,
    wanted: Mapping[str, Any],
    owner: Person | None = None,
    code: str = "",
) -> CanWait[ApiKey]:
    """Make a key. The call is never repeated: if its answer is lost, the key may exist,
    but its text is lost.

    Raises ActNotAllowed, ChangeRefused, CodeWanted; and SecretLost, which tells the
    admin to check the list and revoke the key.
    """
    check_admin(actor, connection, may="create API keys in it")
    name = wanted["name"]
    yield lambda: ChangeInWords(
        title=f"API key {name}: create it",
        before="no such key",
        after=_in_words(
            {
                "owner": f"{owner} ({owner.email})" if owner else "nobody",
                "mailboxes": (),
                **wanted,
            }
        ),
        page=reverse("api-keys"),
        connection=connection.pk,
        subjects=[owner.pk] if owner else [],
    )
    try:
        answer = _request(
            connection,
            actor,
            lambda admin: admin.create_key(dict(wanted)),
            what=f"create the API key {name} with {', '.join(wanted['scopes'])}",
            code=code,
        )
    except ChangeUnknown as unknown:
        raise SecretLost(
            f"{unknown.sentence} Check the list: if a key named {name} is new there, its text was lost. Revoke it, "
            "then create another."
        ) from None
    text = text_in(answer, "api_key", "key")
    made = _key(answer, connection, {})
    record_change(
        "api_key.created",
        connection,
        actor,
        name=made.name,
        prefix=made.prefix,
        key=made.id,
        before="",
        after=_reach_in_words(made),
    )
    if not text or not made.id:
        raise SecretLost(
            "MultiMail's answer has no key. If the list shows a new one, revoke it."
        )
    if owner is not None:
        set_owner(
            connection=connection,
            key_id=made.id,
            name=made.name,
            person=owner,
            actor=actor,
        )
    return replace(made, text=text)


def _reaches_no_further(key: ApiKey, changes: Mapping[str, Any]) -> bool:
    """Whether these changes only take scopes or mailboxes from a key. A key without
    mailboxes may use all.
    """
    if not changes.keys() <= {"scopes", "mailboxes"}:
        return False
    may = {*key.scopes, *(_INCLUDES.get(scope) for scope in key.scopes)}
    mailboxes = changes.get("mailboxes", key.mailboxes)
    gains_mailboxes = key.mailboxes and not (
        mailboxes and set(mailboxes) <= set(key.mailboxes)
    )
    return may.issuperset(changes.get("scopes", key.scopes)) and not gains_mailboxes


@second_admin("Scopes of a key", calls_multimail=True)
def change_key(
    *,
    connection: Connection,
    key: ApiKey,
    actor: Actor,
    changes: Mapping[str, Any],
    code: str = "",
) -> CanWait[None]:
    """Change name, scopes or mailboxes of a key. Raises as create_key; the call is safe
    to repeat.
    """
    check_admin(actor, connection, may="change its API keys")

    def in_words() -> ChangeInWords:
        tightens = _reaches_no_further(key, changes)
        # What a second admin reads is the key as it is now, not as it was on the page.
        now = key if tightens else read_key(connection, key.id, actor=actor)
        return ChangeInWords(
            title=f"Scopes of the API key {key.label}",
            before=_in_words({name: getattr(now, name) for name in changes}),
            after=_in_words(changes),
            page=reverse("api-key", args=[connection.pk, key.id]),
            connection=connection.pk,
            subjects=_owners(now),
            tightens=tightens,
        )

    yield in_words
    if not changes:
        raise ChangeRefused("Nothing changed.")
    _request(
        connection,
        actor,
        lambda admin: admin.change_key(key.id, dict(changes)),
        what=f"change the API key {key.label}: {', '.join(sorted(changes))}",
        code=code,
    )
    record_change(
        "api_key.changed",
        connection,
        actor,
        name=key.label,
        prefix=key.prefix,
        key=key.id,
        before=_in_words({name: getattr(key, name) for name in changes}),
        after=_in_words(changes),
    )


def revoke_key(
    *, connection: Connection, key: ApiKey, actor: Actor, code: str = ""
) -> None:
    """Revoke a key at once. MultiMail accepts revoking it twice. Raises ActNotAllowed,
    ChangeRefused, CodeWanted, ChangeUnknown.
    """
    check_admin(actor, connection, may="revoke its API keys")

    def is_revoked() -> bool:
        try:
            return not read_key(connection, key.id, actor=actor).is_active
        except (ChangeRefused, ChangeUnknown):
            return False

    _request(
        connection,
        actor,
        lambda admin: admin.revoke_key(key.id),
        what=f"revoke the API key {key.label}",
        code=code,
        has_happened=is_revoked,
    )
    record_change(
        "api_key.revoked",
        connection,
        actor,
        name=key.label,
        prefix=key.prefix,
        key=key.id,
        before=_reach_in_words(key),
        after="",
    )


def pause_key(
    *,
    connection: Connection,
    key_id: str,
    name: str,
    actor: Actor,
    mailbox: int | None = None,
) -> None:
    """Pause a key: MultiMail refuses what it sends until somebody resumes it. Pausing
    it twice is no error.

    A reviewer of the `mailbox` that the key floods may do this too. Raises
    ActNotAllowed, ChangeNotOffered if this MultiMail cannot pause a key, ChangeRefused,
    ChangeUnknown.
    """
    if not any(
        actor.is_a(role, connection=connection.pk, mailbox=mailbox)
        for role in (Role.REVIEWER, Role.ADMIN)
    ):
        raise ActNotAllowed(
            "Only an admin, or a reviewer of the mailbox that it fills, can pause this key."
        )
    _set_paused(connection, key_id, name, actor, on=True)


@second_admin("API key", calls_multimail=True)
def resume_key(
    *, connection: Connection, key: ApiKey, actor: Actor, code: str
) -> CanWait[None]:
    """Let a paused key send again. Raises as pause_key, and CodeWanted."""
    check_admin(actor, connection, may="resume its API keys")

    def in_words() -> ChangeInWords:
        now = read_key(connection, key.id, actor=actor)
        return ChangeInWords(
            title=f"API key {now.label}: resume it",
            before="paused" if now.is_paused else "sends",
            after="sends",
            page=reverse("api-key", args=[connection.pk, key.id]),
            connection=connection.pk,
            subjects=_owners(now),
        )

    yield in_words
    _set_paused(connection, key.id, key.label, actor, on=False, code=code)


def _owners(key: ApiKey) -> list[int]:
    """Return whom a change of a key concerns: those who own it."""
    return sorted({person for _, _, person in key_owners([key.id])})


# Pauses or resumes a key, checks that MultiMail did so, and records it.
def _set_paused(
    connection: Connection,
    key_id: str,
    name: str,
    actor: Actor,
    *,
    on: bool,
    code: str = "",
) -> None:
    try:
        answer = _request(
            connection,
            actor,
            lambda admin: admin.change_key(key_id, {"paused": on}),
            what=f"{'pause' if on else 'resume'} the API key {name}",
            code=code,
        )
    except ChangeUnknown:
        if _paused_by_id(connection).get(key_id) is not on:
            raise
        answer = {"paused_at": "read again" if on else None}
    if "paused_at" not in answer or bool(answer["paused_at"]) is not on:
        raise ChangeNotOffered(
            "This MultiMail cannot pause a key. Take the scope send from it on its page, or revoke it."
        )
    words = ("sends", "paused")
    record_change(
        "api_key.paused" if on else "api_key.resumed",
        connection,
        actor,
        name=name,
        key=key_id,
        before=words[not on],
        after=words[on],
    )


def _paused_by_id(connection: Connection) -> dict[str, bool]:
    """Return whether each key is paused, by its id; empty if the keys cannot be read."""
    try:
        rows = admin_client(connection, within=READ_SECONDS).list_keys()
    except errors.UpstreamError:
        return {}
    return {str(row["id"]): bool(row.get("paused_at")) for row in rows}


@atomic_with_retry
@second_admin("Owner of a key")
def set_owner(
    *,
    connection: Connection,
    key_id: str,
    name: str,
    person: Person | None,
    actor: Actor,
) -> CanWait[None]:
    """Set who owns the program that uses a key: that person may not approve what it
    sends. Raises ActNotAllowed.
    """
    check_admin(actor, connection, may="say whose program its API keys are")
    owners = KeyOwner.objects.filter(connection=connection, upstream_key_id=key_id)
    key_owner = owners.select_for_update().first()
    owner_before = key_owner.person if key_owner else None
    yield lambda: ChangeInWords(
        title=f"Owner of the API key {name}",
        before=f"{owner_before} ({owner_before.email}), who may not approve what it sends"
        if owner_before
        else "nobody",
        after=f"{person} ({person.email}), who may not approve what it sends"
        if person
        else "nobody",
        page=reverse("api-key", args=[connection.pk, key_id]),
        connection=connection.pk,
        # The present owner could approve what the key sends, the new one no longer.
        subjects=[one.pk for one in (owner_before, person) if one],
        # It only tightens if no owner is removed: a former owner could approve.
        tightens=owner_before in (None, person),
    )
    if person is None:
        owners.delete()
    else:
        KeyOwner.objects.update_or_create(
            connection=connection, upstream_key_id=key_id, defaults={"person": person}
        )
    record_of_connection(
        "api_key.owner_set",
        connection,
        actor,
        name=name,
        key=key_id,
        before=str(owner_before or "nobody"),
        after=str(person or "nobody"),
    )


# Returns the key that a row of MultiMail's list describes.
def _key(
    row: Mapping[str, Any], connection: Connection, owners: Mapping[str, Person]
) -> ApiKey:
    prefix = text_in(row, "prefix")
    key_id = text_in(row, "id")
    # The slots whose key begins like this one: the desk probably uses it there.
    # MultiMail shows only the prefix of a key, so this is no proof.
    begins = prefix.rstrip(".…")
    slots = [slot for slot, key in connection.keys.items() if key.startswith(begins)]
    return ApiKey(
        id=key_id,
        name=text_in(row, "name", most=200),
        prefix=prefix[:40],
        scopes=_texts(row.get("scopes")),
        mailboxes=_texts(row.get("mailboxes")),
        created_at=read_time(row.get("created_at")),
        last_used_at=read_time(row.get("last_used_at")),
        is_active=bool(row.get("is_active", True)) and not row.get("revoked_at"),
        expires_at=read_time(row.get("expires_at")),
        sandbox=bool(row.get("sandbox")),
        is_paused=bool(row.get("paused_at")),
        owner=owners.get(key_id),
        used_as=slots[0] if slots and len(begins) > 8 else "",
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(one)[:320] for one in value) if isinstance(value, list) else ()


def _reach_in_words(key: ApiKey) -> str:
    return _in_words({"scopes": key.scopes, "mailboxes": key.mailboxes})


# Returns values as text for the ledger; an empty value means all.
def _in_words(facts: Mapping[str, Any]) -> str:
    words = []
    for name, value in sorted(facts.items()):
        if isinstance(value, list | tuple):
            value = ", ".join(value)
        # A semicolon in a name would look like the end of this value.
        words.append(f"{name}: {str(value or 'all').replace(';', ',')}")
    return "; ".join(words)
