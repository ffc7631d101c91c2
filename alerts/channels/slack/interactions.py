"""Receives what people press and type under cards in Slack, which Slack sends as signed
HTTP requests.

Each is stored once and acknowledged at once, because Slack waits three seconds. A
worker decides it and answers privately, at the address that Slack gives for that, or
opens the form that asks for a reason. Slack has no answer for a press in the response.
"""

import hmac
import json
import logging
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from alerts import tasks
from alerts.channels.answers import (
    REASON,
    REASON_HELP,
    REASON_LABEL,
    REASON_TITLE,
    Body,
    NotAnswered,
    Reply,
    TryAgain,
    answer_deferred,
)
from alerts.channels.base import DestinationGone, RetryLater
from alerts.channels.presses import judge_once
from alerts.channels.requests import is_allowed, retry_after, send
from alerts.channels.signed_requests import RequestRefused, is_stale, signed_body
from alerts.channels.slack.format import MARKUP, MAX_SECTION, OPEN, cut_entities
from alerts.channels.slack.web_api import HOSTS, call_api
from alerts.models import Destination, Interaction
from approvals.decisions.forms import MAX_REASON
from common.logs import trace_id
from common.unique_keys import unique_keys
from outgoing.guarded import TOTAL_TIMEOUT
from people.models import ChatService

log = logging.getLogger(__name__)

SIGNATURE = "X-Slack-Signature"
TIMESTAMP = "X-Slack-Request-Timestamp"
_VERSION = "v0"
LATE = (
    "Nothing was decided: the form could not be opened in time. Press the button again."
)

# PostgreSQL cannot store a NUL.
_PATTERN = r"^[^\x00]*$"
_Text = Annotated[str, StringConstraints(max_length=4096, pattern=_PATTERN)]
_Id = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{1,30}$")]
_Stamp = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}\.[0-9]{1,10}$")]
_Trigger = Annotated[str, StringConstraints(pattern=r"^[0-9a-f.]{1,128}$")]
_CustomId = Annotated[str, StringConstraints(max_length=100, pattern=_PATTERN)]


class _Signed(BaseModel):
    """A part of an interaction, with the fields that the desk uses."""

    model_config = ConfigDict(strict=True)


class _User(_Signed):
    id: _Id
    username: _Text = ""
    team_id: _Id | None = None


class _Team(_Signed):
    id: _Id


class _Container(_Signed):
    message_ts: _Stamp
    channel_id: _Id


class _Channel(_Signed):
    name: _Text = ""


class _Action(_Signed):
    action_id: _Text
    value: _CustomId = ""


class _Input(_Signed):
    value: _Text | None = None


class _State(_Signed):
    values: dict[str, dict[str, _Input]]


class _View(_Signed):
    callback_id: _CustomId
    private_metadata: _Text
    state: _State


class _Interaction(_Signed):
    """What a press and a form have in common. `team` is missing where an organisation
    installed the app.
    """

    trigger_id: _Trigger
    user: _User
    team: _Team | None = None

    def columns(self) -> dict[str, str]:
        """Return the columns of the interaction's row."""
        server = self.team.id if self.team else self.user.team_id or ""
        return {
            "service": ChatService.SLACK,
            "external_id": self.trigger_id,
            "user_id": f"{server}:{self.user.id}",
            "user_name": self.user.username[:100],
            "server_id": server,
        }


class Press(_Interaction):
    """A press of a button under a card."""

    type: Literal["block_actions"]
    container: _Container
    channel: _Channel = _Channel()
    response_url: _Text
    actions: Annotated[list[_Action], Field(min_length=1)]

    def columns(self) -> dict[str, str]:
        pressed = {
            "custom_id": self.actions[0].value,
            "card": self.container.message_ts,
        }
        return {
            **super().columns(),
            "kind": Interaction.Kind.PRESS,
            "name": Interaction.Kind.PRESS,
            "channel_id": self.container.channel_id,
            "channel_name": self.channel.name[:100],
            "token": _answer_url(self.response_url),
            "options": json.dumps(pressed),
        }


class _Metadata(_Signed):
    """What a form brings back of the press that opened it."""

    url: _Text
    card: _Stamp
    channel: _Id


class FilledForm(_Interaction):
    """The form with the reason of a rejection."""

    type: Literal["view_submission"]
    view: _View

    def columns(self) -> dict[str, str]:
        view = self.view
        opened_by = _Metadata.model_validate_json(view.private_metadata)
        written = {
            "custom_id": view.callback_id,
            "card": opened_by.card,
            REASON: view.state.values[REASON][REASON].value or "",
        }
        return {
            **super().columns(),
            "kind": Interaction.Kind.FORM,
            "name": Interaction.Kind.FORM,
            "channel_id": opened_by.channel,
            "token": _answer_url(opened_by.url),
            "options": json.dumps(written),
        }


_KINDS: dict[str, type[Press] | type[FilledForm]] = {
    "block_actions": Press,
    "view_submission": FilledForm,
}


def _answer_url(url: str) -> str:
    """Return the address for the answer; raises ValueError if it is not Slack's."""
    parts = urlsplit(url)
    is_slack = parts.scheme == "https" and parts.hostname in HOSTS
    if not is_slack and not is_allowed(url):
        raise ValueError("the address for the answer is not Slack's")
    return url


@login_not_required
@csrf_exempt
@require_POST
def interactions(request: HttpRequest) -> HttpResponse:
    """Receive one interaction and acknowledge it. Nothing of an unsigned request is
    stored.
    """
    try:
        if not settings.SLACK_SIGNING_SECRET:
            raise RequestRefused(404, "No Slack app is set up for this desk.")
        body = signed_body(request, "Slack", partial(_signature_error, request))
        columns = _columns(body)
    except RequestRefused as refused:
        return refused.answer()
    if columns:
        try:
            _store(columns)
        except (OperationalError, InterfaceError) as error:
            # Slack shows the person that it did not work.
            log.error("interaction not taken", extra={"reason": type(error).__name__})
            return HttpResponse(status=503)
    return HttpResponse()


urlpatterns = [path("slack/interactions/", interactions, name="slack-interactions")]


def _signature_error(request: HttpRequest, body: bytes) -> str:
    """Return in a word why the signature is refused; empty if it is valid."""
    signature = request.headers.get(SIGNATURE, "")
    timestamp = request.headers.get(TIMESTAMP, "")
    if not signature or not timestamp:
        return "missing"
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 12:
        return "malformed"
    signed = f"{_VERSION}:{timestamp}:".encode() + body
    digest = hmac.digest(settings.SLACK_SIGNING_SECRET.encode(), signed, "sha256")
    expected = f"{_VERSION}={digest.hex()}".encode()
    if not hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
        return "forged"
    return "stale" if is_stale(timestamp) else ""


def _columns(body: bytes) -> dict[str, str]:
    """Return the columns of the interaction's row; none for the button Open, which needs
    nothing. Raises RequestRefused.
    """
    try:
        [payload] = parse_qs(body.decode(), strict_parsing=True)["payload"]
        content = json.loads(payload, object_pairs_hook=unique_keys)
        received = _KINDS[content["type"]].model_validate(content)
        if isinstance(received, Press) and received.actions[0].action_id == OPEN:
            return {}
        return received.columns()
    except (ValueError, LookupError, TypeError, RecursionError):
        raise RequestRefused(
            400, "This is signed, but it is no press and no form of a card."
        ) from None


@transaction.atomic
def _store(columns: dict[str, str]) -> None:
    # The same interaction that comes again is acknowledged, and not carried out twice.
    interaction, is_new = Interaction.objects.get_or_create(
        service=columns["service"],
        external_id=columns["external_id"],
        defaults={**columns, "trace": trace_id.get()},
    )
    if is_new:
        tasks.answer_interaction.delay_on_commit(interaction.pk)


def answer_interaction(*, interaction_id: int) -> str:
    """Decide a press or a form and send the answer to Slack, if this is due. Return a
    word for the log, such as "not due".
    """

    def work(interaction: Interaction) -> None:
        judge_once(interaction, MARKUP, partial(_body_of, interaction))

    return answer_deferred(interaction_id, work=work, send=_send_answer)


def _body_of(interaction: Interaction, reply: Reply) -> Body:
    """Return an answer in Slack's format: a text, or the form that asks for a reason."""
    if reply.form:
        return {"view": _reason_form(interaction, reply.form)}
    return {
        "text": cut_entities(reply.content, MAX_SECTION),
        "response_type": "ephemeral",
        "replace_original": False,
    }


def _reason_form(interaction: Interaction, custom_id: str) -> Body:
    """Return the form that asks why a message is rejected. It brings back the custom id
    of the button, and the card under which that was pressed.
    """
    opened_by = _Metadata(
        url=interaction.token,
        card=json.loads(interaction.options)["card"],
        channel=interaction.channel_id,
    )
    return {
        "type": "modal",
        "callback_id": custom_id,
        "private_metadata": opened_by.model_dump_json(),
        "title": _plain(REASON_TITLE),
        "submit": _plain("Reject"),
        "close": _plain("Cancel"),
        "blocks": [
            {
                "type": "input",
                "block_id": REASON,
                "label": _plain(REASON_LABEL),
                "hint": _plain(REASON_HELP),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON,
                    "multiline": True,
                    "min_length": 1,
                    "max_length": min(MAX_REASON, 3000),
                },
            }
        ],
    }


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _send_answer(interaction: Interaction, body: Body) -> None:
    """Send the answer. Raises NotAnswered and TryAgain; neither contains the address.

    A form that cannot be opened, mostly because Slack allows three seconds for that, is
    replaced by a text that asks to press again.
    """
    if "view" in body:
        if _opens(interaction, body["view"]):
            return
        body = _body_of(interaction, Reply("too late", LATE))
    try:
        answer = send(
            "POST", interaction.token, json.dumps(body).encode(), limit=TOTAL_TIMEOUT
        )
    except DestinationGone:
        raise NotAnswered("The desk may not call the address of the answer.") from None
    except RetryLater:
        raise TryAgain("Slack could not be reached.") from None
    if answer.status == 429:
        raise TryAgain("Slack asked to wait.", seconds=retry_after(answer))
    if answer.status >= 500:
        raise TryAgain(f"Slack answered {answer.status} to the answer.")
    if answer.status != 200:
        raise NotAnswered(f"Slack answered {answer.status} to the answer.")


def _opens(interaction: Interaction, view: Body) -> bool:
    """Open a form for the person who pressed; return whether Slack did."""
    bots = Destination.objects.not_removed().exclude(secret="")
    destination = bots.filter(kind="slack", channel=interaction.channel_id).first()
    if destination is None:
        return False
    content = {"trigger_id": interaction.external_id, "view": view}
    try:
        _, result = call_api(destination, "views.open", content, limit=TOTAL_TIMEOUT)
    except (DestinationGone, RetryLater):
        return False
    return result.get("ok") is True
