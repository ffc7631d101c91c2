"""Reads what cards and events show of a message."""

from django.db.models import Prefetch
from django.utils import timezone

from approvals.decisions.demands import demands_for
from approvals.desk_messages import desk_messages
from approvals.models import Decision
from common.actors import worker
from mirror.models import Message


def read_message(key: int | None) -> Message:
    """Return a message as it is now, with its mailbox, revision and decisions. Raises
    Message.DoesNotExist.
    """
    decisions = Prefetch(
        "decisions", Decision.objects.select_related("given_by").order_by("-pk")
    )
    message: Message = (
        desk_messages()
        .select_related("mailbox", "revision")
        .prefetch_related(decisions)
        .get(pk=key)
    )
    return message


def approvals_of(message: Message) -> str:
    """Return how many have approved a held message, and who: "1 of 2, by Ana Ferreira";
    empty where one is enough.
    """
    demand = demands_for([message], worker("alerts"), now=timezone.now()).get(
        message.pk
    )
    if demand is None or not (demand.takes_several or demand.warning):
        return ""
    given = f"{demand.progress}{f', by {demand.givers}' if demand.counted else ''}"
    return f"{given}. {demand.warning}" if demand.warning else given
