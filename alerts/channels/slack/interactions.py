"""Receives what people press and type under cards in Slack, which Slack sends as signed
HTTP requests.

Each is stored once and acknowledged at once, because Slack waits three seconds. A
worker decides it and answers privately, at the address that Slack gives for that, or
opens the form that asks for a reason. Slack has no answer for a press in the response.
"""

import hmac
import json
import logging
from typing import Annotated, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from pydantic import StringConstraints

from alerts import tasks
from alerts.channels.interactions import Name, Received, Text, at, reading, store
from alerts.channels.requests import is_allowed
from alerts.channels.signed_requests import RequestRefused, signed_body
from alerts.channels.slack.channel import HOSTS
from alerts.channels.slack.format import OPEN
from alerts.models import Interaction
from common.postgres import AWAY
from common.unique_keys import unique_keys
from people.models import ChatService

log = logging.getLogger(__name__)

SIGNATURE = "X-Slack-Signature"
TIMESTAMP = "X-Slack-Request-Timestamp"
_VERSION = "v0"
_KINDS = {
    "block_actions": Interaction.Kind.PRESS,
    "view_submission": Interaction.Kind.FORM,
}
_Id = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{1,30}$")]
_Stamp = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}\.[0-9]{1,10}$")]
_Trigger = Annotated[str, StringConstraints(pattern=r"^[0-9a-f.]{1,128}$")]


class _Received(Received):
    """A press of a button under a card, or the form with the reason of a rejection,
    which brings back what the press that opened it had. `team` is missing where an
    organisation installed the app.
    """

    type: Literal["block_actions", "view_submission"]
    external_id: _Trigger = at("trigger_id")
    user: _Id = at("user.id")
    user_name: Name | None = at("user.username", default=None)
    team: _Id | None = at("team.id", "user.team_id", default=None)
    channel_id: _Id = at("container.channel_id")
    card: _Stamp = at("container.message_ts")
    action: Text = at("view.callback_id", "actions.0.action_id")
    custom_id: Name | None = at("view.callback_id", "actions.0.value", default=None)
    reason: Text | None = at("view.state.values.reason.reason.value", default=None)
    # The address for the answer.
    token: Text = at("response_url")

    service: ClassVar[str] = ChatService.SLACK

    @property
    def user_id(self) -> str:
        return f"{self.team or ''}:{self.user}"

    @property
    def kind(self) -> str:
        return _KINDS[self.type]

    name = kind


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
        body = signed_body(request, "Slack", SIGNATURE, TIMESTAMP, _is_ours)
        with reading():
            received = _received(body)
    except RequestRefused as refused:
        return refused.answer()
    # The button Open needs nothing.
    if received.action != OPEN:
        try:
            with transaction.atomic():
                interaction, is_new = store(received.columns())
                if is_new:
                    tasks.answer_interaction.delay_on_commit(interaction.pk)
        except AWAY as error:
            # Slack shows the person that it did not work.
            log.error("interaction not taken", extra={"reason": type(error).__name__})
            return HttpResponse(status=503)
    return HttpResponse()


urlpatterns = [path("slack/interactions/", interactions, name="slack-interactions")]


def _is_ours(signature: str, timestamp: str, body: bytes) -> bool:
    signed = f"{_VERSION}:{timestamp}:".encode() + body
    digest = hmac.digest(settings.SLACK_SIGNING_SECRET.encode(), signed, "sha256")
    expected = f"{_VERSION}={digest.hex()}".encode()
    return hmac.compare_digest(expected, signature.encode("utf-8", "replace"))


def _received(body: bytes) -> _Received:
    """Return what Slack sent. Raises ValueError and others if it is nothing of a card,
    or its answer would not go to Slack.
    """
    [payload] = parse_qs(body.decode(), strict_parsing=True)["payload"]
    content = json.loads(payload, object_pairs_hook=unique_keys)
    if content["type"] == "view_submission":
        opened_by = json.loads(content["view"]["private_metadata"])
        content |= {name: opened_by[name] for name in ("container", "response_url")}
    received = _Received.model_validate(content)
    parts = urlsplit(received.token)
    is_slack = parts.scheme == "https" and parts.hostname in HOSTS
    if not is_slack and not is_allowed(received.token):
        raise ValueError("the address for the answer is not Slack's")
    return received
