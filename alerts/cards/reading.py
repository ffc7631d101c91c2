"""Reads what cards and events show of a message, by queries that are compiled once: every delivery asks them."""

from functools import cache
from typing import Any

from django.db.models import F
from django.utils import timezone

from approvals.decisions.demands import demands_for
from approvals.desk_messages import desk_messages, read_decisions
from approvals.models import Claim
from common.actors import worker
from common.postgres.statements import ANY, RowQuery
from mirror.models import Message


def read_message(key: int | None) -> Any:
    """Return a message as it is now, with its mailbox, revision and decisions and the connection's `slug`.

    Raises Message.DoesNotExist.
    """
    message: Any = _message().first({ANY: key})
    if message is None:
        raise Message.DoesNotExist
    read_decisions([message])
    return message


def live_claim(message: Message) -> Claim | None:
    """Return who works on a message, if anybody does."""
    return _claim().first({ANY: message.pk})


def approvals_of(message: Message) -> str:
    """Return how many have approved a held message, and who: "1 of 2, by Ana Ferreira"; empty where one is enough."""
    demand = demands_for([message], worker("alerts"), now=timezone.now()).get(message.pk)
    if demand is None or not (demand.takes_several or demand.warning):
        return ""
    given = f"{demand.progress}{f', by {demand.givers}' if demand.counted else ''}"
    return f"{given}. {demand.warning}" if demand.warning else given


@cache
def _message() -> RowQuery[Message]:
    shown = desk_messages().select_related("mailbox", "revision")
    return RowQuery(shown.annotate(slug=F("connection__slug")).filter(pk=ANY))


@cache
def _claim() -> RowQuery[Claim]:
    return RowQuery(Claim.objects.filter(message=ANY).live().select_related("person"))
