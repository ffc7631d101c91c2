"""Runs a stored command once, and answers it: what a worker that dies leaves behind,
the next one finishes.

The row is leased, and due again when its worker is gone. A message is one message
however often that happens, by the idempotency key made of the interaction's id. The
answer is stored before Discord is told: from then on nothing is done again.
"""

import json
import logging
import re
from collections.abc import Callable
from datetime import timedelta

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from alerts.cards.markup import cut
from alerts.channels.discord.commands import (
    WRITING,
    Command,
    CommandRefused,
    check_inbox,
    command_details,
    pending,
    read_command,
    reply,
    send_email,
    with_typed_text,
)
from alerts.channels.discord.embeds import escape
from alerts.channels.discord.replies import (
    BROKEN,
    FAULT,
    MAX_PAUSE,
    TryAgain,
    private,
    recorded_refusal,
    stranger,
)
from alerts.models import Interaction
from approvals.models import CommandedMail
from audit.recording import record
from mirror.models import Message
from upstream import errors

log = logging.getLogger(__name__)

COMMANDS: dict[str, Callable[[Command], str]] = {
    "sendemail": send_email,
    "checkinbox": check_inbox,
    "reply": reply,
    "pending": pending,
}
NOT_KNOWN = "It is not known whether MultiMail accepted the message: check the queue before you send it again."
# So often MultiMail is asked: about a minute, after which a person had better know.
MAX_TRIES = 5
# Values of `outcome` meanwhile: nothing was asked; MultiMail was, and its answer did
# not come.
GIVEN = "given"
CALLING = "calling"
# A message that came later than that is not looked for any more.
_LOOK_BACK = timedelta(days=2)
_AT_ONCE = 100
_MAX_EXPLANATION = 400
# The status means nothing to people, and the words before it say more.
_STATUS = re.compile(r"^MultiMail answered [0-9]+[:.] ?")
_FINAL: dict[type[errors.UpstreamError], tuple[str, str]] = {
    errors.KeyRefused: (
        "key refused",
        "MultiMail does not accept the desk's agent key. Ask an admin to replace it.",
    ),
    errors.Forbidden: ("forbidden", "MultiMail does not allow this."),
    errors.NotFound: (
        "not found",
        "MultiMail does not know it, or it is not in this mailbox.",
    ),
    errors.Conflict: ("conflict", "MultiMail refused it because of a conflict."),
    errors.Rejected: ("not accepted", "MultiMail does not accept it in this form."),
}


def note_proofs(*, interaction_id: str = "") -> int:
    """Record at each message that a signed command made it, once the message is here;
    return how many.

    The desk may learn of the message before MultiMail answered the command, or after:
    whoever comes second records it.
    """
    wanted = Q(interaction_id=interaction_id) if interaction_id else Q()
    return sum(
        _note_proof(pk)
        for pk in arrived_mail().filter(wanted).values_list("pk", flat=True)[:_AT_ONCE]
    )


def arrived_mail() -> QuerySet[CommandedMail]:
    """Return the commanded mail whose message is here, and that is not recorded at it
    yet.
    """
    waiting = CommandedMail.objects.filter(
        noted_at=None, given_at__gt=Now() - _LOOK_BACK
    )
    return waiting.exclude(upstream_id="").filter(
        connection__messages__upstream_id=F("upstream_id")
    )


@transaction.atomic
def _note_proof(pk: int) -> bool:
    if not CommandedMail.objects.filter(pk=pk, noted_at=None).update(noted_at=Now()):
        return False
    commanded = CommandedMail.objects.select_related("person").get(pk=pk)
    message = Message.objects.get(
        connection=commanded.connection_id, upstream_id=commanded.upstream_id
    )
    interaction = Interaction.objects.filter(
        discord_id=commanded.interaction_id
    ).first()
    record(
        "message.commanded",
        actor=commanded.person.actor(surface="discord"),
        connection=commanded.connection_id,
        message=message.public_id,
        details=command_details(interaction) if interaction else {},
        about=message,
    )
    return True


def run_command(interaction: Interaction) -> None:
    """Run the command, and store the answer. Raises TryAgain."""
    writes = interaction.name in WRITING
    try:
        sentence = _ask(interaction)
    except CommandRefused as refused:
        sentence = refused.sentence
        reason = refused.reason
        # A later refusal does not undo what an earlier call did.
        if writes and (refused.may_have_left or interaction.outcome == CALLING):
            sentence = f"{sentence} {NOT_KNOWN}"
            reason = "unknown"
        _store_refusal(interaction, sentence, reason=reason)
    except (TryAgain, OperationalError, InterfaceError):
        raise
    except Exception:
        # Trying again would end in the same way, and somebody waits.
        log.exception(
            "command not carried out", extra={"interaction": interaction.discord_id}
        )
        is_unknown = (
            writes
            and Interaction.objects.filter(pk=interaction.pk, outcome=CALLING).exists()
        )
        _store_refusal(
            interaction,
            f"{FAULT} {NOT_KNOWN}" if is_unknown else BROKEN,
            reason="fault",
        )
    else:
        _store_answer(interaction, sentence, "done")
        if writes:
            note_proofs(interaction_id=interaction.discord_id)


def _ask(interaction: Interaction) -> str:
    """Do it, and return the answer. Raises CommandRefused and TryAgain."""
    command = read_command(interaction)
    with transaction.atomic():
        # Once, however many runs it takes.
        fresh = Interaction.objects.filter(pk=interaction.pk).exclude(
            outcome__in=(GIVEN, CALLING)
        )
        if fresh.update(outcome=GIVEN, person=command.person):
            record(
                "command.given",
                actor=command.actor,
                details=command_details(interaction),
            )
    if (run := COMMANDS.get(interaction.name)) is None:
        raise CommandRefused(
            "This desk does not know the command. An admin must register the commands again.",
            reason="unknown name",
        )
    _set_progress(interaction, CALLING)
    try:
        return run(command)
    except errors.UpstreamError as error:
        for kind, (reason, sentence) in _FINAL.items():
            if isinstance(error, kind):
                # MultiMail's own words follow, escaped.
                own = (
                    "" if kind is errors.KeyRefused else _STATUS.sub("", error.sentence)
                )
                own = f" {cut(escape(own), _MAX_EXPLANATION)}" if own else ""
                raise CommandRefused(f"{sentence}{own}", reason=reason) from error
        seconds = None
        may_have_left = interaction.outcome == CALLING
        if isinstance(error, errors.Throttled):
            sentence = "MultiMail asks to wait."
            reason = "throttled"
            seconds = error.retry_after
        elif isinstance(error, errors.NotSent):
            sentence = "MultiMail cannot be reached at the moment."
            reason = "not reached"
        else:
            sentence = "MultiMail did not answer as it should."
            reason = "no answer"
            may_have_left = True
        if not may_have_left:
            _set_progress(interaction, GIVEN)
        if interaction.attempts < MAX_TRIES and (seconds or 0) <= MAX_PAUSE:
            raise TryAgain(error.sentence, seconds=seconds) from error
        if interaction.name not in WRITING:
            sentence += " Try again later."
        elif not may_have_left:
            sentence += " Nothing was sent. Try again later."
        raise CommandRefused(
            sentence, reason=reason, may_have_left=may_have_left
        ) from error


def _set_progress(interaction: Interaction, outcome: str) -> None:
    Interaction.objects.filter(pk=interaction.pk).update(outcome=outcome)


@transaction.atomic
def _store_refusal(interaction: Interaction, sentence: str, *, reason: str) -> None:
    """Store the answer with what was typed, and record it, both or neither."""
    if not _store_answer(
        interaction, with_typed_text(sentence, interaction.options), "refused"
    ):
        return
    person = Interaction.objects.select_related("person").get(pk=interaction.pk).person
    # What somebody of the desk gave is recorded already; of strangers, only so many
    # refusals are.
    if words := reason if person else recorded_refusal(interaction, reason):
        record(
            "command.failed",
            actor=person.actor(surface="discord") if person else stranger(interaction),
            details=command_details(interaction) | {"why": words},
        )


def _store_answer(interaction: Interaction, sentence: str, outcome: str) -> bool:
    """Store the answer; False where another worker did, whose answer counts."""
    unanswered = Interaction.objects.filter(pk=interaction.pk, answer="")
    is_first = bool(
        unanswered.update(outcome=outcome, answer=json.dumps(private(sentence)))
    )
    interaction.refresh_from_db(fields=["outcome", "answer"])
    return is_first
