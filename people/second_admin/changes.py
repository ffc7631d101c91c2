"""Changes that wait for a second admin: asked for, and accepted, which carries them out,
declined or withdrawn.

Each end locks the row first, so that of two people at one moment the second finds it
ended.
"""

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from django.core import signing
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from audit.recording import record
from common.actors import Actor, Role
from common.encryption import decrypt, encrypt
from common.errors import SentenceError
from common.postgres import atomic_with_retry, clock
from people.errors import NotYours
from people.models import WAITS_FOR, Invitation, PendingChange, Person
from people.second_admin.registry import (
    ChangeInWords,
    WaitingCommand,
    command_of,
)

MAX_REASON = 1000
# A form has at most a mebibyte, and this text is one field of it.
MAX_PACKED = 1_000_000
_GOOD_FOR = 3600
_SALT = "change-for-second-admin:"


class ChangeNotWaiting(NotYours):
    """The change was accepted, declined, withdrawn or has expired meanwhile, or the
    actor cannot end it so.
    """


def covers(change: PendingChange, actor: Actor) -> bool:
    """Whether the actor is an admin of all that a change is of; without connection and
    mailbox, of everything.
    """
    connection, mailbox = place_of(change)
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


def pack(asked: ChangeInWords, actor: Actor) -> str:
    """Return a change as signed text for the form that asks for a reason. Raises
    NotYours where it is too long.
    """
    packed = signing.dumps(asdict(asked), salt=_SALT + actor.id, compress=True)
    if len(packed) > MAX_PACKED:
        raise NotYours("These are too many entries for one change. Split them.")
    return packed


def unpack(packed: str, actor: Actor) -> ChangeInWords:
    """Return the change of a signed text. Raises NotYours where it is another person's,
    or too old.
    """
    try:
        fields = signing.loads(packed, salt=_SALT + actor.id, max_age=_GOOD_FOR)
    except signing.BadSignature:
        raise NotYours(
            "This form is somebody else's, or more than an hour old. Make the change again."
        ) from None
    return ChangeInWords(**fields)


@atomic_with_retry
def ask_second_admin(
    *, asked: ChangeInWords, reason: str, actor: Actor
) -> PendingChange:
    """Store a change that waits for a second admin. The same change, asked twice, waits
    once. Raises NotYours.
    """
    if not actor.has(Role.ADMIN):
        raise NotYours("Only an admin can ask for a change.")
    if not reason.strip():
        raise NotYours("Give a reason: the second admin reads it.")
    same: dict[str, Any] = {
        "asked_by_id": int(actor.id),
        "command": asked.command,
        "url": asked.page,
        "change": asked.change,
    }
    if found := PendingChange.objects.waiting().filter(**same).first():
        return found
    made = PendingChange.objects.create(
        **same,
        connection_id=None if asked.mailbox is not None else asked.connection,
        mailbox_id=asked.mailbox,
        about_id=asked.about,
        title=asked.title[:400],
        before=asked.before,
        after=asked.after,
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


State = PendingChange.State
# Longer than all calls of one change together, so that only a dead process's row is
# carried out again.
LEASE = timedelta(minutes=2)
# For so long a person whose password was set with the asker's link counts as the asker.
TRUSTED_AFTER = timedelta(days=7)


@dataclass(frozen=True)
class Ended:
    """What became of a change, and what its command returned where it was carried out."""

    change: PendingChange
    result: object = None


def accept(*, change_id: int, actor: Actor, code: str = "") -> Ended:
    """Accept a change: run its command as the person who asked for it, with the ledger
    naming both.

    A change that is no longer possible ends as refused, with the command's sentence.
    One that calls MultiMail runs outside of a transaction, and waits again where its
    outcome is not known; `code` is an operator's code for it. Raises ChangeNotWaiting.
    """
    command = command_of(PendingChange.objects.only("command").get(pk=change_id))
    if not command.calls_multimail:
        return _accept(change_id, command, actor)
    found = _claim(change_id, actor)
    try:
        result = command.carry_out(found.change, actor=_both(found, actor), code=code)
    except SentenceError as error:
        state = State.REFUSED if error.is_final else State.WAITING
        return Ended(_finish(change_id, state, actor, error.sentence[:1000]))
    made = _made(command, result)
    return Ended(_finish(change_id, State.ACCEPTED, actor, "", made), result)


@atomic_with_retry
def decline(*, change_id: int, actor: Actor, reason: str = "") -> PendingChange:
    """Decline a change of somebody else's. Raises ChangeNotWaiting."""
    found = _lock_waiting(change_id)
    if found.is_of(actor):
        raise ChangeNotWaiting(
            "You asked for this change yourself. Withdraw it instead."
        )
    _check_covers(found, actor)
    return _end(found, State.DECLINED, actor, reason.strip()[:1000])


@atomic_with_retry
def withdraw_change(*, change_id: int, actor: Actor) -> PendingChange:
    """Withdraw one's own change. Raises ChangeNotWaiting."""
    found = _lock_waiting(change_id)
    if not found.is_of(actor):
        raise ChangeNotWaiting(
            "Only the person who asked for a change can withdraw it."
        )
    return _end(found, State.WITHDRAWN, actor, "")


@atomic_with_retry
def reveal_secret(*, change_id: int, actor: Actor) -> tuple[PendingChange, str]:
    """Return an accepted change with the secret that it made, once, to whoever asked
    for it.

    Raises ChangeNotWaiting.
    """
    found = _rows().get(pk=change_id)
    if not found.is_of(actor) or not covers(found, actor):
        raise ChangeNotWaiting(
            "Only the admin who asked for a change is shown the secret that it made."
        )
    if not found.has_secret:
        raise ChangeNotWaiting("This change made no secret, or it was shown before.")
    secret = decrypt(found.change.pop("secret"))
    found.save()
    record_change("change.secret_shown", found, actor)
    return found, secret


@atomic_with_retry
def _accept(change_id: int, command: WaitingCommand, actor: Actor) -> Ended:
    found = _lock_waiting(change_id)
    check_may_accept(found, actor)
    try:
        with transaction.atomic():
            result = command.carry_out(found.change, actor=_both(found, actor), code="")
    except SentenceError as error:
        return Ended(_end(found, State.REFUSED, actor, error.sentence[:1000]))
    return Ended(_end(found, State.ACCEPTED, actor, "", _made(command, result)), result)


def _made(command: WaitingCommand, result: object) -> str:
    """Return the secret that a command made, encrypted; empty where it made none."""
    return encrypt(command.made(result)) if command.made else ""


@atomic_with_retry
def _claim(change_id: int, actor: Actor) -> PendingChange:
    """Take the change for one call."""
    found = _lock_waiting(change_id)
    check_may_accept(found, actor)
    PendingChange.objects.filter(pk=found.pk).update(lease_until=Now() + LEASE)
    return found


@atomic_with_retry
def _finish(
    change_id: int, state: State, actor: Actor, outcome: str, made: str = ""
) -> PendingChange:
    """End a change that a call carried out, or let it wait for another try."""
    change = _rows().get(pk=change_id)
    if state != State.WAITING:
        return _end(change, state, actor, outcome, made)
    change.lease_until = None
    change.outcome = outcome
    change.save()
    return change


def check_may_accept(change: PendingChange, actor: Actor) -> None:
    """Raise ChangeNotWaiting unless the actor is a second admin for this change."""
    if change.is_of(actor):
        raise ChangeNotWaiting(
            "You asked for this change yourself. Another admin has to accept it."
        )
    if actor.id == str(change.about_id):
        raise ChangeNotWaiting(
            "This change is about your own roles. Another admin has to accept it."
        )
    _check_covers(change, actor)
    links = Invitation.objects.filter(
        kind=Invitation.Kind.PASSWORD, person=int(actor.id), invited_by=change.asked_by
    )
    if links.filter(accepted_at__gt=Now() - TRUSTED_AFTER).exists():
        raise ChangeNotWaiting(
            f"Your password was set in the last 7 days with a link that {change.asked_by} made, so {change.asked_by} "
            "may know it. Another admin has to accept this change."
        )


def _both(change: PendingChange, second: Actor) -> Actor:
    """Return the person who asked, with the roles of now, as the actor of the command;
    its entries name both.
    """
    # Without any role once deactivated, so that the command refuses.
    asker = change.asked_by.actor(surface=second.surface, address=second.address)
    proof = (("accepted_by", second.label), ("reason_of_change", change.reason))
    return replace(asker, second=second.id, proof=proof)


def _check_covers(change: PendingChange, actor: Actor) -> None:
    if not covers(change, actor):
        raise ChangeNotWaiting(
            "Only an admin of all that this changes can accept or decline it."
        )


def _rows() -> QuerySet[PendingChange]:
    named = PendingChange.objects.select_for_update(of=("self",))
    return named.select_related("asked_by", "mailbox", "connection")


def _lock_waiting(change_id: int) -> PendingChange:
    found = _rows().get(pk=change_id)
    now = clock()
    if found.state != State.WAITING:
        raise ChangeNotWaiting(
            f"This change is not waiting any more: {found.get_state_display().lower()}."
        )
    if found.expires_at <= now:
        raise ChangeNotWaiting("This change has expired. It can be asked for again.")
    if found.lease_until is not None and found.lease_until > now:
        raise ChangeNotWaiting(
            "This change is being carried out. Reload the page in a moment."
        )
    return found


def _end(
    change: PendingChange, state: str, actor: Actor, outcome: str, made: str = ""
) -> PendingChange:
    change.state = state
    change.outcome = outcome
    change.lease_until = None
    change.ended_by_id = int(actor.id)
    change.ended_at = clock()
    # Nothing else reads secret arguments any more, and only whoever asked is shown what
    # was made.
    change.change.pop("secret", None)
    if made:
        change.change["secret"] = made
    change.save()
    record_change(f"change.{state}", change, actor)
    return change
