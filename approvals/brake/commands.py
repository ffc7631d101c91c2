"""What people do about floods: put messages that were set apart back into the queue, and
set caps.
"""

from collections.abc import Mapping

from django.urls import reverse

from approvals.caps import caps_now, record_flood
from approvals.desk_messages import desk_messages
from approvals.models import Brake, Cap, Review
from approvals.models.reviews import Kind
from audit.recording import changed, record
from common.actors import Actor, Role
from common.postgres import atomic_with_retry
from mirror.errors import ActNotAllowed
from people.second_admin.registry import CanWait, ChangeInWords, second_admin

MOST_CAP = 1_000_000


@atomic_with_retry
def put_back(*, brake: Brake, actor: Actor) -> int:
    """Put the messages of a flood into the queue, those that the actor may decide or
    administer; return how many.

    They get no cards of their own, because hundreds of alerts are what the brake is
    against. Raises ActNotAllowed.
    """
    able = actor.acting_as(Role.REVIEWER, Role.ADMIN)
    apart = desk_messages().visible_to(able).filter(review__brake=brake).set_apart()
    keys = list(apart.values_list("pk", flat=True))
    number = Review.objects.filter(pk__in=keys, is_apart=True).update(is_apart=False)
    if not number:
        raise ActNotAllowed("There is nothing left that you could put back.")
    record_flood("brake.put_back", brake, actor, messages=str(number))
    return number


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
