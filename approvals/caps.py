"""The brake on agents that send too much: counts what is held, and sets apart what
comes after a cap is passed.

Nothing is lost or rejected by it: what is set apart is held and mirrored like
everything else, but stands in a list of its own and has no card. Each held message
counts once for its key, its mailbox, each recipient and its text, by the database's
clock. What comes counts also while it is set apart, so that an agent that goes on stays
apart.
"""

import logging
import time
from collections.abc import Mapping

from django.core.cache import caches
from django.db.models import Q
from django.db.models.functions import Now

from approvals.models import Arrival, Brake, Cap
from approvals.models.reviews import DAY, HOUR, Kind
from audit.recording import record
from common.actors import Actor, worker
from common.postgres import atomic_with_retry, take_lock
from mirror.models import Message

log = logging.getLogger(__name__)

ACTOR = worker("brake")
# The most in an hour and in a day, where no admin has said otherwise.
DEFAULTS: dict[str, tuple[int, int]] = {
    Kind.KEY: (300, 2000),
    Kind.ALIKE: (200, 1000),
    Kind.MAILBOX: (500, 3000),
    Kind.RECIPIENT: (60, 300),
}
# Messages of one account that may be stored at one moment, each unseen by the others:
# from so close to a cap on they wait for one another.
AT_ONCE = 30
MAX_RECIPIENTS = 50


def caps_now() -> dict[str, tuple[int, int]]:
    """Return the caps by kind: how many an hour and a day; the defaults where no admin
    has said otherwise.
    """
    set_by_admins = Cap.objects.values_list("kind", "an_hour", "a_day")
    return DEFAULTS | {kind: (an_hour, a_day) for kind, an_hour, a_day in set_by_admins}


def set_apart(message: Message, *, key: str, key_name: str, actor: Actor) -> bool:
    """Count a message whose id is locked, and set it apart if a cap is passed; return
    whether that is new.

    What only its content tells (its text, and what its webhook left out) is counted
    when that is read; what was counted before is not judged again.
    """
    # What it counts for, with the kind of each, in the order in which a flood is named.
    mailbox = message.mailbox.upstream_id if message.mailbox else ""
    named = [
        (Kind.KEY, key or key_name),
        (Kind.ALIKE, message.shape),
        (Kind.MAILBOX, mailbox),
    ]
    for address in sorted(message.addresses[:MAX_RECIPIENTS]):
        named.append((Kind.RECIPIENT, address))
    new = {f"{kind}:{name}": kind for kind, name in named if name}
    if message.hydrated_at is not None:
        for what in Arrival.objects.of_message(message).values_list("what", flat=True):
            new.pop(what, None)
    arrivals = [
        Arrival(
            connection_id=message.connection_id,
            upstream_id=message.upstream_id,
            what=what,
        )
        for what in new
    ]
    # A message that was deleted here and comes again was counted then.
    Arrival.objects.bulk_create(arrivals, ignore_conflicts=True)
    # In the memory of each process: a new cap counts from the next second, by a clock
    # that nobody sets.
    now = f"caps:{int(time.monotonic())}"
    caps = caches["process"].get_or_set(now, caps_now, 2) or {}
    passed, is_close = _judge(message, new, caps)
    if passed is None and is_close:
        # Messages that are stored at one moment do not see one another: so close to a
        # cap they wait, and count again.
        take_lock(f"brakes {message.connection_id}")
        passed, _ = _judge(message, new, caps)
    if passed is None or message.review.brake_id is not None:
        return False
    message.review.brake = _brake_for(passed, message, key, key_name, actor)
    message.review.is_apart = True
    message.review.save(update_fields=["brake", "is_apart"])
    return True


def _judge(
    message: Message, things: Mapping[str, Kind], caps: Mapping[str, tuple[int, int]]
) -> tuple[Brake | None, bool]:
    """Return a brake for the first cap that these things are past, not stored, and
    whether one is so close that the next may pass it.
    """
    # A cap of 0 is none.
    set_caps = [cap for kind in things.values() for cap in caps[kind] if cap]
    if not set_caps:
        return None, False
    most = max(set_caps) + 1
    in_day = Arrival.objects.numbers(message, within=DAY, most=most)
    if max(in_day.values()) + AT_ONCE <= min(set_caps):
        return None, False
    in_hour = Arrival.objects.numbers(message, within=HOUR, most=most)
    is_close = False
    for what, kind in things.items():
        an_hour, a_day = caps[kind]
        for cap, number, window in (
            (an_hour, in_hour[what], HOUR),
            (a_day, in_day[what], DAY),
        ):
            if cap and number > cap:
                brake = Brake(what=what, kind=kind, cap=cap, window=window)
                return brake, False
            if cap and number + AT_ONCE > cap:
                is_close = True
    return None, is_close


def _brake_for(
    passed: Brake, message: Message, key: str, key_name: str, actor: Actor
) -> Brake:
    """Return the open brake for a cap that is passed; the first message past it opens
    and records it.

    A flood that begins again within its window is the same one: its card is edited, and
    nobody is told twice.
    """
    mine = Brake.objects.filter(connection=message.connection_id, what=passed.what)
    lately = Q(ended_at=None) | Q(ended_at__gt=Now() - passed.window)
    last = mine.filter(lately).order_by("-pk").first()
    if last is not None:
        if last.ended_at is None:
            return last
        ended = mine.filter(pk=last.pk, ended_at__isnull=False)
        if ended.update(
            ended_at=None, opened_at=Now(), window=passed.window, cap=passed.cap
        ):
            last.refresh_from_db()
            record_flood("brake.opened", last, actor)
            return last
    name = passed.what.partition(":")[2]
    if passed.kind == Kind.KEY:
        name = key_name or name
    elif passed.kind == Kind.ALIKE:
        name = message.subject or "(no subject)"
    elif passed.kind == Kind.MAILBOX:
        name = str(message.mailbox)
    brake, is_new = Brake.objects.get_or_create(
        connection=message.connection,
        what=passed.what,
        ended_at=None,
        defaults={
            "mailbox": message.mailbox,
            "kind": passed.kind,
            "name": name[:200],
            "sent_by_key": key[:200],
            "sent_by_key_name": key_name[:200],
            "window": passed.window,
            "cap": passed.cap,
        },
    )
    # Otherwise another message opened it at this moment.
    if is_new:
        record_flood("brake.opened", brake, actor)
        log.warning(
            "messages are set apart",
            extra={"brake": brake.pk, "kind": passed.kind, "cap": passed.cap},
        )
    return brake


def record_flood(action: str, brake: Brake, actor: Actor, **more: str) -> None:
    """Append an entry about a flood; its detail `brake` names it for its card."""
    details = {
        "brake": str(brake.pk),
        "mailbox": brake.mailbox.address if brake.mailbox else "",
        "key": brake.sent_by_key_name or brake.sent_by_key,
        "explanation": f"Messages {brake}: more than {brake.cap_in_words}.",
        **more,
    }
    record(action, actor=actor, connection=brake.connection_id, details=details)


@atomic_with_retry
def end_over(brake_id: int) -> None:
    """End a brake of which fewer than the cap came lately."""
    # Looked at again under the lock: it may have been opened again.
    brake = (
        Brake.objects.over().select_for_update(of=("self",)).filter(pk=brake_id).first()
    )
    if brake is not None:
        Brake.objects.filter(pk=brake.pk).update(ended_at=Now())
        record_flood("brake.ended", brake, ACTOR)
