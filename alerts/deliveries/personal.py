"""The ways of notices to their person outside the desk: plans a delivery for each way
that the person wants, and drops those whose notice was read or is over.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Now

from alerts.channels import channel_of
from alerts.channels.base import OVER, Posted
from alerts.channels.email import EmailChannel
from alerts.channels.requests import RetryLater
from alerts.channels.web_push import WebPush
from alerts.deliveries.mentions import plan_mention
from alerts.deliveries.waits import switch_off
from alerts.models import Delivery, Destination
from approvals.models import Snooze
from common.desk_mail import name_of
from common.postgres import clock
from notices.models import Cause, Notice
from notices.preferences import (
    after_quiet_time,
    comes_in_quiet_time,
    is_of_last_step,
    preferences_of,
    ways_of,
)
from notices.wording import shown

# The kinds of destinations by the ways that `ways_of` names.
KINDS = {"push": WebPush.kind, "mail": EmailChannel.kind}
# A notice that is put off looks again so often whether quiet hours still last: the person
# may have ended them.
QUIET_CHECK_EVERY = timedelta(minutes=10)


def on_notices_made(notices: Collection[Notice], **_more: Any) -> None:
    """Plan the ways of new notices, in their transaction. The sweep finds them."""
    own = defaultdict[tuple[int, str], list[Destination]](list)
    people = [one.person for one in notices]
    for destination in Destination.objects.filter(owner__in=people):
        own[destination.owner_id or 0, destination.kind].append(destination)
    deliveries = []
    for notice in notices:
        person = notice.person
        is_last = is_of_last_step(notice)
        for way, at in ways_of(person, notice.cause, clock()).items():
            if way == "mail" and not settings.EMAIL_URL:
                continue
            destinations = own[person.pk, KINDS[way]]
            if way == "mail" and not destinations:
                made, _ = Destination.objects.get_or_create(
                    owner=person,
                    kind=EmailChannel.kind,
                    defaults={"name": f"Email to {person}"[:80]},
                )
                destinations.append(made)
            deliveries += [
                Delivery(
                    kind=Delivery.Kind.NOTICE,
                    destination=destination,
                    notice=notice,
                    message_id=notice.message_id,
                    action=notice.action or notice.cause,
                    next_attempt_at=at,
                    in_quiet_time=comes_in_quiet_time(
                        notice.cause, way, is_last=is_last
                    ),
                )
                for destination in destinations
                if destination.switched_off_at is None
            ]
        plan_mention(notice)
    Delivery.objects.bulk_create(deliveries)


@transaction.atomic
def on_bounced(name: str, status: str, text: str, **_more: Any) -> None:
    """Mail nothing more to the address of this name, whose server sent mail back. As at
    once, a server's policy (5.7.x) says nothing about the address.
    """
    if status.startswith("5.7."):
        return
    by_mail = Destination.objects.filter(kind=EmailChannel.kind)
    for destination in by_mail.select_related("owner"):
        owner: Any = destination.owner
        if name_of(owner.email) == name:
            switch_off(destination, f"Mail to {owner.email} came back: {status} {text}")


def drop_ended(destination: Destination) -> None:
    """Delete the due deliveries to a person whose notice they have read, whose cause is
    over, or of which they want to be told by this way no more; and put off those about
    messages that they have snoozed, and those for which they have quiet hours or are
    out of office.
    """
    owner: Any = destination.owner
    wanted = preferences_of(owner)
    by_mail = destination.kind == EmailChannel.kind
    causes = [*(wanted.mail if by_mail else wanted.push), Cause.ACCOUNT]
    unread = Notice.objects.unread(owner.actor(surface="worker"))
    # What a worker held that died before it handed anything over.
    own = Delivery.objects.filter(destination=destination)
    own.filter(lease_until__lt=Now()).release()
    due = own.filter(state=Delivery.State.DUE)
    due.exclude(notice__in=unread.filter(cause__in=causes)).delete()
    snoozes = Snooze.objects.in_force().of_person(owner.pk)
    of_message = snoozes.filter(message=OuterRef("message")).values("until")
    snoozed = due.filter(
        next_attempt_at__lte=Now(), message__in=snoozes.values("message")
    )
    snoozed.update(next_attempt_at=Subquery(of_message))
    now = clock()
    quiet_until = after_quiet_time(now, wanted)
    if quiet_until > now:
        next_check = min(quiet_until, now + QUIET_CHECK_EVERY)
        leaving = due.filter(next_attempt_at__lte=now, in_quiet_time=False)
        leaving.update(next_attempt_at=next_check)


def send_notices(delivery: Delivery) -> Posted:
    """Send a notice, with those that were claimed with it. Raises as its channel does."""
    destination = delivery.destination
    owner: Any = destination.owner
    lasting = Notice.objects.for_list(owner.actor(surface="worker"))
    notices = lasting.filter(deliveries__in=delivery.with_others(), read_at=None)
    if not notices:
        return OVER

    def mark() -> None:
        if not delivery.hand_over():
            raise RetryLater("Another worker makes this attempt.", seconds=0)

    channel: Any = channel_of(destination.kind)
    # For all its attempts. After a restore its number comes again, but not at the same
    # time.
    key = f"{delivery.pk}-{int(delivery.created_at.timestamp())}"
    posted: Posted = channel.post_notices(
        destination, [shown(one) for one in notices], key=key, mark=mark
    )
    return posted
