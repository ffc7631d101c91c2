"""Commands about floods: put messages that were set apart back into the queue, and set
the caps, for which a second admin may have to agree.
"""

from collections.abc import Mapping

from django.urls import reverse

from approvals.caps import caps_now, record_flood
from approvals.desk_messages import desk_messages
from approvals.models import Brake, Cap, Review
from approvals.models.reviews import Kind
from audit.recording import record
from common.actors import Actor, Role
from common.postgres import atomic_with_retry
from mirror.errors import ActNotAllowed
from people.second_admin.registry import CanWait, ChangeInWords, second_admin

# The highest number that can be entered as a cap.
MOST_CAP = 1_000_000


@atomic_with_retry
def put_back(*, brake: Brake, actor: Actor) -> int:
    """Put the messages of a flood back into the queue: those in mailboxes of which the
    actor is a reviewer or an admin. Return how many. Raises ActNotAllowed if there are
    none.

    They still get no alert cards of their own: a flood must not make hundreds of them.
    """
    acting = actor.acting_as(Role.REVIEWER, Role.ADMIN)
    apart = desk_messages().visible_to(acting).filter(review__brake=brake).set_apart()
    keys = list(apart.values_list("pk", flat=True))
    number = Review.objects.filter(pk__in=keys, is_apart=True).update(is_apart=False)
    if not number:
        raise ActNotAllowed("There is nothing left that you could put back.")
    record_flood("brake.put_back", brake, actor, messages=str(number))
    return number


def check_may_set_caps(actor: Actor) -> None:
    """Raise ActNotAllowed for anybody but an admin of everything."""
    if not actor.is_admin_of_all:
        raise ActNotAllowed("Only an admin of everything can set the limits.")


# By kind: messages an hour, messages a day; 0 is no cap.
Caps = Mapping[str, tuple[int, int]]


@atomic_with_retry
@second_admin("Limits")
def set_caps(*, caps: Caps, actor: Actor) -> CanWait[None]:
    """Set the caps, which count for all mailboxes. If a cap is raised or removed, a
    second admin may have to accept it first. Raises ActNotAllowed.
    """
    check_may_set_caps(actor)
    before = caps_now()
    no_cap = MOST_CAP + 1
    is_raised = any(
        (new or no_cap) > (old or no_cap)
        for kind in Kind
        for old, new in zip(before[kind], caps[kind], strict=True)
    )
    yield lambda: ChangeInWords(
        title="Limits of all mailboxes",
        before=_words(before),
        after=_words(caps),
        page=reverse("caps"),
        tightens=not is_raised,
    )
    for kind, (an_hour, a_day) in caps.items():
        Cap.objects.update_or_create(
            kind=kind, defaults={"an_hour": an_hour, "a_day": a_day}
        )
    record(
        "caps.changed", actor, details={"before": _words(before), "after": _words(caps)}
    )


def _words(caps: Caps) -> str:
    return "; ".join(
        f"{kind}: {caps[kind][0] or 'no limit'} an hour, {caps[kind][1] or 'no limit'} a day"
        for kind in Kind
    )
