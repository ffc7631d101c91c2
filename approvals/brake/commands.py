"""What people do with messages that were set apart: put them back into the queue, or
reject them all; and set caps.

Rejecting many is work of a worker: the wish is a row, each message is decided in a
transaction of its own, and the row says how far that came. A message that was decided
meanwhile is passed over, so that a worker that dies and the next one together decide
each message once.
"""

from collections.abc import Mapping

from django.db.models import Max
from django.urls import reverse

from approvals import tasks
from approvals.caps import caps_now, record_flood
from approvals.decisions.decide import give_verdict, note_refusal
from approvals.desk_messages import DeskMessageQuerySet, desk_messages
from approvals.errors import AlreadyDecided
from approvals.models import Brake, Cap, Decision, Review
from approvals.models.reviews import Kind
from audit.recording import changed, record
from common.actors import Actor, Role, worker
from common.postgres import atomic_with_retry
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Message
from mirror.models.messages import visible_condition
from mirror.states import Outcome
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin

MOST_CAP = 1_000_000
_AT_A_TIME = 25


def set_apart_of(brake: Brake, actor: Actor, *roles: Role) -> DeskMessageQuerySet:
    """Return the messages of a flood that still stand apart, and that the actor may see
    in one of these roles.
    """
    condition = visible_condition(actor.acting_as(*roles) if roles else actor)
    return desk_messages().filter(condition, review__brake=brake).set_apart()


@atomic_with_retry
def put_back(*, brake: Brake, actor: Actor) -> int:
    """Put the messages of a flood into the queue, those that the actor may decide or
    administer; return how many.

    They get no cards of their own, because hundreds of alerts are what the brake is
    against. Raises ActNotAllowed.
    """
    locked = Brake.objects.select_for_update(of=("self",)).get(pk=brake.pk)
    if locked.reject_to is not None:
        raise ActNotAllowed(
            "Somebody is rejecting them at this moment. What is left can be put back after that."
        )
    mine = set_apart_of(locked, actor, Role.REVIEWER, Role.ADMIN)
    number = Review.objects.filter(
        pk__in=list(mine.values_list("pk", flat=True))
    ).update(is_apart=False)
    if not number:
        raise ActNotAllowed("There is nothing left that you could put back.")
    record_flood("brake.put_back", locked, actor, messages=str(number))
    return number


@atomic_with_retry
def ask_to_reject(*, brake: Brake, reason: str, actor: Actor) -> int:
    """Have a worker reject what stands apart at this moment, with this reason; return
    how many that are.

    What comes later is left alone. Raises ActNotAllowed for whoever is no reviewer of
    any of them, and while another such wish is being carried out.
    """
    locked = Brake.objects.select_for_update(of=("self",)).get(pk=brake.pk)
    if locked.reject_to is not None:
        raise ActNotAllowed("They are being rejected already.")
    mine = set_apart_of(locked, actor, Role.REVIEWER)
    last = mine.aggregate(last=Max("pk"))["last"]
    if last is None:
        raise ActNotAllowed(
            "Only a reviewer can reject them, and there is nothing left that you could reject."
        )
    number = mine.count()
    Brake.objects.filter(pk=locked.pk).update(
        reject_to=last, rejected_to=0, reject_reason=reason, rejected_by=int(actor.id)
    )
    record_flood(
        "brake.reject_asked", locked, actor, messages=str(number), reason=reason
    )
    tasks.reject_set_apart.delay_on_commit(locked.pk)
    return number


def reject_some(*, brake_id: int) -> int:
    """Reject the next messages of a flood as somebody asked; return how many were
    looked at, 0 when all is done.
    """
    brake = Brake.objects.to_reject().filter(pk=brake_id).first()
    if brake is None:
        return 0
    person = rejecter(brake)
    left = []
    if person is not None and person.is_active:
        actor = person.actor(surface="worker")
        mine = set_apart_of(brake, actor, Role.REVIEWER).with_content()
        left = list(
            mine.filter(pk__gt=brake.rejected_to, pk__lte=brake.reject_to).order_by(
                "pk"
            )[:_AT_A_TIME]
        )
        for message in left:
            _reject(brake, message, actor)
            Brake.objects.filter(pk=brake.pk, rejected_to__lt=message.pk).update(
                rejected_to=message.pk
            )
    if not left:
        _end_rejecting(brake_id)
    return len(left)


def _reject(brake: Brake, message: Message, actor: Actor) -> None:
    try:
        give_verdict(
            message=message.public_id,
            actor=actor,
            outcome=Outcome.REJECT,
            fingerprint=message.fingerprint,
            reason=brake.reject_reason,
            sheet=f"brake {brake.pk}",
        )
    except DeskError as error:
        first = error.decision if isinstance(error, AlreadyDecided) else None
        if (
            isinstance(first, Decision)
            and str(first.given_by_id) == actor.id
            and first.outcome == Outcome.REJECT
        ):
            # This very wish decided it: a worker died before it noted that, or another
            # one was faster.
            return
        # Not readable yet, or no longer theirs to decide: it is named in the ledger,
        # and the others go on.
        note_refusal(
            message, actor=actor, outcome=Outcome.REJECT, sentence=error.sentence
        )


@atomic_with_retry
def _end_rejecting(brake_id: int) -> None:
    found = (
        Brake.objects.to_reject()
        .select_for_update(of=("self",))
        .filter(pk=brake_id)
        .first()
    )
    if found is None:
        return
    person = rejecter(found)
    Brake.objects.filter(pk=found.pk).update(reject_to=None)
    left = (
        desk_messages()
        .filter(review__brake=found, pk__lte=found.reject_to)
        .set_apart()
        .count()
    )
    actor = person.actor(surface="worker") if person else worker("brake")
    record_flood(
        "brake.rejected", found, actor, left=str(left), reason=found.reject_reason
    )


def check_may_set_caps(actor: Actor) -> None:
    """Raise ActNotAllowed for anybody but an admin of everything."""
    if not actor.is_admin_of_all:
        raise ActNotAllowed("Only an admin of everything can set the caps.")


Caps = Mapping[str, tuple[int, int]]


def _raises_no_cap(before: Caps, after: Caps) -> bool:
    """Whether no cap is higher after it, or removed."""
    pairs = [
        pair for kind in Kind for pair in zip(before[kind], after[kind], strict=True)
    ]
    return all(
        (becomes or MOST_CAP + 1) <= (was or MOST_CAP + 1) for was, becomes in pairs
    )


@atomic_with_retry
@second_admin("Caps")
def set_caps(*, caps: Caps, actor: Actor) -> CanWait[None]:
    """Set the caps of all mailboxes. Raises ActNotAllowed."""
    check_may_set_caps(actor)
    before = caps_now()
    yield lambda: ChangeInWords(
        title="Caps of all mailboxes",
        before=_words(before),
        after=_words(caps),
        page=reverse("caps"),
        tightens=_raises_no_cap(before, caps),
    )
    for kind, (an_hour, a_day) in caps.items():
        values = {"an_hour": an_hour, "a_day": a_day}
        Cap.objects.update_or_create(kind=kind, defaults=values)
    details = changed(before=_words(before), after=_words(caps))
    record("caps.changed", actor=actor, details=details)


def _words(caps: Caps) -> str:
    return "; ".join(
        f"{kind}: {caps[kind][0] or 'no cap'} an hour, {caps[kind][1] or 'no cap'} a day"
        for kind in Kind
    )


def rejecter(brake: Brake) -> Person | None:
    """Return who has the messages rejected at this moment."""
    if brake.reject_to is None or brake.rejected_by is None:
        return None
    return Person.objects.filter(pk=brake.rejected_by).first()
