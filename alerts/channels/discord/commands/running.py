"""Carries a stored command out, once, and answers it: what a worker that dies leaves behind, the next one finishes.

The row is the truth: it is leased, and due again when its worker is gone. A letter is one letter however often that
happens, by the key that comes of the interaction's id. What is answered is kept before Discord is told: from then on
nothing is done again.
"""

import json
import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, transaction

from alerts.channels.discord.commands.errors import CommandRefused, TryAgain
from alerts.channels.discord.commands.given import Given, read_given, told_of
from alerts.channels.discord.commands.mailing import reply, send_email
from alerts.channels.discord.commands.proving import note_proved
from alerts.channels.discord.commands.reading import check_inbox, pending
from alerts.channels.discord.commands.typed import with_what_was_typed
from alerts.channels.discord.commands.upstream_words import in_words
from alerts.channels.discord.interactions.answers import BROKEN, FAULT, private
from alerts.channels.discord.interactions.noting import words_kept
from alerts.channels.discord.interactions.telling import LONGEST_PAUSE, TOO_LATE, end, is_too_late, pause, tell
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
WRITING = ("sendemail", "reply")
NOT_KNOWN = "It is not known whether MultiMail took the message: look into the queue before you send it again."
# So often MultiMail is asked: about a minute, after which a person had better know.
MOST_TRIES = 5
# How far it came: nothing was asked; MultiMail was, and its answer did not come.
GIVEN, CALLING = "given", "calling"


def run_command(*, interaction_id: int) -> str:
    """Carry out and answer one command, if it is due, and return what came of that."""
    interaction = Interaction.objects.filter(kind=Interaction.Kind.COMMAND).claim(interaction_id)
    if interaction is None:
        return "not due"
    with traced(interaction.trace):
        if is_too_late(interaction):
            return end(interaction, TOO_LATE, because=TOO_LATE)
        try:
            if not interaction.answer:
                _carry_out(interaction)
        except TryAgain as later:
            interaction.postponed(seconds=pause(interaction, later.seconds), error=later.sentence)
            return "postponed"
        return tell(interaction)


def due_commands() -> list[int]:
    """The commands that should be tried now: of a worker that died, or whose nudge was lost."""
    due = Interaction.objects.filter(kind=Interaction.Kind.COMMAND).due()
    return list(due.order_by("next_attempt_at").values_list("pk", flat=True)[:200])


def _carry_out(interaction: Interaction) -> None:
    """Do it, and keep what is answered. Raises TryAgain."""
    is_letter = interaction.name in WRITING
    try:
        sentence = _done(interaction)
    except CommandRefused as refused:
        # What an earlier call did, no later refusal undoes.
        is_unknown = is_letter and (refused.may_have_left or interaction.outcome == CALLING)
        end_of_it = f" {NOT_KNOWN}" if is_unknown else ""
        _keep_failed(interaction, f"{refused.sentence}{end_of_it}", why="unknown" if is_unknown else refused.why)
    except (TryAgain, OperationalError, InterfaceError):
        raise
    except Exception:
        # Trying again would end in the same way, and somebody waits.
        log.exception("command not carried out", extra={"interaction": interaction.discord_id})
        is_unknown = is_letter and Interaction.objects.filter(pk=interaction.pk, outcome=CALLING).exists()
        _keep_failed(interaction, f"{FAULT} {NOT_KNOWN}" if is_unknown else BROKEN, why="fault")
    else:
        _keep(interaction, sentence, "done")
        if is_letter:
            note_proved(interaction_id=interaction.discord_id)


def _done(interaction: Interaction) -> str:
    """Do it, and return the answer. Raises CommandRefused and TryAgain."""
    given = read_given(interaction)
    _note_given(interaction, given)
    if (command := COMMANDS.get(given.name)) is None:
        raise CommandRefused("This desk does not know the command. An admin registers them anew.", why="unknown name")
    _came_to(interaction, CALLING)
    try:
        return command(given)
    except UpstreamError as error:
        said = in_words(error)
        if said.is_final:
            raise CommandRefused(said.sentence, why=said.why) from error
        may_have_left = said.may_have_left or interaction.outcome == CALLING
        if not may_have_left:
            _came_to(interaction, GIVEN)
        if interaction.attempts < MOST_TRIES and (said.seconds or 0) <= LONGEST_PAUSE:
            raise TryAgain(error.sentence, seconds=said.seconds) from error
        later = "Nothing was sent. Try again later." if given.name in WRITING else "Try again later."
        sentence = said.sentence if may_have_left and given.name in WRITING else f"{said.sentence} {later}"
        raise CommandRefused(sentence, why=said.why, may_have_left=may_have_left) from error


def _came_to(interaction: Interaction, how_far: str) -> None:
    Interaction.objects.filter(pk=interaction.pk).update(outcome=how_far)


@transaction.atomic
def _note_given(interaction: Interaction, given: Given) -> None:
    """Tell the ledger once, however many runs it takes."""
    fresh = Interaction.objects.filter(pk=interaction.pk).exclude(outcome__in=(GIVEN, CALLING))
    if fresh.update(outcome=GIVEN, person=given.person):
        record("command.given", actor=given.actor, details=told_of(interaction))


@transaction.atomic
def _keep_failed(interaction: Interaction, sentence: str, *, why: str) -> None:
    """Keep the answer with what was typed, and tell the ledger, both or neither."""
    if not _keep(interaction, with_what_was_typed(sentence, interaction.options), "refused"):
        return
    who = Interaction.objects.select_related("person").get(pk=interaction.pk).person
    actor = who.actor(surface="discord") if who else _stranger(interaction)
    # What somebody of the desk gave is told of already, with or without its end.
    if words := why if who else words_kept(interaction, why):
        record("command.failed", actor=actor, details=told_of(interaction) | {"why": words})


def _keep(interaction: Interaction, sentence: str, outcome: str) -> bool:
    """Keep what is answered; False where another worker did, whose answer it is then."""
    kept = Interaction.objects.filter(pk=interaction.pk, answer="")
    is_first = bool(kept.update(outcome=outcome, answer=json.dumps(private(sentence))))
    interaction.refresh_from_db(fields=["outcome", "answer"])
    return is_first


def _stranger(interaction: Interaction) -> Actor:
    number = interaction.discord_user_id
    return Actor(kind="discord", id=number, label=interaction.discord_user or number, surface="discord")
