"""Who is at which message by now, for open pages that ask: who has it, who reads it, and what is asked of oneself."""

from typing import Any

from approvals.collaboration.presence import readers_beside
from approvals.models import Claim
from approvals.querysets.messages import desk_messages
from common.pages import DeskRequest
from common.postgres.statements import Part, count_of
from people.actors import Actor

# Of claims there are as many as people at work; more of them than this no page shows.
MOST = 200
MOST_ASKED = 100


def people_at(request: DeskRequest) -> dict[str, Any]:
    """Return who reads and who has what, of all that the person may see; asked for once a request."""
    known: dict[str, Any] | None = getattr(request, "desk_people_at", None)
    if known is None:
        known = _people_at(request.actor)
        request.desk_people_at = known  # type: ignore[attr-defined]
    return known


def _people_at(actor: Actor) -> dict[str, Any]:
    readers = readers_beside(actor)
    claims = Claim.objects.live().seen_by(actor).values_list("message__public_id", "person", "person__name")[:MOST]
    return {
        "readers": {message: [[one.person, one.name] for one in found] for message, found in readers.items()},
        "holders": {str(message): [str(person), name] for message, person, name in claims},
    }


def asked_of(actor: Actor) -> Part:
    """Return how to ask for the number of messages that wait with a question to this person."""
    return count_of(desk_messages().asked_of(actor), most=MOST_ASKED)
