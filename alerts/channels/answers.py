"""What the chat services share in answering people who pressed a button or typed a
command: whose account it is, how often a refusal is recorded, and how an answer that
was deferred is sent.

A deferred answer is stored before it is sent. If the worker dies in between, the next
one only sends the stored answer, and does not repeat the work.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from alerts.cards.markup import Markup
from alerts.models import Interaction
from alerts.tasks import answer_interaction
from common.actors import Actor
from common.logs import traced
from common.sweeps import Duty, duty
from people.accounts.chat_accounts import offer_link
from people.models import Person

log = logging.getLogger(__name__)

Body = dict[str, Any]
# The field of the form that asks why a message is rejected, and what it says.
REASON = "reason"
REASON_TITLE = "Reject this message"
REASON_LABEL = "Reason (sent to the agent)"
REASON_HELP = "Tell the agent what to do differently."
# What the person is told after an unexpected error. The log has the details.
FAULT = "The desk had an error; whoever runs it can find it in the log."
BROKEN = f"{FAULT} Nothing was done."
TOO_LATE = "too late"
# Discord accepts answers for 15 minutes, and Slack for 30; the last attempt must end
# before that.
_ANSWERABLE = timedelta(minutes=14)
# In seconds: the longest wait between two attempts.
MAX_PAUSE = 60.0
# How long answers stay stored. A request is refused five minutes after it was signed,
# so nobody can ask for an older answer again.
ANSWERS_STORED = timedelta(minutes=20)

# How many refusals of one account the ledger gets within a minute, so that nobody fills
# it by pressing a button again and again. Every press is still answered.
MAX_REFUSALS = 5
LAST_REFUSAL = "Further refusals of this account within this minute are not recorded."
# Outcomes of interactions that were not refused.
_NO_REFUSALS = (
    "",
    "claim refused",
    "bad form",
    "not shown whole",
    "not ours",
    "too late",
    "asked why",
    *"approve approved told reject claim fault given calling done".split(),
)


@dataclass(frozen=True)
class Reply:
    """How a press ended, and the answer to it: a sentence or a form."""

    # A word, which is stored with the interaction.
    outcome: str
    content: str = ""
    # The custom id of the form that asks for a reason; empty for a sentence.
    form: str = ""


def link_instructions(interaction: Interaction, markup: Markup) -> str:
    """Return how to link this account to one at the desk. The text contains a secret
    link, so only the account's owner may see it.
    """
    url = offer_link(
        service=interaction.service,
        account_id=interaction.user_id,
        name=interaction.user_name,
    )
    link = markup.answer_link("Link it to your account at the desk", url)
    is_command = interaction.kind == Interaction.Kind.COMMAND
    again = "give the command again" if is_command else "press again"
    return (
        f"This {interaction.get_service_display()} account is not linked to anyone at the desk, so nothing was done. "
        f"{link}: sign in and confirm that it is yours. The link works once, for 15 minutes. Then {again}. You can "
        "find it later under Your account, Chat accounts."
    )


def recorded_refusal(interaction: Interaction, reason: str) -> str | None:
    """Return the reason to record in the ledger for this refusal; None if MAX_REFUSALS
    of this account were recorded within the last minute.
    """
    recent = Interaction.objects.filter(
        service=interaction.service,
        user_id=interaction.user_id,
        created_at__gt=Now() - timedelta(minutes=1),
    )
    if interaction.person is not None:
        # Each refused command of a linked person is recorded.
        recent = recent.exclude(kind=Interaction.Kind.COMMAND)
    number = recent.exclude(pk=interaction.pk).exclude(outcome__in=_NO_REFUSALS).count()
    if number >= MAX_REFUSALS:
        return None
    return reason if number < MAX_REFUSALS - 1 else f"{reason} {LAST_REFUSAL}"


def person_of(interaction: Interaction) -> Person | None:
    """Return the person to whom the account is linked, with their roles; None if there
    is none.
    """
    linked = Person.objects.filter(
        chat_accounts__service=interaction.service,
        chat_accounts__account_id=interaction.user_id,
    )
    return linked.prefetch_related("grants").first()


def stranger(interaction: Interaction) -> Actor:
    """Return an actor for an account that is linked to nobody at the desk."""
    account = interaction.user_id
    return Actor(
        kind=interaction.service,
        id=account,
        label=interaction.user_name or account,
        surface=interaction.service,
    )


class NotAnswered(Exception):
    """The service will never accept the answer."""


class TryAgain(Exception):
    """A temporary failure: trying again is safe. `seconds` is set if the
    service or MultiMail asked to wait.
    """

    def __init__(self, sentence: str, *, seconds: float | None = None) -> None:
        super().__init__(sentence)
        self.seconds = seconds


def store_reply(interaction: Interaction, reply: Reply, body: Body) -> None:
    """Store how an interaction ended, and its answer in the service's format. What was
    typed is deleted.
    """
    interaction.outcome = reply.outcome
    interaction.options = ""
    interaction.answer = json.dumps(body)
    interaction.save(update_fields=["outcome", "options", "answer", "person"])


def duties_of(service: str) -> Mapping[str, Duty]:
    """Return what the sweep does for the interactions of a service: it enqueues those
    whose worker died or whose task was lost, and deletes answers that nobody can ask
    for again.
    """
    return {
        "interactions": duty(
            lambda: due_interactions(service), lambda _: enqueue_due(service)
        ),
        "answers": duty(
            lambda: old_answers().order_by("created_at"), lambda _: forget_answers()
        ),
    }


def enqueue_due(service: str) -> None:
    """Enqueue the interactions whose worker died, or whose task was lost."""
    for key in due_interactions(service).values_list("pk", flat=True)[:400]:
        answer_interaction.delay_on_commit(key)


def due_interactions(service: str) -> QuerySet[Interaction]:
    """Return the interactions to answer now, those that are due longest first."""
    due = Interaction.objects.due().filter(service=service)
    return due.order_by("next_attempt_at")


def forget_answers() -> int:
    """Delete the stored answers that nobody can ask for again; return how many."""
    return old_answers().update(answer="")


def old_answers() -> QuerySet[Interaction]:
    """Return the interactions whose answer is stored although nobody can ask for it
    again (uses the index interaction_answered).
    """
    return Interaction.objects.filter(created_at__lt=Now() - ANSWERS_STORED).exclude(
        answer=""
    )


def answer_deferred(
    interaction_id: int,
    *,
    work: Callable[[Interaction], None],
    send: Callable[[Interaction, Body], None],
) -> str:
    """Send the answer to a deferred interaction, if it is due; return a word for the
    log, such as "postponed".

    `work` carries out the interaction and stores the answer, or raises TryAgain. It is
    not called if an answer is stored already. `send` sends it, and raises NotAnswered
    and TryAgain.
    """
    interaction = Interaction.objects.claim(interaction_id)
    if interaction is None:
        return "not due"
    with traced(interaction.trace):
        if not Interaction.objects.filter(
            pk=interaction.pk, created_at__gt=Now() - _ANSWERABLE
        ).exists():
            return _close(interaction, TOO_LATE, error=TOO_LATE)
        try:
            if not interaction.answer:
                work(interaction)
            send(interaction, json.loads(interaction.answer))
        except TryAgain as later:
            seconds = (
                min(2.0**interaction.attempts, MAX_PAUSE)
                if later.seconds is None
                else later.seconds
            )
            interaction.postponed(seconds=seconds, error=str(later))
            return "postponed"
        except NotAnswered as error:
            return _close(interaction, "not answered", error=str(error))
        return _close(interaction, interaction.outcome)


@transaction.atomic
def _close(interaction: Interaction, outcome: str, *, error: str = "") -> str:
    """End the interaction and delete its token, options and answer, unless another
    worker has claimed it since. `error` says why it stays unanswered.
    """
    ended = (
        interaction.failed(error=error) if error else interaction.delivered(status=200)
    )
    if not ended:
        return "taken over"
    Interaction.objects.filter(pk=interaction.pk).update(
        token="", options="", answer=""
    )
    if error:
        log.warning(
            "interaction not answered",
            extra={
                "interaction": interaction.external_id,
                "what": interaction.name,
                "reason": error,
            },
        )
    return outcome
