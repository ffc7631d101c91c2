"""Asking a second admin for a change, and who could accept it."""

from dataclasses import asdict
from typing import Any

from django.core import signing
from django.db.models import Q
from django.db.models.functions import Now

from audit.recording import record
from common.actors import Actor, Role
from common.postgres.retry import atomic_with_retry
from people.errors import NotYours
from people.models import WAITS_FOR, PendingChange, Person
from people.second_admin.registry import AskedChange, ChangeInWords, command_of

MAX_REASON = 1000
# A form has at most a mebibyte, and this text is one field of it.
MAX_PACKED = 1_000_000
_GOOD_FOR = 3600
_SALT = "ask-second-admin:"


class ChangeNotWaiting(NotYours):
    """The change was accepted, declined, withdrawn or has expired meanwhile, or the
    actor cannot end it so.
    """


def covers(change: PendingChange, actor: Actor) -> bool:
    """Whether the actor is an admin of all that a change is of; without connection and
    mailbox, of everything.
    """
    connection, mailbox = place_of(change)
    if connection is None:
        return actor.is_admin_of_all
    return actor.is_a(Role.ADMIN, connection=connection, mailbox=mailbox)


def other_admins(change: PendingChange | ChangeInWords, *, asker: int) -> list[Person]:
    """Return the active people who could accept a change that `asker` asked for, by
    name.
    """
    connection, mailbox = place_of(change)
    here = Q(grants__connection=None, grants__mailbox=None)
    if connection is not None:
        here |= Q(grants__connection=connection)
        if mailbox is not None:
            here |= Q(grants__mailbox=mailbox)
    admins = Person.objects.filter(here, grants__role=Role.ADMIN, is_active=True)
    admins = admins.exclude(pk=asker)
    about = change.about if isinstance(change, ChangeInWords) else change.about_id
    if about is not None:
        admins = admins.exclude(pk=about)
    return list(admins.distinct().order_by("name", "email"))


def pack(asked: AskedChange, actor: Actor) -> str:
    """Return a change as signed text for the form that asks for a reason. Raises
    NotYours where it is too long.
    """
    packed = signing.dumps(asdict(asked), salt=_SALT + actor.id, compress=True)
    if len(packed) > MAX_PACKED:
        raise NotYours("These are too many entries for one change. Split them.")
    return packed


def unpack(packed: str, actor: Actor) -> AskedChange:
    """Return the change of a signed text. Raises NotYours where it is another person's,
    or too old.
    """
    try:
        fields: dict[str, Any] = signing.loads(
            packed, salt=_SALT + actor.id, max_age=_GOOD_FOR
        )
    except signing.BadSignature:
        raise NotYours(
            "This form is somebody else's, or more than an hour old. Make the change again."
        ) from None
    return AskedChange(
        fields["command"], ChangeInWords(**fields["words"]), fields["change"]
    )


@atomic_with_retry
def ask_second_admin(*, asked: AskedChange, reason: str, actor: Actor) -> PendingChange:
    """Store a change that waits for a second admin. The same change, asked twice, waits
    once. Raises NotYours.
    """
    if not actor.has(Role.ADMIN):
        raise NotYours("Only an admin can ask for a change.")
    if not reason.strip():
        raise NotYours("Give a reason: the second admin reads it.")
    words = asked.words
    same: dict[str, Any] = {
        "asked_by_id": int(actor.id),
        "command": asked.command,
        "url": words.page,
        "change": asked.change,
    }
    if found := PendingChange.objects.waiting().filter(**same).first():
        return found
    made = PendingChange.objects.create(
        **same,
        connection_id=None if words.mailbox is not None else words.connection,
        mailbox_id=words.mailbox,
        about_id=words.about,
        title=words.title[:400],
        before=words.before,
        after=words.after,
        reason=reason.strip()[:MAX_REASON],
        expires_at=Now() + WAITS_FOR,
    )
    made.refresh_from_db()
    record_change("change.asked", made, actor)
    return made


def record_change(action: str, change: PendingChange, actor: Actor) -> None:
    """Record what became of a change, with what it was and becomes."""
    record(
        action,
        actor=actor,
        connection=place_of(change)[0],
        about=change,
        details={
            "kind": command_of(change).kind,
            "change": change.title,
            "mailbox": str(change.mailbox or ""),
            "before": change.before,
            "after": change.after,
            "asked_by": str(change.asked_by),
            "reason": change.reason,
            "explanation": change.outcome,
        },
    )


def place_of(change: PendingChange | ChangeInWords) -> tuple[int | None, int | None]:
    """Return the keys of connection and mailbox of a change; a mailbox has its
    connection's key too.
    """
    if isinstance(change, ChangeInWords):
        return change.connection, change.mailbox
    if change.mailbox:
        return change.mailbox.connection_id, change.mailbox_id
    return change.connection_id, None
