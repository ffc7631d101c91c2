"""Reads what cards and events show of a message, by queries that are compiled once: every delivery asks them."""

from typing import Any

from django.db.models import F

from approvals.models import Claim, Decision
from approvals.querysets.messages import desk_messages
from common.compiled import CompiledQuery
from common.postgres.statements import ANY
from mirror.models import Message

_MESSAGE = CompiledQuery(
    lambda: desk_messages().select_related("mailbox", "revision").annotate(slug=F("connection__slug")).filter(pk=ANY)
)
_DECISIONS = CompiledQuery(lambda: Decision.objects.filter(message=ANY).select_related("given_by").order_by("-pk"))
_CLAIM = CompiledQuery(lambda: Claim.objects.filter(message=ANY).live().select_related("person"))


def read_message(key: int | None) -> Any:
    """Return a message as it is now, with its mailbox, revision and decisions and the connection's `slug`.

    Raises Message.DoesNotExist.
    """
    message: Any = _MESSAGE.first({ANY: key})
    if message is None:
        raise Message.DoesNotExist
    decisions = Decision.objects.all()
    decisions._result_cache = _DECISIONS.rows({ANY: key})
    message._prefetched_objects_cache = {"decisions": decisions}
    return message


def live_claim(message: Message) -> Claim | None:
    """Return who works on a message, if anybody does."""
    return _CLAIM.first({ANY: message.pk})
