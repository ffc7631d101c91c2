"""Carries a stored command out, once, and answers it: what a worker that dies leaves behind, the next one finishes.

The row is the truth: it is leased, and due again when its worker is gone. A letter is one letter however often that
happens, by the key that comes of the interaction's id. When it is answered, or Discord takes no answer any more, token
and options are forgotten.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from alerts.commands.errors import CommandRefused, TryAgain
from alerts.commands.given import Given, read_given, told_of
from alerts.commands.mailing import reply, send_email
from alerts.commands.proving import note_proved
from alerts.commands.reading import check_inbox, pending
from alerts.commands.typed import with_what_was_typed
from alerts.commands.upstream_words import in_words
from alerts.interactions.followup import NotAnswered, edit_answer
from alerts.interactions.noting import words_kept
from alerts.models import Interaction
from audit.recording import record
from common.logs import traced
from people.actors import Actor
from upstream.errors import UpstreamError

log = logging.getLogger(__name__)

COMMANDS: dict[str, Callable[[Given], str]] = {
    "sendemail": send_email,
    "checkinbox": check_inbox,
    "reply": reply,
    "pending": pending,
}
# Discord takes answers for 15 minutes; the last attempt must end before that.
ANSWERABLE = timedelta(minutes=14)
# So often MultiMail is asked: about a minute, after which a person had better know.
MOST_TRIES = 5
_LONGEST_PAUSE = 60.0
# How far it came: nothing was asked; MultiMail was, and its answer did not come.
GIVEN, CALLING = "given", "calling"


def run_command(*, interaction_id: int) -> str:
    """Carry out and answer one command, if it is due, and return what came of that."""
    interaction = Interaction.objects.filter(kind=Interaction.Kind.COMMAND).claim(interaction_id)
    if interaction is None:
        return "not due"
    with traced(interaction.trace):
        if not Interaction.objects.filter(pk=interaction.pk, created_at__gt=Now() - ANSWERABLE).exists():
            return _end(interaction, "too late")
        try:
            sentence, outcome = _carry_out(interaction)
        except TryAgain as later:
            interaction.postponed(seconds=_pause(interaction, later.seconds), error=later.sentence)
            return "postponed"
        return _answer(interaction, sentence, outcome)


def due_commands() -> list[int]:
    """The commands that should be tried now: of a worker that died, or whose nudge was lost."""
    due = Interaction.objects.filter(kind=Interaction.Kind.COMMAND).due()
    return list(due.order_by("next_attempt_at").values_list("pk", flat=True)[:200])


def _carry_out(interaction: Interaction) -> tuple[str, str]:
    """Return the answer and how it ended, in a word. Raises TryAgain."""
    try:
        given = read_given(interaction)
        _note_given(interaction, given)
        if (command := COMMANDS.get(given.name)) is None:
            raise CommandRefused("This desk does not know the command. An admin registers them anew.", why="unknown")
        sentence = _call(interaction, command, given)
    except CommandRefused as refused:
        _note_failed(interaction, refused.why)
        return with_what_was_typed(refused.sentence, interaction.options), "refused"
    if given.name in ("sendemail", "reply"):
        note_proved(interaction_id=interaction.discord_id)
    return sentence, "done"


def _call(interaction: Interaction, command: Callable[[Given], str], given: Given) -> str:
    """Ask MultiMail, and tell what it refuses in words; what may pass is tried again with the same key."""
    may_have_left = interaction.outcome == CALLING
    Interaction.objects.filter(pk=interaction.pk).update(outcome=CALLING)
    try:
        return command(given)
    except UpstreamError as error:
        said = in_words(error)
        if said.is_final:
            raise CommandRefused(said.sentence, why=said.why) from error
        may_have_left = may_have_left or said.may_have_left
        if not may_have_left:
            Interaction.objects.filter(pk=interaction.pk).update(outcome=GIVEN)
        if interaction.attempts < MOST_TRIES:
            raise TryAgain(error.sentence, seconds=said.seconds, may_have_left=may_have_left) from error
        writes = given.name in ("sendemail", "reply")
        end = (
            "It is not known whether MultiMail took the letter: look into the queue before you send it again."
            if may_have_left and writes
            else "Nothing was sent. Try again later."
            if writes
            else "Try again later."
        )
        raise CommandRefused(
            f"{said.sentence} {end}", why="unknown" if may_have_left and writes else said.why
        ) from None


@transaction.atomic
def _note_given(interaction: Interaction, given: Given) -> None:
    """Tell the ledger once, however many runs it takes."""
    fresh = Interaction.objects.filter(pk=interaction.pk).exclude(outcome__in=(GIVEN, CALLING))
    if fresh.update(outcome=GIVEN, person=given.person):
        record("command.given", actor=given.actor, details=told_of(interaction))


@transaction.atomic
def _note_failed(interaction: Interaction, why: str) -> None:
    stored = Interaction.objects.filter(pk=interaction.pk).exclude(outcome="refused")
    if not stored.update(outcome="refused"):
        return
    who = Interaction.objects.select_related("person").get(pk=interaction.pk).person
    actor = who.actor(surface="discord") if who else _stranger(interaction)
    # What somebody of the desk gave is told of already, with or without its end.
    if words := why if who else words_kept(interaction, why):
        record("command.failed", actor=actor, details=told_of(interaction) | {"why": words})


def _stranger(interaction: Interaction) -> Actor:
    number = interaction.discord_user_id
    return Actor(kind="discord", id=number, label=interaction.discord_user or number, surface="discord")


def _answer(interaction: Interaction, sentence: str, outcome: str) -> str:
    try:
        edit_answer(interaction, sentence)
    except NotAnswered as error:
        if error.is_final:
            return _end(interaction, "not answered", because=str(error))
        interaction.postponed(seconds=_pause(interaction, error.seconds), error=str(error))
        return "postponed"
    return _end(interaction, outcome, answered=True)


@transaction.atomic
def _end(interaction: Interaction, outcome: str, *, answered: bool = False, because: str = "") -> str:
    """Close the row, and forget what it needed: unless another worker has it by now."""
    ended = interaction.delivered(status=200) if answered else interaction.failed(error=because or outcome)
    if not ended:
        return "taken over"
    Interaction.objects.filter(pk=interaction.pk).update(token="", options="", outcome=outcome)
    if not answered:
        log.warning("command not answered", extra={"interaction": interaction.discord_id, "outcome": outcome})
    return outcome


def _pause(interaction: Interaction, seconds: float | None) -> float:
    return min(seconds if seconds is not None else 2.0**interaction.attempts, _LONGEST_PAUSE)
