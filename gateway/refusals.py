"""Keeps what a restriction kept out: who wanted to write to whom, and which rule said no. Never a body or a subject."""

import logging
from datetime import datetime
from typing import Any

from django.db import transaction

from gateway import event_names, events
from gateway.models import ApiKey, Mailbox, Refusal

log = logging.getLogger(__name__)


def record_refusal(
    *,
    key: ApiKey,
    mailbox: Mailbox,
    recipients: list[str],
    refused: tuple[str, ...],
    rule: str,
    metadata: dict[str, Any],
    now: datetime,
) -> Refusal:
    """Store a refusal and tell who asked to be told.

    In a transaction of its own, and an error inside of another: nothing else of the message is stored, and what
    rolls back because of the refusal must not take it along.
    """
    with transaction.atomic(durable=True):
        refusal = Refusal.objects.create(
            account_id=mailbox.account_id,
            mailbox=mailbox,
            key=key,
            sandbox=key.sandbox,
            recipients=recipients,
            refused=list(refused),
            rule=rule[:300],
            metadata=metadata,
            created_at=now,
        )
        events.announce_apart(
            event_names.REFUSED,
            account_id=mailbox.account_id,
            mailbox=mailbox,
            sandbox=key.sandbox,
            facts=facts_of(refusal),
            now=now,
        )
    log.warning(
        "message refused", extra={"refusal": refusal.pk, "mailbox": mailbox.pk, "key": key.pk, "refused": len(refused)}
    )
    return refusal


def facts_of(refusal: Refusal) -> dict[str, Any]:
    """Return what an event and a list say of a refusal. It has no `id` of a message, because there is none."""
    return {
        "refusal_id": refusal.pk,
        "mailbox": refusal.mailbox.address,
        "mailbox_id": refusal.mailbox_id,
        "key_id": refusal.key_id,
        "recipients": refusal.recipients,
        "refused_recipients": refusal.refused,
        "rule": refusal.rule,
        "metadata": refusal.metadata,
        "sandbox": refusal.sandbox,
    }
