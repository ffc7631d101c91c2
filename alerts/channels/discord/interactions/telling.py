"""Puts an answer that is owed where Discord shows that the desk is thinking, and closes the row behind it.

What is answered was kept before: a worker that dies here does nothing twice, and the next one tells the same.
"""

import json
import logging
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from alerts.channels.discord.interactions.followup import NotAnswered, edit_answer
from alerts.models import Interaction

log = logging.getLogger(__name__)

# Discord takes answers for 15 minutes; the last attempt must end before that.
ANSWERABLE = timedelta(minutes=14)
LONGEST_PAUSE = 60.0
TOO_LATE = "too late"


def is_too_late(interaction: Interaction) -> bool:
    """Whether Discord would take no answer any more."""
    return not Interaction.objects.filter(pk=interaction.pk, created_at__gt=Now() - ANSWERABLE).exists()


def tell(interaction: Interaction) -> str:
    """Answer with what is kept, and return how it ended: as it was kept, not answered, or put off once more."""
    try:
        edit_answer(interaction, json.loads(interaction.answer)["data"]["content"])
    except NotAnswered as error:
        if error.is_final:
            return end(interaction, "not answered", because=str(error))
        interaction.postponed(seconds=pause(interaction, error.seconds), error=str(error))
        return "postponed"
    return end(interaction, interaction.outcome)


@transaction.atomic
def end(interaction: Interaction, how: str, *, because: str = "") -> str:
    """Close the row and forget what it needed, unless another worker has it by now. `because` says why unanswered."""
    ended = interaction.failed(error=because) if because else interaction.delivered(status=200)
    if not ended:
        return "taken over"
    Interaction.objects.filter(pk=interaction.pk).update(token="", options="", answer="")
    if because:
        told = {"interaction": interaction.discord_id, "what": interaction.name, "reason": because}
        log.warning("interaction not answered", extra=told)
    return how


def pause(interaction: Interaction, seconds: float | None) -> float:
    """Return how long to wait before the next try: as asked, or longer each time."""
    return seconds if seconds is not None else min(2.0**interaction.attempts, LONGEST_PAUSE)
