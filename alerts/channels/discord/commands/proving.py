"""Tells the ledger, at the message itself, that a signed command made it: from then on that is proved, not only said.

The desk may hear of the message before MultiMail answered the command, or after: whoever comes second says it.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from alerts.channels.discord.commands.given import told_of
from alerts.models import Interaction
from approvals.models import CommandedMail
from audit.recording import record
from mirror.models import Message

# Later it is not looked for any more: the message never came here.
LOOK_BACK = timedelta(days=2)
_AT_ONCE = 100


def note_proved(*, interaction_id: str = "") -> int:
    """Note it for one command, or for all whose message came meanwhile; return how many."""
    wanted = Q(interaction_id=interaction_id) if interaction_id else Q()
    waiting = CommandedMail.objects.filter(wanted, noted_at=None, given_at__gt=Now() - LOOK_BACK).exclude(
        upstream_id=""
    )
    came = waiting.filter(connection__messages__upstream_id=F("upstream_id"))
    return sum(_note(pk) for pk in came.values_list("pk", flat=True)[:_AT_ONCE])


@transaction.atomic
def _note(pk: int) -> bool:
    if not CommandedMail.objects.filter(pk=pk, noted_at=None).update(noted_at=Now()):
        return False
    commanded = CommandedMail.objects.select_related("person").get(pk=pk)
    message = Message.objects.get(connection=commanded.connection_id, upstream_id=commanded.upstream_id)
    given = Interaction.objects.filter(discord_id=commanded.interaction_id).first()
    record(
        "message.commanded",
        actor=commanded.person.actor(surface="discord"),
        connection=commanded.connection_id,
        message=message.public_id,
        details=told_of(given) if given else {},
        about=message,
        words=message.ledger_words(),
    )
    return True
