"""Subscriptions, the delivery log, and the audit log: what an admin key looks after."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from courier.models import Delivery
from gateway import hooks, paging
from gateway.answers.base import Changed, answer, documented
from gateway.answers.webhooks import AuditLog, Deliveries, DeliveryAnswer, WebhookAnswer, Webhooks
from gateway.auth import KeyedRequest, needs
from gateway.errors import NotFound
from gateway.lookups import mailbox_named
from gateway.models import AuditLogEntry, Webhook, WebhookDelivery
from gateway.models.accounts import Scope
from gateway.schemas.webhooks import WebhookIn
from gateway.timestamps import iso

router = Router(tags=["webhooks"])

_STATUS_WORDS = {
    Delivery.State.DUE: "pending",
    Delivery.State.SENDING: "pending",
    Delivery.State.DELIVERED: "delivered",
    Delivery.State.FAILED: "failed",
}


@router.get("/webhooks", auth=needs(Scope.ADMIN), response=documented(Webhooks))
def list_webhooks(request: KeyedRequest) -> HttpResponse:
    """List subscriptions, without their secrets."""
    rows = Webhook.objects.alive().filter(account_id=request.auth.account_id).order_by("id")
    shown = [_webhook(webhook) for webhook in rows]
    return answer({"webhooks": shown, "subscriptions": shown})


@router.post("/webhooks", auth=needs(Scope.ADMIN), response=documented(WebhookAnswer, status=201))
def create_webhook(request: KeyedRequest, body: WebhookIn) -> HttpResponse:
    """Subscribe an address to events. The answer shows the signing secret."""
    mailbox = mailbox_named(request.auth, body.mailbox_id) if body.mailbox_id else None
    webhook = hooks.add_webhook(key=request.auth, url=body.url, events=body.events, mailbox=mailbox, secret=body.secret)
    return answer(_with_secret(webhook), status=201)


@router.get("/webhooks/{webhook_id}", auth=needs(Scope.ADMIN), response=documented(WebhookAnswer))
def read_webhook(request: KeyedRequest, webhook_id: str) -> HttpResponse:
    """Read one subscription, with its secret."""
    return answer(_with_secret(_webhook_named(request, webhook_id)))


@router.delete("/webhooks/{webhook_id}", auth=needs(Scope.ADMIN), response=documented(Changed))
def delete_webhook(request: KeyedRequest, webhook_id: str) -> HttpResponse:
    """End a subscription."""
    webhook = _webhook_named(request, webhook_id)
    hooks.end_webhook(key=request.auth, webhook=webhook, now=timezone.now())
    return answer({"id": webhook.pk, "status": "deleted"})


@router.post("/webhooks/{webhook_id}/test", auth=needs(Scope.ADMIN), response=documented(DeliveryAnswer))
def test_webhook(request: KeyedRequest, webhook_id: str) -> HttpResponse:
    """Send one signed `webhook.test` event, which is about no message."""
    delivery = hooks.test_webhook(webhook=_webhook_named(request, webhook_id), now=timezone.now())
    return answer(_delivery(delivery))


@router.get("/webhook-deliveries", auth=needs(Scope.ADMIN), response=documented(Deliveries))
def list_deliveries(request: KeyedRequest, limit: str = "", cursor: str = "") -> HttpResponse:
    """List events on their way and behind it, newest first."""
    rows = WebhookDelivery.objects.filter(webhook__account_id=request.auth.account_id)
    rows = rows.select_related("webhook").defer("body").order_by("-pk")
    if before := paging.read_cursor(cursor):
        rows = rows.filter(pk__lt=paging.as_number(before))
    size = paging.clamp(limit, default=50, most=100)
    page, following = paging.cut(list(rows[: size + 1]), size)
    return answer({"deliveries": [_delivery(delivery) for delivery in page], "cursor": following})


@router.get("/audit-log", auth=needs(Scope.ADMIN), response=documented(AuditLog))
def list_audit_log(request: KeyedRequest, limit: str = "", cursor: str = "") -> HttpResponse:
    """List what was done with which key, newest first."""
    rows = AuditLogEntry.objects.filter(account_id=request.auth.account_id).order_by("-id")
    if before := paging.read_cursor(cursor):
        rows = rows.filter(pk__lt=before)
    size = paging.clamp(limit, default=100, most=500)
    page, following = paging.cut(list(rows[: size + 1]), size)
    return answer({"entries": [_entry(entry) for entry in page], "cursor": following})


def _webhook_named(request: KeyedRequest, webhook_id: str) -> Webhook:
    webhook = Webhook.objects.alive().filter(account_id=request.auth.account_id, pk=webhook_id).first()
    if webhook is None:
        raise NotFound("There is no such webhook in this account.")
    return webhook


def _webhook(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.pk,
        "url": webhook.url,
        "events": webhook.events,
        "mailbox_id": webhook.mailbox_id,
        "created_at": iso(webhook.created_at),
        "is_active": True,
    }


def _with_secret(webhook: Webhook) -> dict[str, Any]:
    return _webhook(webhook) | {"signing_secret": webhook.secret, "secret": webhook.secret}


def _delivery(delivery: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": str(delivery.pk),
        "webhook_id": delivery.webhook_id,
        "event_id": delivery.event_id,
        "event_type": delivery.event,
        "email_id": delivery.email_id,
        "url": delivery.webhook.url,
        "status": _STATUS_WORDS[Delivery.State(delivery.state)],
        "attempts": delivery.attempts,
        "response_status": delivery.response_status,
        "last_error": delivery.last_error or None,
        "created_at": iso(delivery.created_at),
        "last_attempt_at": iso(delivery.last_attempt_at),
    }


def _entry(entry: AuditLogEntry) -> dict[str, Any]:
    return {
        "id": entry.pk,
        "action": entry.action,
        "resource_type": entry.resource_type,
        "resource_id": entry.resource_id,
        "actor_key_id": entry.actor_key_id,
        "metadata": entry.metadata,
        "created_at": iso(entry.created_at),
    }
