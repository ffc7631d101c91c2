"""Subscriptions and the log of what was sent to them: what an admin key looks after."""

from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from gateway import hook_shapes, hooks, paging
from gateway.answers.accounts import PendingApproval
from gateway.answers.base import Changed, answer, documented
from gateway.answers.webhooks import Deliveries, DeliveryAnswer, WebhookAnswer, Webhooks, WebhookWithSecret
from gateway.auth import KeyedRequest, needs
from gateway.confirmations import confirmed
from gateway.errors import Invalid, NotFound
from gateway.lookups import check_unlimited, mailbox_named
from gateway.models import ApiKey, Mailbox, Webhook, WebhookDelivery
from gateway.models.accounts import Scope
from gateway.replay import replay_delivery
from gateway.schemas.webhooks import RotateIn, WebhookChange, WebhookIn

router = Router(tags=["webhooks"])


@router.get("/webhooks", auth=needs(Scope.ADMIN), response=documented(Webhooks))
def list_webhooks(request: KeyedRequest) -> HttpResponse:
    """List subscriptions, without their secrets."""
    shown = [hook_shapes.webhook(webhook) for webhook in Webhook.objects.visible_to(request.auth)]
    return answer({"webhooks": shown, "subscriptions": shown})


@router.post(
    "/webhooks", auth=needs(Scope.ADMIN), response=documented(WebhookWithSecret, status=201) | {202: PendingApproval}
)
def create_webhook(request: KeyedRequest, body: WebhookIn) -> HttpResponse:
    """Subscribe an address to events. The answer shows the signing secret."""
    mailbox = _mailbox(request.auth, body.mailbox_id)
    with _confirmed(request.auth, "create_webhook", body.act(), body.url, body.approval_code):
        webhook = hooks.add_webhook(
            key=request.auth,
            url=body.url,
            events=body.events,
            mailbox=mailbox,
            secret=body.secret,
            include_sandbox=body.include_sandbox,
        )
    return answer(hook_shapes.with_secret(webhook), status=201)


@router.get("/webhooks/{webhook_id}", auth=needs(Scope.ADMIN), response=documented(WebhookWithSecret))
def read_webhook(request: KeyedRequest, webhook_id: str) -> HttpResponse:
    """Read one subscription, with its secret."""
    return answer(hook_shapes.with_secret(_webhook_named(request.auth, webhook_id)))


@router.patch(
    "/webhooks/{webhook_id}", auth=needs(Scope.ADMIN), response=documented(WebhookAnswer) | {202: PendingApproval}
)
def change_webhook(request: KeyedRequest, webhook_id: str, body: WebhookChange) -> HttpResponse:
    """Move a subscription to another address, or change what it hears of. A paused one wakes when it is moved."""
    webhook = _webhook_named(request.auth, webhook_id)
    changes: dict[str, Any] = body.model_dump(include=body.model_fields_set - {"mailbox_id", "approval_code"})
    if "mailbox_id" in body.model_fields_set:
        changes["mailbox"] = _mailbox(request.auth, body.mailbox_id)
    with _confirmed(request.auth, "update_webhook", {"id": webhook.pk, **body.act()}, webhook.url, body.approval_code):
        changed = hooks.change_webhook(key=request.auth, webhook=webhook, changes=changes)
    return answer(hook_shapes.webhook(changed) | {"status": "updated"})


@router.delete("/webhooks/{webhook_id}", auth=needs(Scope.ADMIN), response=documented(Changed))
def delete_webhook(request: KeyedRequest, webhook_id: str) -> HttpResponse:
    """End a subscription."""
    webhook = _webhook_named(request.auth, webhook_id)
    hooks.end_webhook(key=request.auth, webhook=webhook, now=timezone.now())
    return answer({"id": webhook.pk, "status": "deleted"})


@router.post("/webhooks/{webhook_id}/rotate", auth=needs(Scope.ADMIN), response=documented(WebhookWithSecret))
def rotate_webhook(request: KeyedRequest, webhook_id: str, body: RotateIn) -> HttpResponse:
    """Change the signing secret.

    For `overlap_s` seconds (24 hours if not said, at most 7 days) `X-MultiMail-Signature` is still made with the old
    secret, and `X-MultiMail-Signature-Next` with the new one; then the new one takes its place.
    """
    webhook = hooks.rotate_secret(
        key=request.auth,
        webhook=_webhook_named(request.auth, webhook_id),
        secret=body.secret,
        overlap=timedelta(seconds=body.overlap_s),
        now=timezone.now(),
    )
    return answer(hook_shapes.with_secret(webhook))


@router.post("/webhooks/{webhook_id}/test", auth=needs(Scope.ADMIN), response=documented(DeliveryAnswer))
def test_webhook(request: KeyedRequest, webhook_id: str) -> HttpResponse:
    """Send one signed `webhook.test` event, which is about no message; a paused subscription wakes if it is taken."""
    webhook = _webhook_named(request.auth, webhook_id)
    delivery = hooks.test_webhook(key=request.auth, webhook=webhook, now=timezone.now())
    return answer(hook_shapes.delivery(delivery))


@router.get("/webhook-deliveries", auth=needs(Scope.ADMIN), response=documented(Deliveries))
def list_deliveries(
    request: KeyedRequest,
    webhook_id: str = "",
    status: str = "",
    email_id: str = "",
    limit: str = "",
    cursor: str = "",
) -> HttpResponse:
    """List events on their way and behind it, newest first. `status` is pending, delivered or failed."""
    rows = WebhookDelivery.objects.visible_to(request.auth)
    rows = rows.matching(webhook_id=webhook_id, states=_states(status), email_id=email_id)
    if before := paging.read_cursor(cursor):
        rows = rows.filter(pk__lt=paging.as_number(before))
    size = paging.clamp(limit, default=50, most=100)
    page, following = paging.cut(list(rows[: size + 1]), size)
    return answer({"deliveries": [hook_shapes.delivery(delivery) for delivery in page], "cursor": following})


@router.post("/webhook-deliveries/{delivery_id}/replay", auth=needs(Scope.ADMIN), response=documented(DeliveryAnswer))
def replay(request: KeyedRequest, delivery_id: str) -> HttpResponse:
    """Send a finished delivery again: the same bytes, with the same `event_id`. 409 while it is on its way."""
    known = delivery_id.isdecimal() and delivery_id.isascii() and len(delivery_id) <= 18
    rows = WebhookDelivery.objects.visible_to(request.auth)
    delivery = rows.filter(pk=int(delivery_id)).first() if known else None
    if delivery is None:
        raise NotFound("There is no such delivery in this account.")
    return answer(hook_shapes.delivery(replay_delivery(key=request.auth, delivery=delivery)))


def _confirmed(
    key: ApiKey, action: str, what: dict[str, Any], url: str, code: str | None
) -> AbstractContextManager[None]:
    """Ask for a code where the operator wants one before events go anywhere."""
    url = what.get("url") or url
    return confirmed(key=key, action=action, what=what, summary=f"Send events to {url}", code=code, now=timezone.now())


def _webhook_named(key: ApiKey, webhook_id: str) -> Webhook:
    webhook = Webhook.objects.visible_to(key).filter(pk=webhook_id).first()
    if webhook is None:
        raise NotFound("There is no such webhook in this account.")
    return webhook


def _mailbox(key: ApiKey, name: str | None) -> Mailbox | None:
    """Return whose events a subscription is for; a limited key must say which of its mailboxes."""
    if name:
        return mailbox_named(key, name)
    check_unlimited(key)
    return None


def _states(word: str) -> tuple[str, ...]:
    if word and word not in hook_shapes.STATUS_WORDS:
        raise Invalid("status: must be pending, delivered or failed.", field="status")
    return hook_shapes.STATUS_WORDS.get(word, ())
