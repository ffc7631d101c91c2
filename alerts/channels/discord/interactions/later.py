"""Judges a press that had to wait for others, and answers it where Discord shows that the desk is thinking.

What came of it is kept with it before Discord is told: a worker that dies in between decides nothing twice.
"""

import json
import logging

from django.db import InterfaceError, OperationalError, transaction

from alerts.channels.discord.interactions.answers import BROKEN, Said
from alerts.channels.discord.interactions.pressing import judge
from alerts.channels.discord.interactions.receiving import TASK
from alerts.channels.discord.interactions.telling import TOO_LATE, end, is_too_late, tell
from alerts.models import Interaction
from common.logs import traced
from common.nudge import nudge
from common.postgres.anew import anew

log = logging.getLogger(__name__)

_KINDS = (Interaction.Kind.PRESS, Interaction.Kind.FORM)
TRY_AGAIN = "The message was busy just now. Nothing was decided: press again."


def judge_press(*, interaction_id: int) -> str:
    """Judge and answer one press that was put off, if it is due, and return what came of that."""
    interaction = Interaction.objects.filter(kind__in=_KINDS).claim(interaction_id)
    if interaction is None:
        return "not due"
    with traced(interaction.trace):
        if is_too_late(interaction):
            return end(interaction, TOO_LATE, because=TOO_LATE)
        if not interaction.answer:
            anew(lambda: _keep(interaction))
        return tell(interaction)


def nudge_due() -> None:
    """Find the presses that no nudge told of."""
    due = Interaction.objects.filter(kind__in=_KINDS).due().order_by("next_attempt_at")
    for key in due.values_list("pk", flat=True)[:200]:
        nudge(TASK, key)


@transaction.atomic
def _keep(interaction: Interaction) -> None:
    """Judge it and keep what is answered, in one transaction."""
    # A worker that took over meanwhile waits here, and finds the answer.
    now = Interaction.objects.select_for_update().get(pk=interaction.pk)
    if not now.answer:
        said = _judged(now)
        if said.form:
            # No form can come late.
            said = Said("too late", TRY_AGAIN)
        now.outcome, now.options, now.answer = said.outcome, "", json.dumps(said.body())
        now.save(update_fields=["outcome", "options", "answer", "person", "message"])
    interaction.outcome, interaction.answer = now.outcome, now.answer


def _judged(interaction: Interaction) -> Said:
    try:
        with transaction.atomic():
            return judge(interaction)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        # Trying again would end in the same way, and somebody waits.
        log.exception("press not judged", extra={"interaction": interaction.discord_id})
        return Said("fault", BROKEN)
