"""Every read of connections, mailboxes and the webhooks that came."""

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from approvals.querysets.terms import STUCK_AFTER
from people.actors import Actor

if TYPE_CHECKING:
    from approvals.models import Connection, Mailbox, WebhookEvent  # noqa: F401 - the querysets' type parameters


class ConnectionQuerySet(models.QuerySet["Connection"]):
    """Reads of the connected accounts."""

    def visible_to(self, actor: Actor) -> Self:
        """Only those that the actor has a role for, or for a mailbox of."""
        if actor.sees_all():
            return self
        connections = [scope.connection for scope in actor.scopes if scope.mailbox is None]
        mailboxes = [scope.mailbox for scope in actor.scopes if scope.mailbox is not None]
        return self.filter(Q(pk__in=connections) | Q(mailboxes__in=mailboxes)).distinct()

    def to_read(self) -> Self:
        """Those to reconcile: all but the ones that were asked to wait; a paused one may have a good key by now."""
        return self.filter(Q(wait_until=None) | Q(wait_until__lte=Now()))

    def unwell(self) -> Self:
        """Those that are paused, could not be read, or were not read for so long that the queue may lack messages."""
        unread = Q(complete_as_of=None, created_at__lt=Now() - STUCK_AFTER)
        old = Q(complete_as_of__lt=Now() - timedelta(minutes=10))
        return self.filter(~Q(paused_at=None) | ~Q(failing_since=None) | unread | old)

    def failing(self) -> Self:
        """Those that could not be read the last time, and are not paused."""
        return self.to_read().filter(paused_at=None).exclude(failing_since=None)


class MailboxQuerySet(models.QuerySet["Mailbox"]):
    """Reads of mailboxes."""

    def visible_to(self, actor: Actor) -> Self:
        """Only those that the actor has a role for, by themselves or with their connection."""
        if actor.sees_all():
            return self
        connections = [scope.connection for scope in actor.scopes if scope.mailbox is None]
        mailboxes = [scope.mailbox for scope in actor.scopes if scope.mailbox is not None]
        return self.filter(Q(connection__in=connections) | Q(pk__in=mailboxes))


class WebhookEventQuerySet(models.QuerySet["WebhookEvent"]):
    """Reads of the webhooks as they were received."""

    def to_look_at(self) -> Self:
        """Those that could not be applied or came too late, and that nobody has dealt with."""
        return self.filter(result__in=("poison", "late"), handled_at=None)

    def visible_to(self, actor: Actor) -> Self:
        """Only those of connections that the actor has a role for whole: a body may be of any of its mailboxes."""
        if actor.sees_all():
            return self
        return self.filter(connection__in=[scope.connection for scope in actor.scopes if scope.mailbox is None])
