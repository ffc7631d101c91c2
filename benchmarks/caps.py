"""Mailboxes of benchmarks have no caps: they measure what ordinary agents send, at a rate that no agent has."""

from typing import Any


def without_caps(mailbox: Any) -> None:
    """Let as many messages of this mailbox into the queue as come."""
    from mirror.models import Cap
    from mirror.models.brakes import Kind

    Cap.objects.bulk_create(Cap(mailbox=mailbox, kind=kind) for kind in Kind.values)
