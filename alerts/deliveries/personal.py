"""The ways of notices to their person outside the desk: plans a delivery for each way
that the person wants, and drops those whose notice was read or is over.
"""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Now

from alerts.channels import channel_of
from alerts.channels.base import OVER, Posted
from alerts.channels.email import EmailChannel
from alerts.channels.web_push import WebPush
from alerts.deliveries.mentions import plan_mention
from alerts.deliveries.waits import switch_off
from alerts.models import Delivery, Destination
from approvals.models import Snooze
from common.desk_mail import name_of
from notices.models import Notice
from notices.preferences import times_of_notice
from notices.wording import shown

# The kinds of destinations by the ways that `times_of` names.
KINDS = {"push": WebPush.kind, "mail": EmailChannel.kind}


def on_notices_made(notices: Collection[Notice], **_more: Any) -> None:
    """Plan the ways of new notices, in their transaction. The sweep finds them."""
    own = defaultdict[tuple[int, str], list[Destination]](list)
    people = [one.person for one in notices]
    for destination in Destination.objects.filter(owner__in=people):
        own[destination.owner_id or 0, destination.kind].append(destination)
    deliveries = []
    for notice in notices:
        person = notice.person
        for way, at in times_of_notice(notice).items():
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
    """Delete the due deliveries to a person whose notice they have read, or whose cause
    is over; and put off those about messages that they have snoozed.
    """
    owner: Any = destination.owner
    actor = owner.actor(surface="worker")
    due = Delivery.objects.filter(destination=destination, state=Delivery.State.DUE)
    due.exclude(notice__in=Notice.objects.unread(actor)).delete()
    snoozes = Snooze.objects.in_force().of_person(owner.pk)
    of_message = snoozes.filter(message=OuterRef("message")).values("until")
    snoozed = due.filter(
        next_attempt_at__lte=Now(), message__in=snoozes.values("message")
    )
    snoozed.update(next_attempt_at=Subquery(of_message))


def send_notices(delivery: Delivery) -> Posted:
    """Send a notice, with those that were claimed with it. Raises as its channel does."""
    destination = delivery.destination
    owner: Any = destination.owner
    keys = delivery.claimed_with_it().values_list("notice", flat=True)
    unread = Notice.objects.for_list(owner.actor(surface="worker"))
    notices = unread.filter(pk__in=[delivery.notice_id, *keys], read_at=None)
    if not notices:
        return OVER
    channel: Any = channel_of(destination.kind)
    posted: Posted = channel.post_notices(
        destination, [shown(one) for one in notices], key=delivery.pk
    )
    return posted
