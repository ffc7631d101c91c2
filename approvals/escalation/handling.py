"""Assigns messages: by hand, in turn to those on duty, or as a step of the ladder; and
extends their deadlines. A person who is away is passed over.

An assignment is a claim that somebody else made; it informs, and keeps nobody else from
deciding. An extension asks for a reason, and is recorded.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from approvals import collaboration, tasks
from approvals.decisions.ruling import is_reviewer, lock_visible, may_handle, rulings
from approvals.desk_messages import awaits_review
from approvals.errors import AlreadyDecided
from approvals.models import Claim, Review
from audit.recording import changed
from common.actors import Actor, rule
from common.postgres import clock
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.recording import record_about
from people.models import Person
from policy.calendars import is_working_time
from policy.models import DutyTurn

ACTOR = rule("review plan")
MAX_REASON = 500
LONGEST = timedelta(days=90)


def on_duty(message: Message, *, now: datetime) -> QuerySet[Person]:
    """Return who is on duty for a message's mailbox now and is not away."""
    turns = DutyTurn.objects.filter(
        Q(mailbox=message.mailbox_id) | Q(mailbox=None)
    ).select_related("calendar")
    working = {turn.person_id for turn in turns if is_working_time(turn.calendar, now)}
    return Person.objects.present().filter(pk__in=working)


def able_to_review(people: QuerySet[Person], message: Message) -> list[Person]:
    """Return those who can review the message, whoever was assigned something longest
    ago first; the rows are locked.

    Those who may approve it come before those who may not, such as its author.
    """
    # Locked, so that two workers do not choose the same person at one moment.
    ordered = people.order_by(
        F("assigned_at").asc(nulls_first=True), "pk"
    ).select_for_update(no_key=True)
    actors = [(one, one.actor(surface="worker")) for one in ordered]
    reviewers = [(one, actor) for one, actor in actors if is_reviewer(actor, message)]
    may_approve = {
        one.pk: rulings([message], actor)[message.pk].may_approve
        for one, actor in reviewers
    }
    return sorted(
        (one for one, _ in reviewers), key=lambda one: not may_approve[one.pk]
    )


def assign_first(
    message: Message, people: QuerySet[Person], *, why: str
) -> Person | None:
    """Assign a locked message to the first of these people who can review it; None
    where nobody can.
    """
    chosen = next(iter(able_to_review(people, message)), None)
    if chosen is not None:
        collaboration.assign_claim(message, to=chosen, actor=ACTOR, why=why)
    return chosen


def _lock_waiting(message: UUID, *, actor: Actor, act: str, cannot: str) -> Message:
    locked = lock_visible(message, actor=actor)
    if not may_handle(actor, locked):
        raise ActNotAllowed(f"Only a reviewer or admin of this mailbox can {act}.")
    if not awaits_review(locked.pk):
        raise AlreadyDecided(f"This message is already decided, so {cannot}.")
    return locked


@atomic_with_retry
def assign_by_hand(*, message: UUID, to: int, actor: Actor) -> Claim:
    """Assign a message to a reviewer of its mailbox, instead of whoever has it.

    Raises ActNotAllowed where the actor may not assign, or the person cannot review it
    or is away; AlreadyDecided where nothing is left to decide.
    """
    locked = _lock_waiting(
        message,
        actor=actor,
        act="assign its messages",
        cannot="it cannot be assigned",
    )
    person = Person.objects.filter(pk=to, is_active=True).first()
    if person is None or not is_reviewer(person.actor(surface="web"), locked):
        raise ActNotAllowed("Choose a reviewer of this mailbox.")
    if not Person.objects.present().filter(pk=to).exists():
        raise ActNotAllowed(f"{person} is out of office. Choose somebody else.")
    return collaboration.assign_claim(
        locked, to=person, actor=actor, why=f"By {actor.label}."
    )


def candidates(message: Message) -> list[Person]:
    """Return the reviewers of a message's mailbox, by name, whether they are away or
    not.
    """
    seeing = Person.objects.seeing(
        connection=message.connection_id, mailbox=message.mailbox_id
    )
    return [one for one in seeing if is_reviewer(one.actor(surface="web"), message)]


def left_by_the_absent() -> QuerySet[Claim]:
    """Return the assignments of held messages to people who are out of office now."""
    held = Claim.objects.live().filter(is_assigned=True)
    return held.exclude(person__in=Person.objects.present()).order_by("pk")


def pass_on(claim_ids: Iterable[int]) -> None:
    """Give what is assigned to people who are away to those on duty; without any,
    release it.
    """
    for claim_id in claim_ids:
        _pass_on(claim_id)


@atomic_with_retry
def _pass_on(claim_id: int) -> None:
    found = (
        left_by_the_absent()
        .filter(pk=claim_id)
        .select_related("message", "person")
        .first()
    )
    if found is None:
        return
    locked = (
        Message.objects.select_for_update(of=("self",), no_key=True)
        .with_content()
        .get(pk=found.message_id)
    )
    # Checked again under the lock.
    if not left_by_the_absent().filter(pk=claim_id).exists():
        return
    why = f"{found.person} is out of office."
    if assign_first(locked, on_duty(locked, now=clock()), why=why) is None:
        collaboration.end_claims(Claim.objects.on(locked), actor=ACTOR, why=why)


@atomic_with_retry
def extend_deadline(
    *, message: UUID, actor: Actor, until: datetime, reason: str
) -> Message:
    """Extend every deadline of a message that is earlier than `until` to that time.

    Of an extension and the expiry at one moment the first counts: what has expired
    stays so. Raises ActNotAllowed, AlreadyDecided.
    """
    locked = _lock_waiting(
        message,
        actor=actor,
        act="extend a deadline",
        cannot="its deadline cannot be extended",
    )
    now = clock()
    deadline = deadline_of(locked)
    if deadline is None:
        raise ActNotAllowed("This message has no deadline.")
    if locked.expires_at is not None and locked.expires_at <= now:
        raise ActNotAllowed("This message has expired; it is being rejected.")
    if not reason.strip():
        raise ActNotAllowed("Write why it needs more time.")
    if until <= max(now, deadline):
        raise ActNotAllowed("Choose a time after now and after its present deadline.")
    if until > now + LONGEST:
        raise ActNotAllowed("Choose a time in the next 90 days.")
    before = locked.expires_at
    if before is not None:
        locked.expires_at = max(before, until)
    locked.save(update_fields=["expires_at"])
    # It is warned of the new expiry too.
    Review.objects.filter(pk=locked.pk).update(
        extended_to=until, expiry_told_at=None, late_since=None, watch_at=Now()
    )
    details = {
        "subject": locked.subject,
        "reason": reason,
        "deadline": f"{until:%Y-%m-%d %H:%M} UTC",
        **changed(before=_moment(before), after=_moment(locked.expires_at)),
    }
    record_about("message.extended", locked, actor=actor, details=details, about=locked)
    if locked.expires_at != before and locked.connection.is_our_gateway:
        tasks.tell_expiry.delay_on_commit(locked.pk)
    return locked


def deadline_of(message: Message) -> datetime | None:
    """Return the earliest deadline that a message has."""
    return min(
        filter(
            None, (message.expires_at, message.review.decide_by, message.review.look_by)
        ),
        default=None,
    )


def _moment(at: datetime | None) -> str:
    return f"expires: {at:%Y-%m-%d %H:%M} UTC" if at else "expires: never"
