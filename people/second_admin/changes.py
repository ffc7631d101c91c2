"""The commands for changes that wait for a second admin: asking for one, accepting it,
which carries it out, declining it, and withdrawing it.

Each locks the change's row first. If two people end a change at the same moment, the
second one is told that it has ended.
"""

from dataclasses import asdict, replace
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
from people.identities import Identities
from people.models import WAITS_FOR, PendingChange, Person
from people.second_admin.registry import ChangeInWords, WaitingCommand, command_of

# In characters.
MAX_REASON = 1000
# In characters. Forms are limited to a mebibyte, and this text is one field of a form.
MAX_PACKED = 1_000_000
# How many seconds the form that asks for a reason is valid.
_GOOD_FOR = 3600
_SALT = "change-for-second-admin:"


class ChangeTooLong(NotYours):
    """The change does not fit into the form that asks for a reason."""

    status = 422


class ChangeNotWaiting(NotYours):
    """The change has ended or expired meanwhile, or the actor may not end it in this
    way.
    """

    status = 409


def covers(change: PendingChange, actor: Actor) -> bool:
    """Whether the actor is an admin of all that a change is for. A change without
    connection and mailbox is for everything.
    """
    connection, mailbox = place_of(change)
    return actor.is_a(Role.ADMIN, connection=connection, mailbox=mailbox)


def other_admins(change: PendingChange | ChangeInWords, *, asker: int) -> list[Person]:
    """Return the active people who could accept a change that `asker` asked for, by
    name. Whom the change concerns is not among them, nor anybody who counts as one
    person with one of these or with `asker`.
    """
    connection, mailbox = place_of(change)
    covering = Q(grants__connection=None, grants__mailbox=None)
    if connection is not None:
        covering |= Q(grants__connection=connection)
        if mailbox is not None:
            covering |= Q(grants__mailbox=mailbox)
    admins = Person.objects.filter(covering, grants__role=Role.ADMIN, is_active=True)
    barred = Identities().same_as((asker, *change.subjects))
    return list(admins.exclude(pk__in=barred).distinct().order_by("name", "email"))


def pack(asked: ChangeInWords, actor: Actor) -> str:
    """Return a change as signed text, which the form that asks for a reason carries.
    Raises ChangeTooLong.
    """
    packed = signing.dumps(asdict(asked), salt=_SALT + actor.id, compress=True)
    if len(packed) > MAX_PACKED:
        raise ChangeTooLong("These are too many entries for one change. Split them.")
    return packed


def unpack(packed: str, actor: Actor) -> ChangeInWords:
    """Return the change in a text that `pack` signed. Raises NotYours if it was signed
    for somebody else, or more than an hour ago.
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
    """Store a change that waits for a second admin. If the actor asked for the same
    change before and it still waits, return that one. Raises NotYours.
    """
    if not actor.has(Role.ADMIN):
        raise NotYours("Only an admin can ask for a change.")
    if not reason.strip():
        raise NotYours("Give a reason: the second admin reads it.")
    same: dict[str, Any] = {
        "asked_by_id": actor.person_id,
        "command": asked.command,
        "url": asked.page,
        "change": asked.change,
    }
    if earlier := PendingChange.objects.waiting().filter(**same).first():
        return earlier
    pending = PendingChange.objects.create(
        **same,
        connection_id=None if asked.mailbox is not None else asked.connection,
        mailbox_id=asked.mailbox,
        subjects=asked.subjects,
        title=asked.title[:400],
        before=asked.before,
        after=asked.after,
        reason=reason.strip()[:MAX_REASON],
        expires_at=Now() + WAITS_FOR,
    )
    pending.refresh_from_db()
    record_change("change.asked", pending, actor)
    return pending


def record_change(action: str, change: PendingChange, actor: Actor) -> None:
    """Write to the ledger what became of a change, with what it changes and why."""
    record(
        action,
        actor,
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
    """Return the keys of the connection and the mailbox that a change is for. With a
    mailbox comes the key of its connection; None and None mean everything.
    """
    if isinstance(change, ChangeInWords):
        return change.connection, change.mailbox
    if change.mailbox:
        return change.mailbox.connection_id, change.mailbox_id
    return change.connection_id, None


State = PendingChange.State
# How long a change is reserved for the request that carries it out. Longer than all
# calls of one change take together: it is carried out again only if that process died.
LEASE = timedelta(minutes=2)
# How many characters of a link are for whoever accepts it: half of its token.
_HALF = 22


def accept(*, change_id: int, actor: Actor, code: str = "") -> PendingChange:
    """Accept a change: run its command as the person who asked for it. The ledger names
    both people. Return the change as it is then.

    If the command refuses, because the change is no longer possible, the change ends as
    refused with the command's sentence. A command that calls MultiMail runs outside of
    a transaction; if the call may succeed later, the change waits again. `code` is an
    operator's code for that call. Raises ChangeNotWaiting.
    """
    command = command_of(PendingChange.objects.only("command").get(pk=change_id))
    if not command.calls_multimail:
        return _accept(change_id, command, actor)
    change = _claim(change_id, actor)
    try:
        secrets = _carry_out(change, command, actor, code)
    except SentenceError as error:
        state = State.REFUSED if error.is_final else State.WAITING
        return _finish(change_id, state, actor, error.sentence[:1000])
    return _finish(change_id, State.ACCEPTED, actor, "", secrets)


@atomic_with_retry
def decline(*, change_id: int, actor: Actor, reason: str = "") -> PendingChange:
    """Decline a change that somebody else asked for. Raises ChangeNotWaiting."""
    change = _lock_waiting(change_id)
    if change.is_of(actor):
        raise ChangeNotWaiting(
            "You asked for this change yourself. Withdraw it instead."
        )
    _check_covers(change, actor)
    return _end(change, State.DECLINED, actor, reason.strip()[:1000])


@atomic_with_retry
def withdraw_change(*, change_id: int, actor: Actor) -> PendingChange:
    """Withdraw a change that the actor asked for. Raises ChangeNotWaiting."""
    change = _lock_waiting(change_id)
    if not change.is_of(actor):
        raise ChangeNotWaiting(
            "Only the person who asked for a change can withdraw it."
        )
    return _end(change, State.WITHDRAWN, actor, "")


@atomic_with_retry
def reveal_secret(*, change_id: int, actor: Actor) -> tuple[PendingChange, str]:
    """Return an accepted change and the secret that it made for the actor, once: all of
    it for the admin who asked, or one half of a link for each of both admins. Raises
    ChangeNotWaiting.
    """
    change = _locked_changes().get(pk=change_id)
    name = change.secret_for(actor)
    if not name or not covers(change, actor):
        raise ChangeNotWaiting(
            "This change made no secret for you, or it was shown before."
        )
    secret = decrypt(change.change.pop(name))
    change.save()
    record_change("change.secret_shown", change, actor)
    return change, secret


@atomic_with_retry
def take_link(change_id: int) -> str:
    """Return the link that an accepted change made, which is shown to nobody any more;
    empty if a half of it was shown already.
    """
    change = _locked_changes().get(pk=change_id)
    if not {"secret", "second_half"} <= change.change.keys():
        return ""
    halves = [change.change.pop(name) for name in ("secret", "second_half")]
    change.save()
    return "".join(map(decrypt, halves))


@atomic_with_retry
def put_link_back(change_id: int, link: str) -> None:
    """Let the two admins see their halves of a link that could not be mailed."""
    change = _locked_changes().get(pk=change_id)
    change.change |= _halves(link)
    change.save()


@atomic_with_retry
def _accept(change_id: int, command: WaitingCommand, actor: Actor) -> PendingChange:
    change = _lock_waiting(change_id)
    check_may_accept(change, actor)
    try:
        with transaction.atomic():
            secrets = _carry_out(change, command, actor)
    except SentenceError as error:
        return _end(change, State.REFUSED, actor, error.sentence[:1000])
    return _end(change, State.ACCEPTED, actor, "", secrets)


def _carry_out(
    change: PendingChange, command: WaitingCommand, second: Actor, code: str = ""
) -> dict[str, str]:
    """Run the command of an accepted change as the person who asked, with their current
    roles; its ledger entries name the second admin too. Return the secrets that it
    made, encrypted.
    """
    # A deactivated person has no role, so that the command refuses.
    asker = change.asked_by.actor(surface=second.surface, address=second.address)
    proof = (("accepted_by", second.label), ("reason_of_change", change.reason))
    asker = replace(asker, second=second.id, proof=proof)
    result = command.carry_out(change.change, actor=asker, code=code)
    made = command.made(result) if command.made else ""
    if command.is_link:
        return _halves(made)
    return {"secret": encrypt(made)} if made else {}


def _halves(link: str) -> dict[str, str]:
    halves = {"secret": link[:-_HALF], "second_half": link[-_HALF:]}
    return {name: encrypt(one) for name, one in halves.items()}


@atomic_with_retry
def _claim(change_id: int, actor: Actor) -> PendingChange:
    """Reserve the change for one request that carries it out, and return it."""
    change = _lock_waiting(change_id)
    check_may_accept(change, actor)
    PendingChange.objects.filter(pk=change.pk).update(lease_until=Now() + LEASE)
    return change


@atomic_with_retry
def _finish(
    change_id: int,
    state: State,
    actor: Actor,
    outcome: str,
    secrets: dict[str, str] | None = None,
) -> PendingChange:
    """End a change whose command was called or, with the state WAITING, let it wait for
    another try.
    """
    change = _locked_changes().get(pk=change_id)
    if state != State.WAITING:
        return _end(change, state, actor, outcome, secrets)
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
    person = actor.person_id
    if person in change.subjects:
        raise ChangeNotWaiting(
            "This change concerns you. Another admin has to accept it."
        )
    _check_covers(change, actor)
    identities = Identities()
    same = identities.why_one(
        person, [change.asked_by_id], "asked for this", at=change.asked_at
    ) or identities.why_one(person, change.subjects, "is concerned by this")
    if same:
        raise ChangeNotWaiting(same)


def _check_covers(change: PendingChange, actor: Actor) -> None:
    if not covers(change, actor):
        raise ChangeNotWaiting(
            "Only an admin of all that this changes can accept or decline it."
        )


def _locked_changes() -> QuerySet[PendingChange]:
    locked = PendingChange.objects.select_for_update(of=("self",))
    return locked.select_related("asked_by", "mailbox", "connection")


def _lock_waiting(change_id: int) -> PendingChange:
    change = _locked_changes().get(pk=change_id)
    now = clock()
    if change.state != State.WAITING:
        raise ChangeNotWaiting(
            f"This change is not waiting any more: {change.get_state_display().lower()}."
        )
    if change.expires_at <= now:
        raise ChangeNotWaiting("This change has expired. It can be asked for again.")
    if change.lease_until is not None and change.lease_until > now:
        raise ChangeNotWaiting(
            "This change is being carried out. Reload the page in a moment."
        )
    return change


def _end(
    change: PendingChange,
    state: str,
    actor: Actor,
    outcome: str,
    secrets: dict[str, str] | None = None,
) -> PendingChange:
    change.state = state
    change.outcome = outcome
    change.lease_until = None
    change.ended_by_id = actor.person_id
    change.ended_at = clock()
    # Secret arguments are not needed any more. A secret that the command made takes
    # their place, until it was shown.
    change.change.pop("secret", None)
    change.change |= secrets or {}
    change.save()
    record_change(f"change.{state}", change, actor)
    return change
