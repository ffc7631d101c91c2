"""Receives what people press and type on Discord, which Discord sends as signed HTTP
requests, and answers each within Discord's three seconds.

Each interaction is stored, decided and answered in one transaction: if Discord sends it
again, it gets the same answer and decides nothing. If this would have to wait for locks,
the answer is deferred: Discord shows that the desk is thinking, and a worker sends the
answer later.
"""

import json
import logging
import re
import time
from typing import Annotated, ClassVar, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from pydantic import BeforeValidator, StringConstraints

from alerts import tasks
from alerts.channels.answers import after_error
from alerts.channels.discord.commands import COMMANDS
from alerts.channels.discord.replies import DEFERRED, PONG, private
from alerts.channels.interactions import (
    Name,
    Received,
    Text,
    at,
    carry_out,
    reading,
    store,
)
from alerts.channels.requests import Json
from alerts.channels.signed_requests import RequestRefused, signed_body
from alerts.models import Interaction
from common.bodies import json_answer
from common.postgres import (
    atomic_with_retry,
    is_away,
    limit_statements,
    limit_waits,
)
from common.unique_keys import unique_keys
from people.models import ChatService

log = logging.getLogger(__name__)

SIGNATURE = "X-Signature-Ed25519"
TIMESTAMP = "X-Signature-Timestamp"
_KEY = re.compile("[0-9a-fA-F]{64}")
# How long a press may wait for a lock, and one statement may take. After that enough of
# Discord's three seconds is left to defer the answer.
LOCK_MS = 800
STATEMENT_MS = 1200
# In seconds. Discord waits for three, which include the way there and back.
ANSWER_WITHIN = 2.5
# PostgreSQL's codes for a lock and a statement that took too long.
_TOO_SLOW = ("55P03", "57014")
DATABASE_AWAY = "The desk's database is not responding. Most likely nothing was done: try again in a moment."
OTHER_APPLICATION = (
    "Nothing was done: the desk is set up for another Discord application. Its operator must set DISCORD_APP_ID to "
    "this application's id."
)

# Discord's numbers for the types of interactions.
PING = 1
COMMAND = 2
FORM = 5
_KINDS = {
    COMMAND: Interaction.Kind.COMMAND,
    3: Interaction.Kind.PRESS,
    FORM: Interaction.Kind.FORM,
}
_Id = Annotated[str, StringConstraints(pattern="^[0-9]{1,20}$")]
_Command = Annotated[str, StringConstraints(max_length=40)]
_Options = Annotated[
    dict[str, Text],
    BeforeValidator(lambda rows: {row["name"]: row["value"] for row in rows}),
]


class _Received(Received):
    """An interaction other than a ping. In a server Discord sends the member, in a
    direct message the user; a field stands under a label, or in a row.
    """

    type: Literal[2, 3, 5]
    application_id: _Id
    external_id: _Id = at("id")
    token: Text
    command: _Command | None = at("data.name", default=None)
    typed: _Options = at("data.options", default={})
    custom_id: Name | None = at("data.custom_id", default=None)
    reason: Text | None = at(
        "data.components.0.component.value",
        "data.components.0.components.0.value",
        default=None,
    )
    card: _Id | None = at("message.id", default=None)
    user_id: _Id = at("member.user.id", "user.id")
    user_name: Name | None = at("member.user.username", "user.username", default=None)
    channel_id: _Id | None = None
    channel_name: Name | None = at("channel.name", default=None)
    server_id: _Id | None = at("guild_id", default=None)

    service: ClassVar[str] = ChatService.DISCORD

    @property
    def kind(self) -> str:
        return _KINDS[self.type]

    @property
    def name(self) -> str:
        return self.command or self.kind

    def columns(self) -> dict[str, str]:
        needed = {COMMAND: self.command, FORM: self.reason}
        if needed.get(self.type, self.custom_id) is None:
            raise ValueError("no command, no button or no reason")
        return super().columns()


class TooSlow(Exception):
    """The answer would come too late: Discord has shown the person a failure by then.
    The transaction must be rolled back.
    """


@login_not_required
@csrf_exempt
@require_POST
def interactions(request: HttpRequest) -> HttpResponse:
    """Receive one interaction, and answer as Discord documents it. Nothing of an
    unsigned request is stored.
    """
    until = time.monotonic() + ANSWER_WITHIN
    try:
        if not settings.DISCORD_PUBLIC_KEY:
            raise RequestRefused(404, "No Discord application is set up for this desk.")
        if not _KEY.fullmatch(settings.DISCORD_PUBLIC_KEY):
            log.error("DISCORD_PUBLIC_KEY is no Ed25519 key")
            sentence = "The public key of the Discord application is set up wrongly at this desk."
            raise RequestRefused(503, sentence)
        body = signed_body(request, "Discord", SIGNATURE, TIMESTAMP, _is_ours)
        with reading():
            content = json.loads(body, object_pairs_hook=unique_keys)
            if content["type"] == PING:
                return json_answer(200, PONG)
            received = _Received.model_validate(content)
            columns = received.columns()
    except RequestRefused as refused:
        return refused.answer()
    # After an error the response is a valid answer too: of any other response, Discord
    # does not show the text.
    try:
        answer = _answer(received.application_id, columns, until)
    except Exception as error:
        if isinstance(error, TooSlow) or is_away(error):
            log.error("interaction not taken", extra={"reason": type(error).__name__})
            answer = private(DATABASE_AWAY)
        else:
            log.exception("interaction not taken")
            answer = private(after_error())
    return json_answer(200, answer)


urlpatterns = [path("discord/interactions/", interactions, name="discord-interactions")]


def _is_ours(signature: str, timestamp: str, body: bytes) -> bool:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(settings.DISCORD_PUBLIC_KEY))
    try:
        key.verify(bytes.fromhex(signature), timestamp.encode() + body)
    except (InvalidSignature, ValueError):
        return False
    return True


def _answer(application: str, columns: dict[str, str], until: float) -> Json:
    """Carry out an interaction, or leave it to a worker, and return the answer. Raises
    TooSlow.
    """
    if application != settings.DISCORD_APP_ID:
        # The signature matched, so DISCORD_APP_ID must be wrong. With a wrong id no
        # deferred interaction could be answered.
        log.error(
            "DISCORD_APP_ID is not the application that Discord signs for",
            extra={"signed_for": application},
        )
        return private(OTHER_APPLICATION)
    try:
        # These call MultiMail, which no answer within three seconds can wait for.
        if columns["name"] not in COMMANDS:
            return _store_and_answer(columns, until, is_deferred=False)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") not in _TOO_SLOW:
            raise
    return _store_and_answer(columns, until, is_deferred=True)


@atomic_with_retry
def _store_and_answer(
    columns: dict[str, str], until: float, *, is_deferred: bool
) -> Json:
    """Store an interaction, and carry it out now or have a worker do it; once, however
    often Discord sends it. Return the answer.

    Raises TooSlow, which rolls it back, if the answer is not ready at `until`.
    """
    # A statement that takes longer ends with an error of PostgreSQL.
    limit_waits(LOCK_MS)
    limit_statements(STATEMENT_MS)
    if not is_deferred:
        # It is answered in this response, so the token for a later answer is not kept.
        columns = columns | {"state": Interaction.State.DELIVERED, "token": ""}
    interaction, is_new = store(columns)
    if is_new and is_deferred:
        tasks.answer_interaction.delay_on_commit(interaction.pk)
    elif is_new:
        carry_out(interaction)
    if time.monotonic() > until:
        raise TooSlow
    # If it was deferred the first time, a repeated request gets the same response.
    if interaction.attempts or not interaction.answer:
        return DEFERRED
    body: Json = json.loads(interaction.answer)
    return body
