"""The ways of notices to their person outside the desk: plans a delivery for each way
that the person wants, and drops those whose notice was read or is over.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Now

from alerts.channels import channel_of
from alerts.channels.base import Posted
from alerts.channels.email import EmailChannel
from alerts.channels.web_push import WebPush
from alerts.deliveries.mentions import plan_mention
from alerts.models import Delivery, Destination
from approvals.models import Snooze
from notices.models import Notice
from notices.preferences import mail_at, push_at
from notices.wording import shown


def on_notices_made(notices: Iterable[Notice], **_more: Any) -> None:
    """Plan the ways of new notices, in their transaction. The sweep finds them."""
    for one in notices:
        own = Destination.objects.filter(owner=one.person, switched_off_at=None)
        _plan(one, push_at(one), own.filter(kind=WebPush.kind))
        at = mail_at(one) if settings.EMAIL_URL else None
        if at is not None:
            Destination.objects.get_or_create(
                owner=one.person,
                kind=EmailChannel.kind,
                defaults={"name": f"Email to {one.person}"[:80]},
            )
        _plan(one, at, own.filter(kind=EmailChannel.kind))
        plan_mention(one)


def _plan(
    notice: Notice, at: datetime | None, destinations: Iterable[Destination]
) -> None:
    if at is None:
        return
    for one in destinations:
        Delivery.objects.create(
            kind=Delivery.Kind.NOTICE,
            destination=one,
            notice=notice,
            message_id=notice.message_id,
            action=notice.action or notice.cause,
            next_attempt_at=at,
        )


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
        return Posted("", 0, answer="It was over before it was sent.")
    channel: Any = channel_of(destination.kind)
    posted: Posted = channel.post_notices(
        destination, [shown(one) for one in notices], key=delivery.pk
    )
    return posted
