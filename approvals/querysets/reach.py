"""The person's reach: applied here, by one door, to every read of messages."""

from django.db.models import Q

from people.actors import Actor


def within_reach(actor: Actor) -> Q:
    """The condition that keeps a query to the mailboxes the actor may see, by any of the roles."""
    if actor.sees_all():
        return Q()
    # Of whoever has no role: nothing has such a key. Django composes no statement of what it knows to be empty, and
    # some are composed of its statements.
    reach = Q(pk__lt=0)
    for scope in actor.scopes:
        reach |= Q(mailbox_id=scope.mailbox) if scope.mailbox is not None else Q(connection_id=scope.connection)
    return reach
