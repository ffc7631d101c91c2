"""The person's reach: applied here, by one door, to every read of messages."""

from django.db.models import Q

from people.actors import Actor


def within_reach(actor: Actor) -> Q:
    """The condition that keeps a query to the mailboxes the actor may see, by any of the roles."""
    if actor.sees_all():
        return Q()
    reach = Q(pk__in=[])
    for scope in actor.scopes:
        reach |= Q(mailbox_id=scope.mailbox) if scope.mailbox is not None else Q(connection_id=scope.connection)
    return reach
