"""Runs a slash command that was stored as an interaction, and stores the answer for
Discord.

If the worker dies, the interaction becomes due again and the next worker runs the
command again. MultiMail still sends only one message, because the idempotency key is
made of the interaction's id. Once the answer is stored, the command is not run again.
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
from alerts.channels.answers import (
    BROKEN,
    FAULT,
    MAX_PAUSE,
    TryAgain,
    person_of,
    recorded_refusal,
    stranger,
)
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
from alerts.channels.discord.replies import private
from alerts.models import Interaction
from approvals.models import CommandedMail
from audit.recording import record
from mirror.models import Message
from mirror.recording import record_about
from people.models import ChatService
from upstream import errors

log = logging.getLogger(__name__)

COMMANDS: dict[str, Callable[[Command], str]] = {
    "sendemail": send_email,
    "checkinbox": check_inbox,
    "reply": reply,
    "pending": pending,
}
NOT_KNOWN = "It is not known whether MultiMail accepted the message: check the queue before you send it again."
# How often MultiMail is called for one command. This takes about a minute; then the
# person is told that it failed.
MAX_TRIES = 5
# Values of `outcome` while a command runs: MultiMail was not called yet, or it was and
# its answer has not come.
GIVEN = "given"
CALLING = "calling"
# For how long after a command its message is looked for in the mirror.
_LOOK_BACK = timedelta(days=2)
# How many messages are noted in one run.
_AT_ONCE = 100
# In UTF-16 units: how much of MultiMail's explanation an answer quotes.
_MAX_EXPLANATION = 400
# The beginning of MultiMail's sentences, which is left out: the status means nothing to
# people.
_STATUS = re.compile(r"^MultiMail answered [0-9]+[:.] ?")
# By error: the reason for the ledger, and the sentence for the person. These errors are
# not tried again.
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
    """Record at messages in the mirror that a signed command started them; return how
    many. With an id only the message of this interaction is looked for.

    A message may reach the mirror before or after MultiMail answers the command. So
    this is called after the answer, and again by the sweep.
    """
    of_interaction = Q(interaction_id=interaction_id) if interaction_id else Q()
    return sum(
        _note_proof(pk)
        for pk in arrived_mail()
        .filter(of_interaction)
        .values_list("pk", flat=True)[:_AT_ONCE]
    )


def arrived_mail() -> QuerySet[CommandedMail]:
    """Return the rows of commands whose message is in the mirror by now, and where the
    command is not recorded at the message yet.
    """
    waiting = CommandedMail.objects.filter(
        noted_at=None, given_at__gt=Now() - _LOOK_BACK
    )
    return waiting.exclude(upstream_id="").filter(
        connection__messages__upstream_id=F("upstream_id")
    )


@transaction.atomic
def _note_proof(pk: int) -> bool:
    # Records it once, even if two workers find the row at the same time.
    if not CommandedMail.objects.filter(pk=pk, noted_at=None).update(noted_at=Now()):
        return False
    commanded = CommandedMail.objects.select_related("person").get(pk=pk)
    message = Message.objects.get(
        connection=commanded.connection_id, upstream_id=commanded.upstream_id
    )
    interaction = Interaction.objects.filter(
        service=ChatService.DISCORD, external_id=commanded.interaction_id
    ).first()
    record_about(
        "message.commanded",
        message,
        actor=commanded.person.actor(surface="discord"),
        details=command_details(interaction) if interaction else {},
    )
    return True


def run_command(interaction: Interaction) -> None:
    """Run a command, and store the answer. Raises TryAgain after a temporary failure."""
    writes = interaction.name in WRITING
    try:
        sentence = _carry_out(interaction)
    except CommandRefused as refused:
        sentence = refused.sentence
        reason = refused.reason
        # An earlier call may have sent the message, although this one was refused.
        if writes and (refused.may_have_left or interaction.outcome == CALLING):
            sentence = f"{sentence} {NOT_KNOWN}"
            reason = "unknown"
        _store_refusal(interaction, sentence, reason=reason)
    except (TryAgain, OperationalError, InterfaceError):
        raise
    except Exception:
        # Trying again would fail in the same way, and a person is waiting.
        log.exception(
            "command not carried out", extra={"interaction": interaction.external_id}
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
            note_proofs(interaction_id=interaction.external_id)


def _carry_out(interaction: Interaction) -> str:
    """Carry out a command, and return the answer to it. Raises CommandRefused and
    TryAgain.
    """
    command = read_command(interaction)
    with transaction.atomic():
        # Recorded in the first run only.
        not_recorded = Interaction.objects.filter(pk=interaction.pk).exclude(
            outcome__in=(GIVEN, CALLING)
        )
        if not_recorded.update(outcome=GIVEN, person=command.person):
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
                words = _STATUS.sub("", error.sentence)
                if words and kind is not errors.KeyRefused:
                    sentence += f" {cut(escape(words), _MAX_EXPLANATION)}"
                raise CommandRefused(sentence, reason=reason) from error
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
    """Store the answer, with the text that was typed, and record the refusal in the
    ledger.
    """
    if not _store_answer(
        interaction, with_typed_text(sentence, interaction.options), "refused"
    ):
        return
    # Also somebody whom nothing was carried out for.
    person = person_of(interaction)
    # Of people who are not linked to the desk only some refusals are recorded.
    if words := reason if person else recorded_refusal(interaction, reason):
        details = command_details(interaction)
        details["why"] = words
        record(
            "command.failed",
            actor=person.actor(surface="discord") if person else stranger(interaction),
            details=details,
        )


def _store_answer(interaction: Interaction, sentence: str, outcome: str) -> bool:
    """Store the answer; return False if another worker has stored one, which stays."""
    unanswered = Interaction.objects.filter(pk=interaction.pk, answer="")
    is_first = bool(
        unanswered.update(outcome=outcome, answer=json.dumps(private(sentence)))
    )
    interaction.refresh_from_db(fields=["outcome", "answer"])
    return is_first
