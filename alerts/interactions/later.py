"""Judges a press that had to wait for others, and answers it where Discord shows that the desk is thinking.

What came of it is kept with it before Discord is told: a worker that dies in between decides nothing twice.
"""

import json
import logging
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from alerts.interactions.answers import Said
from alerts.interactions.followup import NotAnswered, edit_answer
from alerts.interactions.pressing import judge
from alerts.interactions.receiving import TASK
from alerts.models import Interaction
from common.logs import traced
from common.nudge import nudge
from common.postgres.anew import anew

log = logging.getLogger(__name__)

# Discord takes answers for 15 minutes; the last attempt must end before that.
ANSWERABLE = timedelta(minutes=14)
_LONGEST_PAUSE = 60.0
_KINDS = (Interaction.Kind.PRESS, Interaction.Kind.FORM)
TRY_AGAIN = "The message was busy just now. Nothing was decided: press again."


def judge_press(*, interaction_id: int) -> str:
    """Judge and answer one press that was put off, if it is due, and return what came of that."""
    interaction = Interaction.objects.filter(kind__in=_KINDS).claim(interaction_id)
    if interaction is None:
        return "not due"
    with traced(interaction.trace):
        if not interaction.answer:
            if not Interaction.objects.filter(pk=interaction.pk, created_at__gt=Now() - ANSWERABLE).exists():
                return _end(interaction, because="too late")
            anew(lambda: _judge(interaction))
        return _tell(interaction)


def nudge_due() -> None:
    """Find the presses that no nudge told of."""
    due = Interaction.objects.filter(kind__in=_KINDS).due().order_by("next_attempt_at")
    for key in due.values_list("pk", flat=True)[:200]:
        nudge(TASK, key)


@transaction.atomic
def _judge(interaction: Interaction) -> None:
    # A worker that took over meanwhile waits here, and finds the answer.
    now = Interaction.objects.select_for_update().get(pk=interaction.pk)
    if not now.answer:
        said = judge(now)
        if said.form:
            # No form can come late.
            said = Said("too late", TRY_AGAIN)
        now.outcome, now.options, now.answer = said.outcome, "", json.dumps(said.body())
        now.save(update_fields=["outcome", "options", "answer", "person", "message"])
    interaction.answer = now.answer


def _tell(interaction: Interaction) -> str:
    try:
        edit_answer(interaction, json.loads(interaction.answer)["data"]["content"])
    except NotAnswered as error:
        if error.is_final:
            return _end(interaction, because=str(error))
        pause = error.seconds if error.seconds is not None else 2.0**interaction.attempts
        interaction.postponed(seconds=min(pause, _LONGEST_PAUSE), error=str(error))
        return "postponed"
    return _end(interaction)


@transaction.atomic
def _end(interaction: Interaction, *, because: str = "") -> str:
    """Close the row and forget its token, unless another worker has it by now."""
    ended = interaction.failed(error=because) if because else interaction.delivered(status=200)
    if not ended:
        return "taken over"
    Interaction.objects.filter(pk=interaction.pk).update(token="", options="")
    if because:
        log.warning("press not answered", extra={"interaction": interaction.discord_id, "reason": because})
    return because or "answered"
