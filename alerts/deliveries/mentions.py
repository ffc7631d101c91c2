"""Mentions in a chat: a short post that names somebody for whom a message waits, in the
channel that has its card. It is a post of its own, because the services notify nobody
when a post is edited.

A person is mentioned because of a notice, and a group of the chat because of a step of
a review plan. Both only while it still lasts when the post is made.
"""

from typing import Any

from django.conf import settings
from django.urls import reverse

from alerts.cards.message import desk_link
from alerts.channels import channel_of
from alerts.channels.base import OVER, Posted
from alerts.models import Card, Delivery, Destination
from approvals.desk_messages import awaits_review
from approvals.models import Snooze
from notices.models import Notice
from notices.preferences import wants_chat
from notices.wording import SENTENCES
from people.models import Person

LATE = "A held message is late by its review plan"
# In UTF-16 units.
_MAX_SUBJECT = 150


def plan_mention(notice: Notice) -> None:
    """Plan that a chat mentions the person of a notice, if they want that."""
    if notice.message_id is None or not wants_chat(notice.person, notice.cause):
        return
    destination = chat_of(notice.person, notice.message_id)
    if destination is not None:
        Delivery.objects.create(
            kind=Delivery.Kind.MENTION,
            destination=destination,
            notice=notice,
            message_id=notice.message_id,
            action=notice.action or notice.cause,
        )


def chat_of(person: Person, message: int) -> Destination | None:
    """Return where a person is mentioned: the first channel that has the card of the
    message with this key, of a service where their account is linked.
    """
    services = set(person.chat_accounts.values_list("service", flat=True))
    if not services:
        return None
    cards = Card.objects.filter(
        message=message, removed=False, destination__switched_off_at=None
    )
    for card in cards.select_related("destination").order_by("pk"):
        if channel_of(card.destination.kind).chat in services:
            return card.destination
    return None


def send_mention(delivery: Delivery) -> Posted:
    """Post a mention, with those that were claimed with it. Raises as its channel does."""
    destination = delivery.destination
    channel: Any = channel_of(destination.kind)
    notice = delivery.notice
    if notice is None:
        is_late = awaits_review(delivery.message_id or 0)
        account = destination.mentions if is_late else ""
        messages: list[Any] = [delivery.message]
        sentence = LATE
    else:
        keys = [one.notice_id for one in delivery.with_others()]
        messages = _still_told(notice, keys)
        account = _account(notice.person, channel.chat) if messages else ""
        sentence = SENTENCES[notice.cause]
    if not account:
        return OVER
    link = f"{settings.PUBLIC_URL}{reverse('queue')}"
    subject = f"{len(messages)} messages"
    if len(messages) == 1:
        [message] = messages
        link = desk_link(message)
        subject = destination.shown_subject(message)
    text = f"{sentence}: {channel.markup.literal(subject, _MAX_SUBJECT)}. {channel.markup.answer_link('Open', link)}"
    mention = channel.mention_body(account, text, is_group=notice is None)
    posted: Posted = channel.post(destination, mention)
    return posted


def _still_told(notice: Notice, keys: list[Any]) -> list[Any]:
    """Return the messages of those of the notices of a person that are not read, not
    over, not snoozed, and about what the person still sees.
    """
    person = notice.person
    if not wants_chat(person, notice.cause):
        return []
    unread = Notice.objects.unread(person.actor(surface="worker")).filter(pk__in=keys)
    snoozed = Snooze.objects.in_force().of_person(person.pk).values("message")
    waiting = unread.exclude(message__in=snoozed).select_related("message")
    return [one.message for one in waiting.order_by("pk")]


def _account(person: Person, service: str) -> str:
    """Return the id by which a service mentions the person; empty if none is linked."""
    accounts = person.chat_accounts.filter(service=service).order_by("pk")
    account = accounts.values_list("account_id", flat=True).first() or ""
    # Slack's begins with the workspace.
    return account.rpartition(":")[2]
