"""Counts what entries of allowlists let through: each message once, when its content is there, and no test message."""

from collections import Counter

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from common.postgres import clock
from mirror.models import Message
from policy.allowlists.batch_judgement import judged_together
from policy.models import AllowEntry


@transaction.atomic
def count_hits(*, limit: int) -> int:
    """Count some messages that were not, and return how many were taken on."""
    # Locked so that none is counted twice; one that somebody decides at this moment is counted later.
    rows = Message.objects.to_count().select_for_update(of=("self",), no_key=True, skip_locked=True)
    messages = list(rows.select_related("revision")[:limit])
    if not messages:
        return 0
    hits = _hits([one for one in messages if not one.sandbox])
    # In one order: two that count at once must not wait for each other.
    for entry, number in sorted(hits.items()):
        AllowEntry.objects.filter(pk=entry).update(hits=F("hits") + number, last_hit_at=Now())
    Message.objects.filter(pk__in=[one.pk for one in messages]).update(hits_counted_at=Now())
    return len(messages)


def _hits(messages: list[Message]) -> Counter[int]:
    """Return by entry how many messages it let somebody of through; one counts once, whoever else it goes to."""
    found: Counter[int] = Counter()
    for judged in judged_together(messages, now=clock()).values():
        found.update({listed.entry for listed in judged.passed.values() if listed.entry is not None})
    return found
