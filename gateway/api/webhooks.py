"""Routes of webhook subscriptions, their secrets, and the log of deliveries. Only
WebhookWithSecret shows secrets.
"""

from datetime import timedelta
from typing import Annotated

from annotated_types import Len
from django.http import JsonResponse
from ninja import Query, Router
from pydantic import AliasPath, BeforeValidator, Field

from common.unique_keys import Json
from gateway.api.answers import (
    ROW_NUMBER,
    Answer,
    Changed,
    Iso,
    LongPageFilters,
    Page,
    PageFilters,
    PendingApproval,
    TextOrNone,
    clamp,
    page_of,
)
from gateway.api.bodies import Body, Confirmable, Line, MailboxName, example
from gateway.auth import ADMIN, KeyedRequest
from gateway.errors import Invalid
from gateway.lookups import check_unlimited, first_or_404, mailbox_named
from gateway.models import Webhook, WebhookDelivery
from gateway.timestamps import iso
from gateway.webhooks import subscriptions
from outgoing.models import Delivery

# The statuses that the API shows, and the states of a delivery that each means.
STATUS_WORDS = {
    "pending": (Delivery.State.DUE, Delivery.State.SENDING),
    "delivered": (Delivery.State.DELIVERED,),
    "failed": (Delivery.State.FAILED,),
}
_WORD_OF = {state: word for word, states in STATUS_WORDS.items() for state in states}


_Url = Annotated[Line, Len(1, 2000)]
_Events = Annotated[list[str], Len(1, 40)]
_Secret = Annotated[str, Len(8, 200)]


class WebhookIn(Confirmable):
    """A subscription to make."""

    model_config = example(
        {"url": "https://example.com/hook", "events": ["oversight.pending"]}
    )

    url: _Url
    events: _Events
    mailbox_id: MailboxName | None = None
    secret: _Secret | None = None
    # Whether a live key's subscription gets events of sandbox mail too. A sandbox key's
    # subscription gets only those.
    include_sandbox: bool = True


# In seconds.
_DAY = 24 * 3600


class RotateIn(Body):
    """How many seconds the old secret goes on signing beside the new one (0 ends it at
    once), and the new one, if the caller chooses it.
    """

    model_config = example({"overlap_s": 3600})

    overlap_s: Annotated[int, clamp(0, 7 * _DAY, _DAY)] = _DAY
    secret: _Secret | None = None


class WebhookAnswer(Answer):
    """One subscription."""

    id: str
    url: str
    events: list[str]
    mailbox_id: str | None
    sandbox: bool
    include_sandbox: bool
    created_at: Iso
    is_active: bool
    paused_at: Iso | None
    last_error: TextOrNone
    failures: int


class WebhookWithSecret(WebhookAnswer):
    """One subscription with its newest signing secret. Until `previous_secret_until`,
    events are signed with the previous secret too.
    """

    signing_secret: str = Field(validation_alias="secret")
    secret: str
    previous_secret_until: Iso | None = Field(validation_alias="previous_until")


class Webhooks(Page):
    """A page of the subscriptions that the key may see, under two names."""

    webhooks: list[WebhookAnswer]
    subscriptions: list[WebhookAnswer]


class Attempt(Answer):
    """How one attempt to deliver an event went."""

    at: str
    response_status: int | None
    error: str | None
    milliseconds: int


class DeliveryAnswer(Answer):
    """One event on its way to one subscription, with its newest attempts."""

    id: Annotated[str, BeforeValidator(str)]
    webhook_id: str
    event_id: str
    event_type: str = Field(validation_alias="event")
    email_id: str | None
    url: str = Field(validation_alias=AliasPath("webhook", "url"))
    status: Annotated[str, BeforeValidator(lambda state: _WORD_OF[state])] = Field(
        validation_alias="state"
    )
    attempts: int
    attempt_log: list[Attempt] = Field(validation_alias="history")
    response_status: int | None
    last_error: TextOrNone
    created_at: Iso
    last_attempt_at: Iso | None


class Deliveries(Page):
    """A page of the delivery log."""

    deliveries: list[DeliveryAnswer]


def delivery_json(row: WebhookDelivery) -> Json:
    """Return a delivery with how its newest attempts went."""
    may_be_tried = row.state == Delivery.State.DUE and not row.webhook.paused_at
    return DeliveryAnswer.of(row) | {
        "sandbox": row.email.sandbox if row.email else False,
        "next_attempt_at": iso(row.next_attempt_at) if may_be_tried else None,
    }


router = Router(tags=["webhooks"], auth=ADMIN)


@router.get("/webhooks", response=Webhooks)
def list_webhooks(request: KeyedRequest, filters: Query[LongPageFilters]) -> Json:
    """List subscriptions, oldest first, without their secrets."""
    rows = Webhook.objects.visible_to(request.auth)
    page = page_of(rows, "webhooks", WebhookAnswer.of, filters, oldest_first=True)
    return page | {"subscriptions": page["webhooks"]}


@router.post("/webhooks", response={201: WebhookWithSecret, 202: PendingApproval})
def create_webhook(request: KeyedRequest, body: WebhookIn) -> JsonResponse:
    """Subscribe an address to events. The answer shows the signing secret."""
    key = request.auth
    mailbox = None
    if body.mailbox_id:
        mailbox = mailbox_named(key, body.mailbox_id)
    else:
        check_unlimited(key)
    # Without the path: many receivers, such as Discord, have a secret in it, and the
    # summary is mailed.
    origin = "/".join(body.url.partition("?")[0].split("/", 3)[:3])
    with body.confirmed(key, "create_webhook", f"Send events to {origin}"):
        webhook = subscriptions.add_webhook(
            key,
            Webhook(
                url=body.url,
                events=body.events,
                mailbox=mailbox,
                secret=body.secret or "",
                include_sandbox=body.include_sandbox,
            ),
        )
    return JsonResponse(WebhookWithSecret.of(webhook), status=201)


@router.get("/webhooks/{webhook_id}", response=WebhookWithSecret)
def read_webhook(request: KeyedRequest, webhook_id: str) -> Json:
    """Read one subscription, with its secret."""
    return WebhookWithSecret.of(_webhook_named(request, webhook_id))


@router.delete("/webhooks/{webhook_id}", response=Changed)
def delete_webhook(request: KeyedRequest, webhook_id: str) -> Json:
    """End a subscription."""
    webhook = _webhook_named(request, webhook_id)
    subscriptions.delete_webhook(request.auth, webhook)
    return {"id": webhook.pk, "status": "deleted"}


@router.post("/webhooks/{webhook_id}/rotate", response=WebhookWithSecret)
def rotate_webhook(request: KeyedRequest, webhook_id: str, body: RotateIn) -> Json:
    """Change the signing secret.

    For `overlap_s` seconds (24 hours if not said, at most 7 days)
    `X-MultiMail-Signature` is still made with the old secret, and
    `X-MultiMail-Signature-Next` with the new one; then the new one takes its place.
    """
    webhook = subscriptions.rotate_secret(
        request.auth,
        _webhook_named(request, webhook_id),
        secret=body.secret,
        overlap=timedelta(seconds=body.overlap_s),
    )
    return WebhookWithSecret.of(webhook)


@router.post("/webhooks/{webhook_id}/test", response=DeliveryAnswer)
def test_webhook(request: KeyedRequest, webhook_id: str) -> Json:
    """Send one signed `webhook.test` event, which is about no message. A paused
    subscription is active again if the receiver takes the event.
    """
    webhook = _webhook_named(request, webhook_id)
    return delivery_json(subscriptions.test_webhook(request.auth, webhook))


class DeliveryFilters(PageFilters):
    """The parameters of the delivery log."""

    webhook_id: str = ""
    status: str = ""
    email_id: str = ""


@router.get("/webhook-deliveries", response=Deliveries)
def list_deliveries(request: KeyedRequest, filters: Query[DeliveryFilters]) -> Json:
    """List deliveries of events, newest first. `status` is pending, delivered or
    failed.
    """
    rows = WebhookDelivery.objects.visible_to(request.auth)
    if filters.status:
        if filters.status not in STATUS_WORDS:
            raise Invalid("status: must be pending, delivered or failed.")
        rows = rows.filter(state__in=STATUS_WORDS[filters.status])
    if filters.webhook_id:
        rows = rows.filter(webhook_id=filters.webhook_id)
    if filters.email_id:
        rows = rows.filter(email_id=filters.email_id)
    return page_of(rows, "deliveries", delivery_json, filters, numbered=True)


@router.post("/webhook-deliveries/{delivery_id}/replay", response=DeliveryAnswer)
def replay(request: KeyedRequest, delivery_id: str) -> Json:
    """Send a finished delivery again: the same bytes, with the same `event_id`. 409
    while it is on its way.
    """
    rows = WebhookDelivery.objects.visible_to(request.auth)
    is_id = ROW_NUMBER.fullmatch(delivery_id)
    delivery = first_or_404(
        rows.filter(pk=delivery_id) if is_id else rows.none(), "delivery"
    )
    return delivery_json(subscriptions.replay_delivery(request.auth, delivery))


def _webhook_named(request: KeyedRequest, webhook_id: str) -> Webhook:
    webhooks = Webhook.objects.visible_to(request.auth)
    return first_or_404(webhooks.filter(pk=webhook_id), "webhook")
