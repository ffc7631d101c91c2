"""Reads of the mail that agents wanted to send, for what goes by its recipients alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.contrib.postgres.aggregates import ArrayAgg
from django.db import models

if TYPE_CHECKING:
    from mirror.models import Message  # noqa: F401 - the type parameter


@dataclass(frozen=True, slots=True)
class Alike:
    """Messages of one mailbox that go to the same recipients."""

    connection: int
    mailbox: int | None
    recipients: Sequence[str]
    keys: Sequence[int]


class SentReads(models.QuerySet["Message"]):
    """What agents wanted to send, and to whom."""

    def really_sent_since(self, since: datetime) -> Self:
        """Outbound mail that was held or told of since then and read, without tests (relies on message_changed)."""
        # What was held since then changed since then; only when it last changed has an index of all.
        lately = self.filter(changed_at__gte=since, held_at__gte=since)
        return lately.exclude(direction="inbound").filter(sandbox=False, revision__isnull=False)

    def at(self, connection: int | None, mailbox: int | None) -> Self:
        """Those of one mailbox or connection; neither: all."""
        if mailbox is not None:
            return self.filter(mailbox=mailbox)
        return self.filter(connection=connection) if connection is not None else self

    def alike(self) -> list[Alike]:
        """Those whose recipients are stored, gathered by mailbox and recipients."""
        rows = self.exclude(written_to=None).order_by().values_list("connection_id", "mailbox_id", "written_to")
        return [Alike(*row) for row in rows.annotate(keys=ArrayAgg("pk"))]

    def to_count(self) -> Self:
        """Those whose hits are still to be counted, oldest first (relies on message_to_count)."""
        return self.filter(hits_counted_at=None, hydrated_at__isnull=False, revision__isnull=False).order_by("pk")
