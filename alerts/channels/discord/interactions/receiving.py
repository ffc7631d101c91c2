"""Takes a signed interaction in once, and returns what to answer within Discord's three seconds.

A press is stored, judged and answered in one transaction: sent again, it finds its answer and decides nothing. What
would have to wait for others is put off: the row owes the answer then, and a worker judges it.
"""

import json
import logging
import time
from datetime import timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db import connection as database
from django.db.models.functions import Now

from alerts.channels.discord.commands import taking
from alerts.channels.discord.commands.suggesting import suggest
from alerts.channels.discord.interactions.answers import DEFERRED, PONG, Body, choices, private
from alerts.channels.discord.interactions.pressing import judge
from alerts.channels.discord.interactions.reading import AUTOCOMPLETE, PING, Received
from alerts.models import Interaction
from common.logs import trace_id
from common.nudge import nudge
from common.postgres.anew import atomic_anew

log = logging.getLogger(__name__)

TASK = "alerts.tasks.judge_press"
# So long it may wait for others' locks here, and for any answer of the database; of Discord's three seconds enough is
# left to put it off.
LOCK_MS, STATEMENT_MS = 800, 1200
# Discord waits three seconds, with the way there and back.
ANSWER_WITHIN = 2.5
_TOO_SLOW = ("55P03", "57014")
# What was signed is refused after five minutes, so nobody can ask for an answer that is older than this.
ANSWERS_KEPT = timedelta(minutes=20)
OTHER_APPLICATION = (
    "Nothing was done: the desk is set up for another Discord application. Whoever runs it sets DISCORD_APP_ID to this "
    "application's id."
)


class TooSlow(Exception):
    """So much time went by that Discord has told whoever asked that it failed. Then it must not happen after all."""


def receive(received: Received) -> Body:
    """Do what was asked, or take it over, and return the answer. Raises TooSlow."""
    until = time.monotonic() + ANSWER_WITHIN
    if received.type == PING:
        return PONG
    if received.type == AUTOCOMPLETE:
        return _suggest(received)
    if received.app_id != settings.DISCORD_APP_ID:
        # Its public key is ours, so only the id can be wrong: what is put off could never be answered.
        log.error("DISCORD_APP_ID is not the application that Discord signs for", extra={"signed_for": received.app_id})
        return private(OTHER_APPLICATION)
    if received.kind == Interaction.Kind.COMMAND:
        return _put_off(received, until)
    try:
        return _judge_now(received, until)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") not in _TOO_SLOW:
            raise
    return _put_off(received, until)


def _suggest(received: Received) -> Body:
    """Offer what could stand there; nothing where the database is slow, as people go on typing meanwhile."""
    option = json.loads(received.given)
    try:
        with transaction.atomic():
            _be_quick()
            return choices(
                suggest(
                    discord_id=received.user_id,
                    command=received.name,
                    option=option.get("name", ""),
                    typed=option.get("value", ""),
                )
            )
    except (OperationalError, InterfaceError):
        return choices([])


@atomic_anew
def _judge_now(received: Received, until: float) -> Body:
    _be_quick()
    interaction, is_new = _store(received, state=Interaction.State.DELIVERED, token="")
    if not is_new:
        return _answer_of(interaction)
    said = judge(interaction)
    body = said.body()
    interaction.outcome, interaction.options, interaction.answer = said.outcome, "", json.dumps(body)
    interaction.save(update_fields=["outcome", "options", "answer", "person", "message"])
    _check_in_time(until)
    return body


@atomic_anew
def _put_off(received: Received, until: float) -> Body:
    """Store it as owing its answer, and tell a worker; once, however often it comes."""
    _be_quick()
    interaction, is_new = _store(received, state=Interaction.State.DUE, token=received.token)
    if is_new and interaction.kind == Interaction.Kind.COMMAND:
        taking.take(interaction)
    elif is_new:
        nudge(TASK, interaction.pk)
    _check_in_time(until)
    return _answer_of(interaction)


def forget_answers() -> int:
    """Forget what presses were answered, once nobody can ask for it again; return how many that were."""
    old = Interaction.objects.filter(created_at__lt=Now() - ANSWERS_KEPT).exclude(answer="")
    return int(old.update(answer=""))


def _store(received: Received, *, state: str, token: str) -> tuple[Interaction, bool]:
    fields = {
        "kind": received.kind,
        "name": received.name or received.kind,
        "state": state,
        "discord_user_id": received.user_id,
        "discord_user": received.user,
        "discord_channel": received.channel,
        "discord_channel_id": received.channel_id,
        "discord_guild_id": received.guild_id,
        "options": received.given,
        "token": token,
        "trace": trace_id.get(),
    }
    stored, is_new = Interaction.objects.get_or_create(discord_id=received.discord_id, defaults=fields)
    return stored, is_new


def _answer_of(interaction: Interaction) -> Body:
    """Return what was answered before: put off is what has no answer yet, or was answered later."""
    body: Body = json.loads(interaction.answer) if interaction.answer and not interaction.attempts else DEFERRED
    return body


def _check_in_time(until: float) -> None:
    """Break the transaction off where its answer would come too late."""
    if time.monotonic() > until:
        raise TooSlow


def _be_quick() -> None:
    with database.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
        cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_MS}")
