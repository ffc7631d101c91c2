"""The desk's answers to interactions on Discord: their format, sentences that several
share, and how the answer to a deferred interaction is sent.

A deferred answer is stored before it is sent. If the worker dies in between, the next
one only sends the stored answer, and does not repeat the work.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from alerts.cards.markup import cut
from alerts.models import Interaction
from alerts.tasks import answer_interaction
from approvals.decisions.forms import MAX_REASON
from common.actors import Actor
from common.exchange import seconds_asked
from common.logs import traced
from outgoing.guarded import Answer, DeliveryError, request
from people.accounts.discord import offer_link
from people.models import Person

log = logging.getLogger(__name__)

Body = dict[str, Any]
# In UTF-16 units: the longest message that Discord accepts.
MAX_CONTENT = 2000
# The field of the form that asks why a message is rejected.
REASON = "reason"
# Discord's numbers: types of responses, a flag, and kinds of components.
_PONG = 1
_MESSAGE = 4
_DEFERRED = 5
_CHOICES = 8
_FORM = 9
_EPHEMERAL = 64
_LABEL = 18
_TEXT_INPUT = 4
_PARAGRAPH = 2

PONG: Body = {"type": _PONG}
# Until the answer replaces it, Discord shows the person, and nobody else, that the desk
# is thinking.
DEFERRED: Body = {"type": _DEFERRED, "data": {"flags": _EPHEMERAL}}
# What the person is told after an unexpected error. The log has the details.
FAULT = "The desk had an error; whoever runs it can find it in the log."
BROKEN = f"{FAULT} Nothing was done."
TOO_LATE = "too late"
# Discord accepts answers for 15 minutes; the last attempt must end before that.
_ANSWERABLE = timedelta(minutes=14)
# In seconds: the longest wait between two attempts, and after a 429 of Discord.
MAX_PAUSE = 60.0
_MAX_WAIT = 300.0
# How often the answer is tried again although Discord does not know its token: for some
# seconds it may not know those that it just gave.
MAX_UNKNOWN = 5

# How many refusals of one account the ledger gets within a minute, so that nobody fills
# it by pressing a button again and again. Every press is still answered.
MAX_REFUSALS = 5
LAST_REFUSAL = (
    "Further refusals of this Discord account within this minute are not recorded."
)
# Outcomes of interactions that were not refused.
_NO_REFUSALS = (
    "",
    "claim refused",
    "bad form",
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

    def body(self) -> Body:
        """Return the answer in Discord's format."""
        return reason_form(self.form) if self.form else private(self.content)


def choices(names: list[str]) -> Body:
    """Return suggestions for the option that somebody is filling in."""
    return {
        "type": _CHOICES,
        "data": {"choices": [{"name": name, "value": name} for name in names]},
    }


def private(content: str) -> Body:
    """Return the answer with this text, which only the person who pressed can see."""
    data = {
        "content": cut(content, MAX_CONTENT),
        "flags": _EPHEMERAL,
        "allowed_mentions": {"parse": []},
    }
    return {"type": _MESSAGE, "data": data}


def reason_form(custom_id: str) -> Body:
    """Return the form that asks why a message is rejected. Its id is the custom id of
    the button, which says which message and version it is about.
    """
    field = {
        "type": _TEXT_INPUT,
        "custom_id": REASON,
        "style": _PARAGRAPH,
        "min_length": 1,
        "max_length": MAX_REASON,
        "required": True,
    }
    label = {
        "type": _LABEL,
        "label": "Reason (sent to the agent)",
        "description": "Tell the agent what to do differently.",
        "component": field,
    }
    return {
        "type": _FORM,
        "data": {
            "custom_id": custom_id,
            "title": "Reject this message",
            "components": [label],
        },
    }


def link_instructions(interaction: Interaction) -> str:
    """Return how to link this Discord account to one at the desk. The text contains a
    secret link, so only the account's owner may see it.
    """
    link = offer_link(
        discord_id=interaction.discord_user_id, name=interaction.discord_user
    )
    is_command = interaction.kind == Interaction.Kind.COMMAND
    again = "give the command again" if is_command else "press again"
    return (
        "This Discord account is not linked to anyone at the desk, so nothing was done. [Link it to your account at "
        f"the desk](<{link}>): sign in and confirm that it is yours. The link works once, for 15 minutes. Then "
        f"{again}. You can find it later under Your account, Discord."
    )


def recorded_refusal(interaction: Interaction, reason: str) -> str | None:
    """Return the reason to record in the ledger for this refusal; None if MAX_REFUSALS
    of this account were recorded within the last minute.
    """
    recent = Interaction.objects.filter(
        discord_user_id=interaction.discord_user_id,
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
    """Return the person to whom the Discord account is linked, with their roles; None
    if there is none.
    """
    linked = Person.objects.filter(
        discord_accounts__discord_id=interaction.discord_user_id
    )
    return linked.prefetch_related("grants").first()


def stranger(interaction: Interaction) -> Actor:
    """Return an actor for a Discord account that is linked to nobody at the desk."""
    account = interaction.discord_user_id
    return Actor(
        kind="discord",
        id=account,
        label=interaction.discord_user or account,
        surface="discord",
    )


class NotAnswered(Exception):
    """Discord will never accept the answer."""


class TryAgain(Exception):
    """A temporary failure: trying again is safe. `seconds` is set if Discord or
    MultiMail asked to wait.
    """

    def __init__(self, sentence: str, *, seconds: float | None = None) -> None:
        super().__init__(sentence)
        self.seconds = seconds


def enqueue_due() -> None:
    """Enqueue the interactions whose worker died, or whose task was lost."""
    for key in due_interactions().values_list("pk", flat=True)[:400]:
        answer_interaction.delay_on_commit(key)


def due_interactions() -> QuerySet[Interaction]:
    """Return the interactions to answer now, those that are due longest first."""
    return Interaction.objects.due().order_by("next_attempt_at")


def answer_deferred(interaction_id: int, *, work: Callable[[Interaction], None]) -> str:
    """Send the answer to a deferred interaction, if it is due; return a word for the
    log, such as "postponed".

    `work` carries out the interaction and stores the answer, or raises TryAgain. It is
    not called if an answer is stored already.
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
            _edit_answer(interaction, json.loads(interaction.answer)["data"]["content"])
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
                "interaction": interaction.discord_id,
                "what": interaction.name,
                "reason": error,
            },
        )
    return outcome


def call_discord(method: str, path: str, content: Any, **headers: str) -> Answer:
    """Call Discord's API, and return the answer, whatever its status. Raises
    DeliveryError.
    """
    url = f"{settings.DISCORD_API_URL.rstrip('/')}/{path}"
    headers["Content-Type"] = "application/json"
    headers["User-Agent"] = f"DiscordBot ({settings.PUBLIC_URL}, 1)"
    return request(method, url, body=json.dumps(content).encode(), headers=headers)


def _edit_answer(interaction: Interaction, content: str) -> None:
    """Replace what Discord shows in place of the answer with `content`; doing it again
    changes nothing. Text from mail is escaped already, and nobody is mentioned.

    Raises NotAnswered and TryAgain. Neither contains the token.
    """
    if not interaction.token or not settings.DISCORD_APP_ID:
        raise NotAnswered(
            "The token for the answer has expired, or DISCORD_APP_ID is not set."
        )
    path = f"webhooks/{quote(settings.DISCORD_APP_ID, safe='')}/{quote(interaction.token, safe='')}/messages/@original"
    body = {"content": cut(content, MAX_CONTENT), "allowed_mentions": {"parse": []}}
    try:
        answer = call_discord("PATCH", path, body)
    except DeliveryError as error:
        raise (NotAnswered if error.refused else TryAgain)(
            "Discord could not be reached."
        ) from None
    if answer.status == 429:
        seconds = seconds_asked(answer.headers.get("Retry-After"))
        raise TryAgain(
            "Discord asked to wait.",
            seconds=None if seconds is None else min(seconds, _MAX_WAIT),
        )
    if not 200 <= answer.status < 300:
        is_early = answer.status == 404 and interaction.attempts < MAX_UNKNOWN
        is_final = 400 <= answer.status < 500 and not is_early
        raise (NotAnswered if is_final else TryAgain)(
            f"Discord answered {answer.status} to the answer."
        )
