"""Receives what people press and type on Discord, which Discord sends as signed HTTP
requests, and answers each within Discord's three seconds.

Only the signature proves who sent a request, so it needs no session and no CSRF token.
It is checked before anything of the body is read. Each interaction is stored once. A
press of a button is decided and answered in the same transaction: if Discord sends it
again, it gets the same answer and decides nothing. If this would have to wait for
locks, and for every command, the answer is deferred: Discord shows that the desk is
thinking, and a worker sends the answer later.
"""

import json
import logging
import re
import time
from functools import partial
from typing import Annotated, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from alerts import tasks
from alerts.channels.answers import BROKEN, REASON, Body, answer_deferred, store_reply
from alerts.channels.discord.commands import suggest
from alerts.channels.discord.embeds import MARKDOWN
from alerts.channels.discord.replies import (
    DEFERRED,
    PONG,
    body_of,
    choices,
    edit_answer,
    private,
)
from alerts.channels.discord.run_command import run_command
from alerts.channels.presses import judge, judge_once
from alerts.channels.signed_requests import RequestRefused, is_stale, signed_body
from alerts.models import Interaction
from common.bodies import json_answer
from common.logs import trace_id
from common.postgres import (
    atomic_with_retry,
    limit_statements,
    limit_waits,
)
from common.unique_keys import DuplicateKey, unique_keys
from people.models import ChatService

log = logging.getLogger(__name__)

SIGNATURE = "X-Signature-Ed25519"
TIMESTAMP = "X-Signature-Timestamp"
_KEY = re.compile("[0-9a-fA-F]{64}")
_SIGNATURE = re.compile("[0-9a-fA-F]{128}")
_TIME = re.compile("[0-9]{1,12}", re.ASCII)
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
    "Nothing was done: the desk is set up for another Discord application. Whoever runs it must set DISCORD_APP_ID to "
    "this application's id."
)

# Discord's numbers for the types of interactions.
PING = 1
COMMAND = 2
COMPONENT = 3
AUTOCOMPLETE = 4
FORM = 5
_KINDS = {
    COMMAND: Interaction.Kind.COMMAND,
    COMPONENT: Interaction.Kind.PRESS,
    FORM: Interaction.Kind.FORM,
}
_NAME = 100
# PostgreSQL cannot store a NUL.
_PATTERN = r"^[^\x00]*$"
_Id = Annotated[str, StringConstraints(pattern="^[0-9]{1,20}$")]
_Name = Annotated[str, StringConstraints(max_length=_NAME, pattern=_PATTERN)]
_Text = Annotated[str, StringConstraints(max_length=4096, pattern=_PATTERN)]
# Discord does not accept a longer text for an option.
_Typed = Annotated[str, StringConstraints(max_length=6000, pattern=_PATTERN)]


class _Signed(BaseModel):
    """A part of an interaction, with the fields that the desk uses."""

    model_config = ConfigDict(strict=True)


class _Type(_Signed):
    type: int = Field(ge=PING, le=FORM)


class _User(_Signed):
    id: _Id
    username: _Text | None = None


class _Member(_Signed):
    user: _User


class _Channel(_Signed):
    name: _Text | None = None


class _Card(_Signed):
    id: _Id | None = None


class _Option(_Signed):
    """One option of a command. The desk's commands have only text options."""

    name: _Name
    value: _Typed | bool | int | float | None = None
    focused: bool | None = None


class _Field(_Signed):
    custom_id: _Text | None = None
    value: _Text | None = None


class _Row(_Signed):
    """A row of fields, or a label with its field."""

    components: list[_Field] | None = None
    component: _Field | None = None


class _Data(_Signed):
    name: Annotated[_Text, StringConstraints(max_length=40)] | None = None
    custom_id: _Name | None = None
    options: list[_Option] | None = None
    components: list[_Row] | None = None


class Received(_Type):
    """An interaction other than a ping: a command, a press or a form."""

    id: _Id
    application_id: _Id
    token: _Text
    data: _Data
    # In a server Discord sends the member, in a direct message the user.
    member: _Member | None = None
    user: _User | None = None
    channel: _Channel | None = None
    channel_id: _Id | None = None
    guild_id: _Id | None = None
    message: _Card | None = None


class NoInteraction(Exception):
    """The body is signed, but it is no interaction that Discord documents. It may have
    a sentence that says more.
    """


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
    if not settings.DISCORD_PUBLIC_KEY:
        return _refused(404, "No Discord application is set up for this desk.")
    if not _KEY.fullmatch(settings.DISCORD_PUBLIC_KEY):
        log.error("DISCORD_PUBLIC_KEY is no Ed25519 key")
        return _refused(
            503,
            "The public key of the Discord application is set up wrongly at this desk.",
        )
    try:
        body = signed_body(request, "Discord", partial(_signature_error, request))
    except RequestRefused as refused:
        return refused.answer()
    # After an error the response is a valid answer too: of any other response, Discord
    # does not show the text.
    try:
        answer = receive(body)
    except NoInteraction as error:
        sentence = (
            "This is signed, but it is not an interaction that Discord documents."
        )
        return _refused(400, f"{sentence} {error}".strip())
    except (OperationalError, InterfaceError, TooSlow) as error:
        log.error("interaction not taken", extra={"reason": type(error).__name__})
        answer = private(DATABASE_AWAY)
    except Exception:
        log.exception("interaction not taken")
        answer = private(BROKEN)
    return json_answer(200, answer)


urlpatterns = [path("discord/interactions/", interactions, name="discord-interactions")]


def _signature_error(request: HttpRequest, body: bytes) -> str:
    """Return in a word why the signature is refused; empty if it is valid."""
    signature = request.headers.get(SIGNATURE, "")
    timestamp = request.headers.get(TIMESTAMP, "")
    if not signature or not timestamp:
        return "missing"
    if not _SIGNATURE.fullmatch(signature) or not _TIME.fullmatch(timestamp):
        return "malformed"
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(settings.DISCORD_PUBLIC_KEY))
    try:
        key.verify(bytes.fromhex(signature), timestamp.encode() + body)
    except InvalidSignature:
        return "forged"
    # The time is checked after the signature, because an unsigned time proves nothing.
    return "stale" if is_stale(timestamp) else ""


def _refused(status: int, sentence: str) -> HttpResponse:
    return json_answer(status, {"error": sentence})


def receive(body: bytes) -> Body:
    """Carry out a signed interaction, or leave it to a worker, and return the answer.
    Raises NoInteraction and TooSlow.
    """
    until = time.monotonic() + ANSWER_WITHIN
    try:
        content = json.loads(body, object_pairs_hook=unique_keys)
        if _Type.model_validate(content).type == PING:
            return PONG
        received = Received.model_validate(content)
        columns = _columns(received)
    except DuplicateKey as error:
        raise NoInteraction(str(error)) from None
    except (ValueError, RecursionError):
        raise NoInteraction from None
    if received.type == AUTOCOMPLETE:
        return choices(_suggestions(received, columns))
    if received.application_id != settings.DISCORD_APP_ID:
        # The signature matched, so DISCORD_APP_ID must be wrong. With a wrong id no
        # deferred interaction could be answered.
        log.error(
            "DISCORD_APP_ID is not the application that Discord signs for",
            extra={"signed_for": received.application_id},
        )
        return private(OTHER_APPLICATION)
    if received.type != COMMAND:
        try:
            return _store_and_answer(received.id, columns, until, is_judged=True)
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", "") not in _TOO_SLOW:
                raise
    return _store_and_answer(received.id, columns, until, is_judged=False)


def _columns(received: Received) -> dict[str, str]:
    """Return the columns of the interaction's row. `options` is JSON: the options of a
    command; of a press or a form its custom id, the post's id, and the typed reason.
    Raises ValueError if something is missing.
    """
    data = received.data
    user = received.member.user if received.member else received.user
    channel = received.channel.name if received.channel else None
    kind = str(_KINDS.get(received.type, ""))
    options: list[dict[str, Any]] | dict[str, Any]
    if received.type in (COMMAND, AUTOCOMPLETE):
        name = data.name
        options = [
            {"name": one.name, "value": one.value}
            for one in data.options or []
            if isinstance(one.value, str)
        ]
    else:
        name = kind if data.custom_id is not None else None
        card = received.message.id if received.message else None
        options = {"custom_id": data.custom_id, "card": card or ""}
        if received.type == FORM:
            options[REASON] = _reason(data.components or [])
    if user is None or name is None:
        raise ValueError("no user, no command or no button")
    return {
        "kind": kind,
        "token": received.token,
        "name": name,
        "options": json.dumps(options),
        "user_id": user.id,
        "user_name": (user.username or "")[:_NAME],
        "channel_name": (channel or "")[:_NAME],
        "channel_id": received.channel_id or "",
        "server_id": received.guild_id or "",
    }


def _reason(rows: list[_Row]) -> str:
    """Return what was typed in the field of the reason, which stands in a row or under
    a label. Raises ValueError if there is no such field.
    """
    for row in rows:
        for field in [*(row.components or []), row.component]:
            if field and field.custom_id == REASON and field.value is not None:
                return field.value
    raise ValueError("no reason")


def _suggestions(received: Received, columns: dict[str, str]) -> list[str]:
    option = next((one for one in received.data.options or [] if one.focused), None)
    try:
        with transaction.atomic():
            _be_quick()
            return suggest(
                discord_id=columns["user_id"],
                command=columns["name"],
                option=option.name if option else "",
                typed=str(option.value or "") if option else "",
            )
    except (OperationalError, InterfaceError):
        # People go on typing meanwhile.
        return []


@atomic_with_retry
def _store_and_answer(
    discord_id: str, columns: dict[str, str], until: float, *, is_judged: bool
) -> Body:
    """Store an interaction, and decide it now (`is_judged`) or have a worker do it;
    once, however often Discord sends it. Return the answer.

    Raises TooSlow, which rolls it back, if the answer is not ready at `until`.
    """
    _be_quick()
    if is_judged:
        # It is answered in this response, so the token for a later answer is not kept.
        columns = columns | {"state": Interaction.State.DELIVERED, "token": ""}
    interaction, is_new = Interaction.objects.get_or_create(
        service=ChatService.DISCORD,
        external_id=discord_id,
        defaults={**columns, "trace": trace_id.get()},
    )
    if is_new and is_judged:
        reply = judge(interaction, MARKDOWN)
        store_reply(interaction, reply, body_of(reply))
    elif is_new:
        tasks.answer_interaction.delay_on_commit(interaction.pk)
    if time.monotonic() > until:
        raise TooSlow
    # If it was deferred the first time, a repeated request gets the same response.
    if interaction.attempts or not interaction.answer:
        return DEFERRED
    body: Body = json.loads(interaction.answer)
    return body


def answer_interaction(*, interaction_id: int) -> str:
    """Run a command, or decide a press that was deferred, and send the answer to
    Discord, if this is due. Return a word for the log, such as "not due".
    """

    def work(interaction: Interaction) -> None:
        if interaction.kind == Interaction.Kind.COMMAND:
            run_command(interaction)
        else:
            # Discord accepts a form only as the first response, not in a later answer.
            judge_once(interaction, MARKDOWN, body_of, may_ask=False)

    return answer_deferred(interaction_id, work=work, send=edit_answer)


def _be_quick() -> None:
    # A statement that takes longer ends with an error of PostgreSQL.
    limit_waits(LOCK_MS)
    limit_statements(STATEMENT_MS)
