"""Receives a signed interaction once, and returns the answer within Discord's three
seconds.

A press is stored, judged and answered in one transaction: sent again, it finds its
answer and decides nothing. What would have to wait for locks is deferred: the answer is
due then, and a worker judges the press.
"""

import json
import logging
import time
from datetime import timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from alerts.channels.discord.commands.command import suggest
from alerts.channels.discord.interactions.requests import AUTOCOMPLETE, PING, Received
from alerts.channels.discord.interactions.verdicts import judge
from alerts.channels.discord.replies import (
    BROKEN,
    DEFERRED,
    PONG,
    TASKS,
    Body,
    Reply,
    answer_deferred,
    choices,
    private,
)
from alerts.models import Interaction
from common.logs import trace_id
from common.postgres import limit_statements, limit_waits
from common.postgres.retry import atomic_with_retry, retry_transaction

log = logging.getLogger(__name__)

# So long it may wait for a lock and for any statement; enough of Discord's three
# seconds is left to defer it.
LOCK_MS = 800
STATEMENT_MS = 1200
# Discord waits three seconds, with the way there and back.
ANSWER_WITHIN = 2.5
_TOO_SLOW = ("55P03", "57014")
# What was signed is refused after five minutes, so nobody can ask for an answer that is
# older than this.
ANSWERS_STORED = timedelta(minutes=20)
OTHER_APPLICATION = (
    "Nothing was done: the desk is set up for another Discord application. Whoever runs it must set DISCORD_APP_ID to "
    "this application's id."
)

TRY_AGAIN = "The message was busy. Nothing was decided: press again."


class TooSlow(Exception):
    """It took so long that Discord has shown a failure, so the transaction must be
    rolled back.
    """


def receive(received: Received) -> Body:
    """Do what was asked, or take it over, and return the answer. Raises TooSlow."""
    until = time.monotonic() + ANSWER_WITHIN
    if received.type == PING:
        return PONG
    if received.type == AUTOCOMPLETE:
        option = json.loads(received.columns["options"])
        try:
            with transaction.atomic():
                _be_quick()
                found = suggest(
                    discord_id=received.columns["discord_user_id"],
                    command=received.columns["name"],
                    option=option.get("name", ""),
                    typed=option.get("value", ""),
                )
        except (OperationalError, InterfaceError):
            # People go on typing meanwhile.
            found = []
        return choices(found)
    if received.app_id != settings.DISCORD_APP_ID:
        # Its public key is ours, so only the id can be wrong: what is put off could
        # never be answered.
        log.error(
            "DISCORD_APP_ID is not the application that Discord signs for",
            extra={"signed_for": received.app_id},
        )
        return private(OTHER_APPLICATION)
    if received.columns["kind"] == Interaction.Kind.COMMAND:
        return _defer(received, until)
    try:
        return _judge_now(received, until)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") not in _TOO_SLOW:
            raise
    return _defer(received, until)


@atomic_with_retry
def _judge_now(received: Received, until: float) -> Body:
    _be_quick()
    # It is answered at once, without a token.
    interaction, is_new = _store(received, state=Interaction.State.DELIVERED, token="")
    if not is_new:
        return _answer_of(interaction)
    reply = judge(interaction)
    _store_reply(interaction, reply)
    _check_in_time(until)
    return reply.body()


@atomic_with_retry
def _defer(received: Received, until: float) -> Body:
    """Store it without an answer, and enqueue a task; once, however often it comes."""
    _be_quick()
    interaction, is_new = _store(received)
    if is_new:
        TASKS[interaction.kind].delay_on_commit(interaction.pk)
    _check_in_time(until)
    return _answer_of(interaction)


def judge_press(*, interaction_id: int) -> str:
    """Judge and answer one press that was deferred, if it is due, and return what came
    of that.
    """
    kinds = (Interaction.Kind.PRESS, Interaction.Kind.FORM)
    return answer_deferred(
        interaction_id,
        kinds=kinds,
        work=lambda row: retry_transaction(lambda: _judge_once(row)),
    )


def forget_answers() -> int:
    """Forget what presses were answered, once nobody can ask for it again; return how
    many that were.
    """
    return int(old_answers().update(answer=""))


def old_answers() -> QuerySet[Interaction]:
    """Return the interactions whose answers nobody can ask for any more
    (interaction_answered).
    """
    return Interaction.objects.filter(created_at__lt=Now() - ANSWERS_STORED).exclude(
        answer=""
    )


@transaction.atomic
def _judge_once(interaction: Interaction) -> None:
    # Another worker that claimed it meanwhile waits here, and finds the answer.
    locked = Interaction.objects.select_for_update().get(pk=interaction.pk)
    if not locked.answer:
        try:
            with transaction.atomic():
                reply = judge(locked)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            # Another try would fail in the same way, and a person is waiting.
            log.exception("press not judged", extra={"interaction": locked.discord_id})
            reply = Reply("fault", BROKEN)
        # No form can come late.
        _store_reply(locked, Reply("too late", TRY_AGAIN) if reply.form else reply)
    interaction.outcome = locked.outcome
    interaction.answer = locked.answer


def _store_reply(interaction: Interaction, reply: Reply) -> None:
    interaction.outcome = reply.outcome
    interaction.options = ""
    interaction.answer = json.dumps(reply.body())
    interaction.save(
        update_fields=["outcome", "options", "answer", "person", "message"]
    )


def _store(received: Received, **changed: str) -> tuple[Interaction, bool]:
    columns = {**received.columns, "trace": trace_id.get(), **changed}
    stored: tuple[Interaction, bool] = Interaction.objects.get_or_create(
        discord_id=received.discord_id, defaults=columns
    )
    return stored


def _answer_of(interaction: Interaction) -> Body:
    """Return what was answered before: put off is what has no answer yet, or was
    answered later.
    """
    if interaction.attempts or not interaction.answer:
        return DEFERRED
    body: Body = json.loads(interaction.answer)
    return body


def _check_in_time(until: float) -> None:
    """Roll the transaction back where its answer would come too late."""
    if time.monotonic() > until:
        raise TooSlow


def _be_quick() -> None:
    limit_waits(LOCK_MS)
    limit_statements(STATEMENT_MS)
