"""The person's reach: applied here, by one door, to every read of messages; and who else has the same."""

from django.db.models import Q

from common.postgres.statements import ASKING
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


def anybody_like(actor: Actor) -> Actor:
    """Return somebody who sees the same, whose key is named later: what is written for them is kept for all others.

    They have no address either: what is kept must keep no request alive.
    """
    return Actor(kind=actor.kind, id=str(ASKING), label="", surface="", scopes=actor.scopes)


def asked_by(actor: Actor) -> dict[int, int]:
    """Return the key of this person, by what stands for it in what was written for `anybody_like` them."""
    return {ASKING: int(actor.id)} if actor.kind == "person" else {}
