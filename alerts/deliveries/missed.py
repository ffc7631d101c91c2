"""Plans acts whose planning failed."""

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from alerts.cards.reading import details_of
from alerts.deliveries.planning import plan, read_acts
from alerts.models import Destination, MissedAct
from audit.models import Entry

log = logging.getLogger(__name__)

# What fails for longer is given up: it would always fail, and keep others waiting.
TRIED_FOR = timedelta(minutes=10)


def plan_missed(keys: Iterable[int]) -> int:
    """Plan these acts, by the numbers of their entries, as it should have been done; return how many succeeded."""
    planned = 0
    for entry in Entry.objects.select_related("detail").filter(pk__in=keys).order_by("pk"):
        missed = MissedAct.objects.filter(pk=entry.pk)
        try:
            with transaction.atomic():
                if missed.delete()[0]:
                    [act] = read_acts([(entry, details_of(entry))])
                    plan(act, Destination.objects.for_planning(at=entry.at))
                    planned += 1
        except Exception:
            log.exception("missed act not planned", extra={"entry": entry.pk, "action": entry.action})
            missed.filter(missed_at__lt=Now() - TRIED_FOR).delete()
    return planned
