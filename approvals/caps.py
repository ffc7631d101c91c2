"""Counts held messages, and sets apart those that come after a cap is passed. A `Brake`
is one such flood.

A message that is set apart is neither lost nor rejected: it is held and mirrored like
any other, but is shown in a list of its own and gets no alert card. Each held message
counts once for its API key, its mailbox, its text, and for its key with each recipient,
by the database's clock. Messages count also if they are set apart: as long as an agent
goes on sending too many, its new messages are set apart.
"""

import logging
import time
from collections.abc import Mapping
from datetime import timedelta

from django.core.cache import caches
from django.db.models import Q
from django.db.models.functions import Now

from approvals.models import Arrival, Brake, Cap
from approvals.models.reviews import DAY, HOUR, LEAVES, Kind
from audit.recording import record
from common.actors import Actor, worker
from common.mail_addresses import folded
from common.postgres import atomic_with_retry, clock, take_lock
from mirror.models import Message
from upstream.events import read_time

log = logging.getLogger(__name__)

ACTOR = worker("brake")
# The most messages in an hour and in a day, unless an admin has set other caps.
DEFAULTS: dict[str, tuple[int, int]] = {
    Kind.KEY: (300, 2000),
    Kind.ALIKE: (200, 1000),
    Kind.MAILBOX: (500, 3000),
    Kind.RECIPIENT: (60, 300),
}
# How many messages of one connection may be stored at the same moment. Their transactions
# do not see one another, so when a count is this close to a cap, they are counted one
# after the other.
AT_ONCE = 30
# How many recipients of a message are counted.
MAX_RECIPIENTS = 50


def caps_now() -> dict[str, tuple[int, int]]:
    """Return the caps by kind, each as messages an hour and messages a day; 0 is no
    cap. Kinds that no admin has set have their defaults.
    """
    set_by_admins = Cap.objects.values_list("kind", "an_hour", "a_day")
    return DEFAULTS | {kind: (an_hour, a_day) for kind, an_hour, a_day in set_by_admins}


def set_apart(message: Message, *, key: str, key_name: str, actor: Actor) -> bool:
    """Count a message whose id is locked, and set it apart if it is past a cap; return
    whether this call has set it apart.

    It is called again when content is stored. Then the message is counted for its text
    and for whatever its webhook lacked and, if it is scheduled, for all of this at the
    time of its leaving, too; what it was counted for before is not counted or judged
    again.
    """
    # What the message counts for. If several caps are passed, the first of these names
    # the flood.
    mailbox = message.mailbox.upstream_id if message.mailbox else ""
    # To one recipient each key is counted by itself: otherwise one key could take away
    # the cards of another's. What comes without a key may get it with its content.
    sender = key or key_name or (mailbox if message.revision else "")
    addresses = sorted(set(map(folded, message.addresses[:MAX_RECIPIENTS])))
    counted_for = [
        (Kind.KEY, key or key_name),
        (Kind.ALIKE, message.shape),
        (Kind.MAILBOX, mailbox),
    ]
    if sender:
        counted_for += [(Kind.RECIPIENT, f"{one} {sender}") for one in addresses]
    kinds = {f"{kind}:{name}": kind for kind, name in counted_for if name}
    leaves_at = None
    if message.revision is not None:
        leaves_at = read_time(message.revision.content.get("send_at"))
        if leaves_at and leaves_at > clock():
            kinds |= {f"{LEAVES}{what}": kind for what, kind in kinds.items()}
        arrived = Arrival.objects.of_message(message)
        # Another time takes the place of the former.
        arrived.filter(what__startswith=LEAVES).exclude(Q(at=leaves_at)).delete()
        for what in arrived.values_list("what", flat=True):
            kinds.pop(what, None)
    arrivals = [
        Arrival(
            connection_id=message.connection_id,
            upstream_id=message.upstream_id,
            what=what,
            at=leaves_at if leaves_at and what.startswith(LEAVES) else Now(),
        )
        for what in kinds
    ]
    # A message that was deleted here and comes again has been counted already.
    Arrival.objects.bulk_create(arrivals, ignore_conflicts=True)
    # Cached in each process for a second. The key changes with the monotonic clock,
    # which nobody can set.
    cache_key = f"caps:{int(time.monotonic())}"
    caps = caches["process"].get_or_set(cache_key, caps_now, 2) or {}
    passed, is_close = _judge(message, kinds, caps)
    if passed is None and is_close:
        # Messages that are stored at the same moment do not see one another. Wait for
        # them, and count again.
        take_lock(f"brakes {message.connection_id}")
        passed, _ = _judge(message, kinds, caps)
    if passed is None or message.review.brake_id is not None:
        return False
    message.review.brake = _brake_for(passed, message, key, key_name, actor)
    message.review.is_apart = True
    message.review.save(update_fields=["brake", "is_apart"])
    return True


def _judge(
    message: Message, things: Mapping[str, Kind], caps: Mapping[str, tuple[int, int]]
) -> tuple[Brake | None, bool]:
    """Return the first cap that is passed, as a Brake that is not stored yet, or None;
    and whether any count is so close to its cap that messages stored at this moment may
    pass it. `things` are what the message counts for, each with its kind.
    """
    # A cap of 0 means no cap.
    set_caps = [cap for kind in things.values() for cap in caps[kind] if cap]
    if not set_caps:
        return None, False
    most = max(set_caps) + 1
    is_scheduled = any(what.startswith(LEAVES) for what in things)

    def numbers(within: timedelta) -> dict[str, int]:
        arrived = Arrival.objects.numbers(message, within=within, most=most)
        if not is_scheduled:
            return arrived
        return arrived | Arrival.objects.leaving(message, within=within, most=most)

    in_day = numbers(DAY)
    if max(in_day.values()) + AT_ONCE <= min(set_caps):
        return None, False
    in_hour = numbers(HOUR)
    is_close = False
    for what, kind in things.items():
        an_hour, a_day = caps[kind]
        for cap, number, window in (
            (an_hour, in_hour[what], HOUR),
            (a_day, in_day[what], DAY),
        ):
            if cap and number > cap:
                return Brake(what=what, kind=kind, cap=cap, window=window), False
            if cap and number + AT_ONCE > cap:
                is_close = True
    return None, is_close


def _brake_for(
    passed: Brake, message: Message, key: str, key_name: str, actor: Actor
) -> Brake:
    """Return the open brake for a passed cap. If there is none, open and record one.

    If a flood begins again within its window after it ended, its brake is opened again:
    so its card is edited, and nobody gets a second alert.
    """
    brakes = Brake.objects.filter(connection=message.connection_id, what=passed.what)
    open_or_recent = Q(ended_at=None) | Q(ended_at__gt=Now() - passed.window)
    last = brakes.filter(open_or_recent).last()
    if last is not None:
        if last.ended_at is None:
            return last
        if brakes.filter(pk=last.pk, ended_at__isnull=False).update(
            ended_at=None, opened_at=Now(), window=passed.window, cap=passed.cap
        ):
            last.refresh_from_db()
            record_flood("brake.opened", last, actor)
            return last
    name = passed.what.removeprefix(LEAVES).partition(":")[2]
    if passed.kind == Kind.KEY:
        name = key_name or name
    elif passed.kind == Kind.ALIKE:
        name = message.subject or "(no subject)"
    elif passed.kind == Kind.MAILBOX:
        name = str(message.mailbox)
    elif passed.kind == Kind.RECIPIENT:
        sender = key_name or key or message.mailbox
        name = f"{name.partition(' ')[0]} from “{sender}”"
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
    # If it is not new, another message opened it at this moment.
    if is_new:
        record_flood("brake.opened", brake, actor)
        log.warning(
            "messages are set apart",
            extra={"brake": brake.pk, "kind": passed.kind, "cap": passed.cap},
        )
    return brake


def record_flood(action: str, brake: Brake, actor: Actor, **more: str) -> None:
    """Record an entry about a flood in the ledger. By its detail `brake`, alerts find
    the card of the flood.
    """
    record(
        action,
        actor,
        connection=brake.connection_id,
        details={
            "brake": str(brake.pk),
            "mailbox": brake.mailbox.address if brake.mailbox else "",
            "key": brake.sent_by_key_name or brake.sent_by_key,
            "explanation": f"Messages {brake}: more than {brake.cap_in_words}.",
            **more,
        },
    )


@atomic_with_retry
def end_over(brake_id: int) -> None:
    """End a brake if fewer messages than its cap came within its window."""
    # Checked again under the lock: more messages may have come.
    brake = (
        Brake.objects.over().select_for_update(of=("self",)).filter(pk=brake_id).first()
    )
    if brake is not None:
        Brake.objects.filter(pk=brake.pk).update(ended_at=Now())
        record_flood("brake.ended", brake, ACTOR)
