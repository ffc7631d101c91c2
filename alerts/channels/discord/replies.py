"""What Discord answers to an interaction: its form, the words that several share, and
how a deferred one is sent.

An answer is stored before it is sent to Discord, so that a worker that dies in between
repeats nothing.
"""

import json
import logging
import re
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
from common.logs import traced
from outgoing.guarded import Answer, DeliveryError, request
from people.accounts.discord import offer_link

log = logging.getLogger(__name__)

Body = dict[str, Any]
MAX_CONTENT = 2000
# The field of the form that asks why a message is rejected.
REASON = "reason"
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
# Discord shows that the desk is thinking, to whoever asked alone, until the answer is
# put there.
DEFERRED: Body = {"type": _DEFERRED, "data": {"flags": _EPHEMERAL}}
# For an error of the desk's own; the log has the details.
FAULT = "The desk had an error; whoever runs it can find it in the log."
BROKEN = f"{FAULT} Nothing was done."
TOO_LATE = "too late"
# Discord accepts answers for 15 minutes; the last attempt must end before that.
_ANSWERABLE = timedelta(minutes=14)
MAX_PAUSE = 60.0
_MAX_WAIT = 300.0
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")

# So many refusals of one account are recorded in any minute, so that nobody fills the
# ledger by hammering a button. Each is still answered.
MAX_REFUSALS = 5
LAST_REFUSAL = (
    "Further refusals of this Discord account within this minute are not recorded."
)
_NO_REFUSALS = (
    "",
    "approve",
    "reject",
    "claim",
    "asked why",
    "given",
    "calling",
    "done",
)


@dataclass(frozen=True)
class Reply:
    """How a press ended, in a word, and the answer: a sentence, or the form that asks
    for more.
    """

    outcome: str
    content: str = ""
    form: str = ""

    def body(self) -> Body:
        """Return the answer in Discord's form."""
        return reason_form(self.form) if self.form else private(self.content)


def choices(names: list[str]) -> Body:
    """Return suggestions for the option that somebody is filling in."""
    return {
        "type": _CHOICES,
        "data": {"choices": [{"name": name, "value": name} for name in names]},
    }


def private(content: str) -> Body:
    """Return a message that only whoever pressed sees."""
    data = {
        "content": cut(content, MAX_CONTENT),
        "flags": _EPHEMERAL,
        "allowed_mentions": {"parse": []},
    }
    return {"type": _MESSAGE, "data": data}


def reason_form(custom_id: str) -> Body:
    """Return the form that asks why a message is rejected; its id says which message
    and version it is about.
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
    """Return how to link this Discord account to one of the desk, with a link that only
    its owner may be shown.
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
    """Return what the ledger keeps of this refusal, or None where it has enough of this
    account for now.
    """
    account = Interaction.objects.filter(
        discord_user_id=interaction.discord_user_id,
        created_at__gt=Now() - timedelta(minutes=1),
    )
    number = (
        account.exclude(pk=interaction.pk).exclude(outcome__in=_NO_REFUSALS).count()
    )
    if number >= MAX_REFUSALS:
        return None
    return reason if number < MAX_REFUSALS - 1 else f"{reason} {LAST_REFUSAL}"


def stranger(interaction: Interaction) -> Actor:
    """Return the actor for a Discord account that belongs to nobody at the desk."""
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
    """A temporary failure; trying again is safe. `seconds` is set where the other side
    asked to wait.
    """

    def __init__(self, sentence: str, *, seconds: float | None = None) -> None:
        super().__init__(sentence)
        self.seconds = seconds


def enqueue_due() -> None:
    """Enqueue the interactions of workers that died, or whose task was lost."""
    for key in due_interactions().values_list("pk", flat=True)[:400]:
        answer_interaction.delay_on_commit(key)


def due_interactions() -> QuerySet[Interaction]:
    """Return the interactions to answer now, longest due first."""
    return Interaction.objects.due().order_by("next_attempt_at")


def answer_deferred(interaction_id: int, *, work: Callable[[Interaction], None]) -> str:
    """Answer an interaction, if it is due, and return what came of that; `work` stores
    the answer or raises TryAgain.

    Work is done once: what has an answer already is only answered.
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
    """Close the row and forget what it needed, unless another worker has it by now.
    `error`: why it is unanswered.
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
        extra = {
            "interaction": interaction.discord_id,
            "what": interaction.name,
            "reason": error,
        }
        log.warning("interaction not answered", extra=extra)
    return outcome


def call_discord(method: str, path: str, content: Any, **headers: str) -> Answer:
    """Call Discord's API, and return its answer. Raises DeliveryError."""
    url = f"{settings.DISCORD_API_URL.rstrip('/')}/{path}"
    headers["Content-Type"] = "application/json"
    headers["User-Agent"] = f"DiscordBot ({settings.PUBLIC_URL}, 1)"
    return request(method, url, body=json.dumps(content).encode(), headers=headers)


def _edit_answer(interaction: Interaction, content: str) -> None:
    """Put `content` where Discord shows that the desk is thinking; to do it again
    changes nothing.

    Raises NotAnswered and TryAgain.

    What comes from mail is escaped by now; nobody is pinged either way. No error
    contains the token.
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
        value = str(answer.headers.get("Retry-After", ""))
        seconds = min(float(value), _MAX_WAIT) if _NUMBER.fullmatch(value) else None
        raise TryAgain("Discord asked to wait.", seconds=seconds)
    if not 200 <= answer.status < 300:
        failure = NotAnswered if 400 <= answer.status < 500 else TryAgain
        raise failure(f"Discord answered {answer.status} to the answer.")
