"""Reads of where a published rule saw something lately."""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models.functions import Now

from approvals.queue.filters import Filters
from approvals.queue.positions import Place
from common.postgres.rows import run

if TYPE_CHECKING:
    from approvals.queue.querysets import QueueQuerySet

LATELY = timedelta(days=30)
# Beyond so many messages nothing is counted: the count must not grow with the traffic for ever.
MOST = 100_000


def lately(messages: "QueueQuerySet") -> "QueueQuerySet":
    """Return those held first in the last 30 days; what happened to none of them lately bounds how far is looked."""
    return messages.filter(held_at__gte=Now() - LATELY, changed_at__gte=Now() - LATELY)


def hits_by_rule(messages: "QueueQuerySet") -> dict[str, int]:
    """Return in how many of these messages each rule saw something lately, by one scan (relies on message_changed)."""
    newest = lately(messages).in_order("newest").values("rules")[:MOST]
    sql, parameters = newest.query.sql_with_params()
    counted = f"SELECT rule, count(*) FROM ({sql}) AS newest, unnest(newest.rules) AS rule GROUP BY rule"  # noqa: S608 - Django's own SQL
    return {str(rule): int(number) for rule, number in run(counted, parameters).rows or ()}


def hits_of(messages: "QueueQuerySet", rule: str, *, after: Place | None) -> "QueueQuerySet":
    """Return the messages in which a rule saw something lately, newest first (relies on message_rules)."""
    found = lately(messages.matching(Filters(rule=rule)))
    return found.in_order("newest").following("newest", after)
