"""Carries out the review plan of a mailbox for its held messages: marks late ones, and
does the steps of the plan's ladder, which remind people or assign messages to them.
People can also assign messages by hand, and extend deadlines. People who are out of
office are passed over.

An assignment is a claim that somebody else made. It keeps nobody from deciding. An
extension needs a reason, which is recorded.

The sweep calls `watch` for messages whose `watch_at` has come, by the database's clock.
Each message is locked and has a transaction of its own. A step is done only once
(`StepDone`), however many workers run. If several steps became due during a pause, only
the last of them is done.

`steps_ahead` only reads: what the plan will do if nobody acts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, Q, QuerySet
from django.db.models.functions import Now
from django.db.models.signals import post_delete
from django.dispatch import Signal

from approvals import collaboration, tasks
from approvals.decisions.by_rule import latest_expiry
from approvals.decisions.ruling import is_reviewer, lock_visible, may_handle, ruling_of
from approvals.desk_messages import DeskMessageQuerySet, awaits_review, desk_messages
from approvals.errors import AlreadyDecided
from approvals.models import Claim, Reminder, Review, StepDone
from audit.models import Entry
from common.actors import Actor, rule
from common.durations import minutes_in_words
from common.postgres import atomic_with_retry, clock
from common.time_zones import day_and_time
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.recording import record_about
from people.models import Person
from policy.calendars import is_working_time
from policy.models import DutyTurn, LadderStep, ReviewPlan, WorkCalendar
from policy.review_plans import Deadlines, DueStep, deadlines_of, plan_for, steps_of

ACTOR = rule("review plan")
# Characters of the reason for an extension.
MAX_REASON = 500
# How far from now a deadline can be extended.
LONGEST = timedelta(days=90)


def on_duty(message: Message, at: datetime) -> QuerySet[Person]:
    """Return the people who are on duty for a message's mailbox then and not out of
    office.
    """
    turns = DutyTurn.objects.filter(
        Q(mailbox=message.mailbox_id) | Q(mailbox=None)
    ).select_related("calendar")
    working = {turn.person_id for turn in turns if is_working_time(turn.calendar, at)}
    return Person.objects.present(at).filter(pk__in=working)


def able_to_review(people: QuerySet[Person], message: Message) -> list[Person]:
    """Return those of the people who can review the message.

    First come people who may approve it, then those who may not, such as its author; in
    both groups, whoever was assigned a message longest ago comes first.
    """
    ordered = people.order_by(F("assigned_at").asc(nulls_first=True), "pk")
    actors = {one: one.actor(surface="worker") for one in ordered}
    reviewers = [one for one, actor in actors.items() if is_reviewer(actor, message)]
    if message.pk is None:
        # What a sample would need to be approved is not known.
        return reviewers
    return sorted(
        reviewers,
        key=lambda one: not ruling_of(message, actors[one]).may_approve,
    )


def assign_first(message: Message, people: QuerySet[Person], why: str) -> Person | None:
    """Assign a locked message to the first of these people in the order of
    `able_to_review`, and return that person; None if nobody can review it.
    """
    # Locked, so that two workers do not choose the same person at the same time.
    locked = people.select_for_update(no_key=True)
    chosen = next(iter(able_to_review(locked, message)), None)
    if chosen is not None:
        collaboration.assign_claim(message, to=chosen, actor=ACTOR, why=why)
    return chosen


def _lock_waiting(message: UUID, actor: Actor, *, act: str, cannot: str) -> Message:
    # Locks a message that awaits review. Raises ActNotAllowed if the actor is neither
    # reviewer nor admin of its mailbox, AlreadyDecided if it awaits no review; `act`
    # and `cannot` complete the sentences.
    locked = lock_visible(message, actor)
    if not may_handle(actor, locked):
        raise ActNotAllowed(f"Only a reviewer or admin of this mailbox can {act}.")
    if not awaits_review(locked.pk):
        raise AlreadyDecided(f"This message is already decided, so {cannot}.")
    return locked


@atomic_with_retry
def assign_by_hand(*, message: UUID, to: int, actor: Actor) -> Claim:
    """Assign a message to a reviewer of its mailbox, and return the claim. A claim of
    somebody else ends.

    Raises ActNotAllowed if the actor may not assign, or the person cannot review it or
    is out of office; AlreadyDecided if it awaits no decision.
    """
    locked = _lock_waiting(
        message, actor, act="assign its messages", cannot="it cannot be assigned"
    )
    person = Person.objects.filter(pk=to, is_active=True).first()
    if person is None or not is_reviewer(person.actor(surface="web"), locked):
        raise ActNotAllowed("Choose a reviewer of this mailbox.")
    if not Person.objects.present().filter(pk=to).exists():
        raise ActNotAllowed(f"{person} is out of office. Choose somebody else.")
    return collaboration.assign_claim(
        locked, to=person, actor=actor, why=f"By {actor.label}."
    )


def left_by_the_absent() -> QuerySet[Claim]:
    """Return the assignments of held messages to people who are out of office now."""
    held = Claim.objects.live().filter(is_assigned=True)
    return held.exclude(person__in=Person.objects.present()).order_by("pk")


@atomic_with_retry
def pass_on(claim_id: int) -> None:
    """Assign a message anew whose assignee is out of office: to somebody on duty who
    can review it. If there is nobody, only end the assignment.
    """
    claim = (
        left_by_the_absent()
        .filter(pk=claim_id)
        .select_related("message", "person")
        .first()
    )
    if claim is None:
        return
    locked = (
        Message.objects.select_for_update(of=("self",), no_key=True)
        .with_content()
        .get(pk=claim.message_id)
    )
    # Checked again under the lock.
    if not left_by_the_absent().filter(pk=claim_id).exists():
        return
    why = f"{claim.person} is out of office."
    if assign_first(locked, on_duty(locked, clock()), why) is None:
        collaboration.end_claims(Claim.objects.on(locked), ACTOR, why=why)


@atomic_with_retry
def extend_deadline(
    *, message: UUID, actor: Actor, until: datetime, reason: str
) -> None:
    """Extend the deadlines of a message, among them its expiry, to `until`; those that
    are later stay.

    A message that has expired cannot be extended, nor its expiry beyond what the policy
    allows. Raises ActNotAllowed, AlreadyDecided.
    """
    locked = _lock_waiting(
        message,
        actor,
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
    until = until.astimezone(UTC)
    before = locked.expires_at
    if before is not None:
        latest = max(before, latest_expiry(locked, actor, now) or until)
        if until > latest:
            raise ActNotAllowed(
                f"By the policy it expires on {day_and_time(latest)} at the latest: choose a time until then. "
                "A new version of the policy can allow more."
            )
        locked.expires_at = max(before, until)
    locked.save(update_fields=["expires_at"])
    # With `expiry_told_at` empty, the new expiry is announced too.
    Review.objects.filter(pk=locked.pk).update(
        extended_to=until, expiry_told_at=None, late_since=None, watch_at=Now()
    )
    record_about(
        "message.extended",
        locked,
        actor,
        details={
            "subject": locked.subject,
            "reason": reason,
            "deadline": f"{until:%Y-%m-%d %H:%M} UTC",
            "before": _moment(before),
            "after": _moment(locked.expires_at),
        },
        about=locked,
    )
    if locked.expires_at != before and locked.connection.is_our_gateway:
        tasks.tell_expiry.delay_on_commit(locked.pk)


def deadline_of(message: Message) -> datetime | None:
    """Return the earliest of a message's expiry and its targets by the review plan;
    None if it has none.
    """
    return min(
        filter(
            None, (message.expires_at, message.review.decide_by, message.review.look_by)
        ),
        default=None,
    )


def _moment(at: datetime | None) -> str:
    return f"expires: {at:%Y-%m-%d %H:%M} UTC" if at else "expires: never"


# How soon a message is checked again that waits for something without a known time: for
# its first look, for an undo, for somebody to come on duty.
SOON = timedelta(minutes=1)
# The `StepDone` that a message was assigned in turn.
IN_TURN = "assigned in turn"


def to_watch() -> DeskMessageQuerySet:
    """Return the messages for which something may be due, the longest due first; none
    if there is no review plan.
    """
    return (
        desk_messages()
        .to_watch()
        .filter(Exists(ReviewPlan.objects.all()))
        .order_by("review__watch_at")
    )


def on_plan_changed(
    instance: ReviewPlan | DutyTurn | WorkCalendar, signal: Signal, **_: Any
) -> None:
    """Have the sweep check the held messages of a mailbox, or of all, after its plan
    or duty was changed, or a calendar. If a plan was removed, their deadlines are
    removed too.
    """
    reviews = Review.objects.filter(is_held=True)
    mailbox = getattr(instance, "mailbox_id", None)
    if mailbox is not None:
        reviews = reviews.filter(message__mailbox=mailbox)
    reviews.update(watch_at=Now())
    if isinstance(instance, ReviewPlan) and signal is post_delete:
        reviews.update(late_since=None, look_by=None, decide_by=None)


def ladder_of(
    plan: ReviewPlan, message: Message
) -> tuple[Deadlines, Sequence[DueStep]]:
    """Return the deadlines of a held message by its plan, and the plan's steps."""
    risk, held_at = message.review.risk_level, message.held_at
    deadlines = deadlines_of(
        plan, risk=risk, held_at=held_at, extended_to=message.review.extended_to
    )
    return deadlines, steps_of(plan, deadlines, risk=risk, held_at=held_at)


def is_last_step_done(message: Message) -> bool:
    """Whether the last step of the message's review plan was done."""
    plan = plan_for(message.mailbox_id)
    steps = ladder_of(plan, message)[1] if plan else ()
    return bool(steps) and message.steps_done.filter(step=steps[-1].key).exists()


def is_looked_at(message: Message) -> bool:
    """Whether somebody opened the message, which is its first look."""
    entries = Entry.objects.of_message(message.public_id)
    return entries.of_action("message.opened").exists()


@transaction.atomic
def watch(message_id: int) -> None:
    """Do what the review plan says is due for one message, and store its deadlines and
    when to check it again.
    """
    to_lock = (
        to_watch()
        .select_for_update(of=("self",), no_key=True, skip_locked=True)
        .filter(pk=message_id)
    )
    message = to_lock.with_content().select_related("connection", "review").first()
    if message is None:
        return
    plan = plan_for(message.mailbox_id)
    now = clock()
    review = Review.objects.filter(pk=message.pk)
    if plan is None:
        review.update(watch_at=None, look_by=None, decide_by=None, late_since=None)
        return
    if not awaits_review(message.pk):
        # It is decided, but the decision may be undone, or the message held again.
        review.update(watch_at=now + SOON)
        return
    deadlines, ladder = ladder_of(plan, message)
    has_look = is_looked_at(message)
    done = set(message.steps_done.values_list("step", flat=True))
    is_unassigned = False
    if plan.assigns_in_turn and IN_TURN not in done:
        # In turn it is assigned once, and not if somebody has claimed it.
        is_unassigned = (
            not Claim.objects.on(message).live().exists()
            and assign_first(
                message, on_duty(message, now), "In turn, to those on duty."
            )
            is None
        )
        if not is_unassigned:
            StepDone.objects.bulk_create(
                [StepDone(message=message, step=IN_TURN)], ignore_conflicts=True
            )
    targets = [deadlines.decide_by, None if has_look else deadlines.look_by]
    late_since = min((at for at in targets if at and at <= now), default=None)
    steps = [
        due
        for due in ladder
        if due.key not in done
        and not (has_look and due.step.basis == LadderStep.Basis.LOOK)
    ]
    _do_last([due for due in steps if due.at <= now], message, now)
    times = [at for at in (*targets, *(due.at for due in steps)) if at and at > now]
    # If it is late only for its first look, it stops being late once somebody looks. If
    # nobody could be assigned, somebody may come on duty.
    if is_unassigned or (late_since and late_since != deadlines.decide_by):
        times.append(now + SOON)
    review.update(
        watch_at=min(times, default=None),
        look_by=deadlines.look_by,
        decide_by=deadlines.decide_by,
        late_since=late_since,
    )


def _do_last(due: Sequence[DueStep], message: Message, now: datetime) -> None:
    """Do the last of the steps that are due, or several that are due at one moment, and
    mark all as done. The others are skipped, because after a pause they would come all
    at once.
    """
    if not due:
        return
    # A plan may have the same step twice.
    StepDone.objects.bulk_create(
        [StepDone(message=message, step=one.key) for one in due], ignore_conflicts=True
    )
    last = {one.key: one.step for one in due if one.at == due[-1].at}
    for step in last.values():
        _do(step, message, now)


def addressees(
    step: LadderStep, message: Message, at: datetime, *, holder: int | None
) -> list[tuple[str, QuerySet[Person]]]:
    """Return in words, and as people who are not out of office then, whom a step names;
    then those on duty, for whom it is if nobody of the first can review the message.
    `holder` is the key of whoever has it.
    """
    choices = [(str(LadderStep.Whom.DUTY.label), on_duty(message, at))]
    present = Person.objects.present(at)
    if step.whom == LadderStep.Whom.HOLDER:
        choices.insert(0, (str(step.whom), present.filter(pk=holder or 0)))
    elif step.group is not None:
        members = present.filter(policy_groups=step.group)
        choices.insert(0, (f"the group {step.group}", members))
    return choices


def _do(step: LadderStep, message: Message, now: datetime) -> None:
    kind = "its first look" if step.basis == LadderStep.Basis.LOOK else "its decision"
    when_in_words = f"The target for {kind} has passed"
    if step.minutes:
        side = "after" if step.minutes > 0 else "before"
        when_in_words = (
            f"{minutes_in_words(abs(step.minutes))} {side} the target for {kind}"
        )
    details = {"subject": message.subject, "explanation": f"{when_in_words}."}
    if step.whom != LadderStep.Whom.DESTINATIONS:
        holder = Claim.objects.on(message).live().values_list("person", flat=True)
        for assignees, people in addressees(step, message, now, holder=holder.first()):
            if step.act == LadderStep.Act.ASSIGN:
                why = f"{when_in_words}: assigned to {assignees}."
                if assign_first(message, people, why):
                    return
            elif reminded := able_to_review(people, message):
                Reminder.objects.bulk_create(
                    [
                        Reminder(message=message, person=one, reminded_at=now)
                        for one in reminded
                    ],
                    update_conflicts=True,
                    unique_fields=["person", "message"],
                    update_fields=["reminded_at"],
                )
                details["to"] = ", ".join(map(str, reminded))
                record_about("message.reminded", message, ACTOR, details=details)
                return
        details["explanation"] += " Nobody who could review it is on duty."
    record_about("message.late", message, ACTOR, details=details)


@dataclass(frozen=True)
class StepAhead:
    """A step of a plan that will be done. Without people, destinations are told."""

    at: datetime
    act: LadderStep.Act
    people: Sequence[Person]
    is_last: bool


def steps_ahead(message: Message, now: datetime) -> list[StepAhead]:
    """Return the steps that come if nobody acts, by the people who are on duty, in the
    groups and present then, as far as it is known now. A message without a key is a
    sample, held since now.
    """
    plan = plan_for(message.mailbox_id)
    if plan is None:
        return []
    _, ladder = ladder_of(plan, message)
    done = set[str]()
    holder = None
    has_look = False
    if message.pk is not None:
        done = set(message.steps_done.values_list("step", flat=True))
        claims = Claim.objects.on(message).live()
        holder = claims.values_list("person", flat=True).first()
        has_look = is_looked_at(message)
    ahead = []
    for due in ladder:
        step = due.step
        is_for_look = step.basis == LadderStep.Basis.LOOK
        if due.key in done or (has_look and is_for_look):
            continue
        at = max(due.at, now)
        people: Sequence[Person] = []
        if step.whom != LadderStep.Whom.DESTINATIONS:
            choices = addressees(step, message, at, holder=holder)
            able = (able_to_review(people, message) for _, people in choices)
            people = next(filter(None, able), [])
        act = LadderStep.Act(step.act)
        if act == LadderStep.Act.ASSIGN and people:
            people = people[:1]
            holder = people[0].pk
        ahead.append(StepAhead(at, act, people, is_last=due is ladder[-1]))
    return ahead
