"""Whether a change has to wait for a second admin, and asking for one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core import signing
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import record
from common.postgres.retry import atomic_with_retry
from people.actors import Actor, Role
from people.errors import NotYours
from people.models import WAITS_FOR, OrganisationSettings, PendingChange, Person
from people.second_admin.kinds import kind_named

MAX_REASON, MAX_WORDS = 1000, 4000
# A form has at most a mebibyte, and this text is one field of it.
MAX_PACKED = 1_000_000
_GOOD_FOR = 3600
_SALT = "ask-second-admin:"


@dataclass(frozen=True)
class AskedChange:
    """A change that an admin wants: the arguments of its command as JSON, and what it was and becomes in words.

    Without connection and mailbox it is of everything. `about` is the person whose rights it changes.
    """

    kind: str
    target: str
    title: str
    before: str
    after: str
    change: dict[str, Any]
    url_name: str
    url_args: Mapping[str, Any] = field(default_factory=dict)
    connection: int | None = None
    mailbox: int | None = None
    about: int | None = None

    @property
    def url(self) -> str:
        """The address of the page of what it changes."""
        return reverse(self.url_name, kwargs=dict(self.url_args))


class SecondAdminNeeded(Exception):
    """A command loosens policy, and a second admin has to accept that first. Nothing was changed."""

    def __init__(self, asked: AskedChange) -> None:
        super().__init__(asked.title)
        self.asked = asked


class ChangeNotWaiting(NotYours):
    """The change was accepted, declined, withdrawn or has expired meanwhile, or the actor cannot end it so."""


def is_second_admin_on() -> bool:
    """Whether the organisation switched on that loosening waits for a second admin."""
    return OrganisationSettings.objects.filter(second_admin_since__isnull=False).exists()


def wants_second_admin(actor: Actor) -> bool:
    """Whether a loosening that this actor wants has to wait: a person's, unless a second admin accepted it.

    Operators on the command line and rules are no admins who could be two; what they may do is decided elsewhere.
    """
    return actor.kind == "person" and not actor.second and is_second_admin_on()


def covers(actor: Actor, *, connection: int | None, mailbox: int | None) -> bool:
    """Whether the actor is an admin of the whole target; without connection and mailbox, of everything."""
    admin = actor.acting_as(Role.ADMIN)
    if connection is None:
        return admin.is_admin_of_all
    return any(scope.reaches(connection=connection, mailbox=mailbox) for scope in admin.scopes)


def other_admins(change: PendingChange | AskedChange, *, asker: int) -> list[Person]:
    """Return the active people who could accept a change that `asker` asked for, by name."""
    connection, mailbox = _place(change)
    here = Q(grants__connection=None, grants__mailbox=None)
    if connection is not None:
        here |= Q(grants__connection=connection)
        if mailbox is not None:
            here |= Q(grants__mailbox=mailbox)
    admins = Person.objects.filter(here, grants__role=Role.ADMIN, is_active=True)
    about = change.about if isinstance(change, AskedChange) else change.about_id
    return list(admins.exclude(pk__in=[one for one in (asker, about) if one]).distinct().order_by("name", "email"))


def pack(asked: AskedChange, actor: Actor) -> str:
    """Return a change as signed text for the form that asks for a reason. Raises NotYours where it is too long."""
    packed = signing.dumps(vars(asked), salt=_SALT + actor.id, compress=True)
    if len(packed) > MAX_PACKED:
        raise NotYours("These are too many entries for one change. Split them.")
    return packed


def unpack(packed: str, actor: Actor) -> AskedChange:
    """Return the change of a signed text. Raises NotYours where it is another person's, or too old."""
    try:
        fields: dict[str, Any] = signing.loads(packed, salt=_SALT + actor.id, max_age=_GOOD_FOR)
    except signing.BadSignature:
        raise NotYours("This form is somebody else's, or more than an hour old. Make the change again.") from None
    return AskedChange(**fields)


@atomic_with_retry
def ask_second_admin(*, asked: AskedChange, reason: str, actor: Actor) -> PendingChange:
    """Store a change that waits for a second admin. The same change, asked twice, waits once. Raises NotYours."""
    if not actor.has(Role.ADMIN):
        raise NotYours("Only an admin can ask for a change.")
    if not reason.strip():
        raise NotYours("Give a reason: the second admin reads it.")
    same = PendingChange.objects.waiting().filter(
        asked_by=int(actor.id), kind=asked.kind, target=asked.target, change=asked.change
    )
    if found := same.first():
        return found
    made = PendingChange.objects.create(
        kind=asked.kind,
        target=asked.target,
        connection_id=None if asked.mailbox is not None else asked.connection,
        mailbox_id=asked.mailbox,
        about_id=asked.about,
        title=asked.title[:400],
        before=asked.before[:MAX_WORDS],
        after=asked.after[:MAX_WORDS],
        url=asked.url,
        change=asked.change,
        asked_by_id=int(actor.id),
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
        connection=_place(change)[0],
        about=change,
        details={
            "kind": kind_named(change.kind).words,
            "change": change.title,
            "mailbox": str(change.mailbox or ""),
            "before": change.before,
            "after": change.after,
            "asked_by": str(change.asked_by),
            "reason": change.reason,
            "explanation": change.outcome,
        },
    )


def _place(change: PendingChange | AskedChange) -> tuple[int | None, int | None]:
    if isinstance(change, AskedChange):
        return change.connection, change.mailbox
    mailbox = change.mailbox
    return (mailbox.connection_id if mailbox else change.connection_id), change.mailbox_id


def place_of(change: PendingChange) -> tuple[int | None, int | None]:
    """Return the keys of connection and mailbox of a change; a mailbox has its connection's key too."""
    return _place(change)
