"""Every read of attached files."""

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from mirror.querysets.terms import DONE
from mirror.states import MessageState

if TYPE_CHECKING:
    from mirror.models import AttachedFile  # noqa: F401 - the querysets' type parameters

_OPEN = ("waiting", "failing", "not_visible", "gone")


class AttachedFileQuerySet(models.QuerySet["AttachedFile"]):
    """Reads of attached files."""

    def without_bytes(self) -> Self:
        """Everything but the bytes, which only those read that hand them out."""
        return self.defer("content")

    def in_place(self) -> Self:
        return self.order_by("place")

    def to_fetch(self) -> Self:
        """Due by the database's clock, of the version that is held, on a connection that can be asked (file_to_fetch).

        One that is gone, or that no key shows, is asked for again now and then: keys are replaced.
        """
        rested = Q(message__connection__wait_until=None) | Q(message__connection__wait_until__lte=Now())
        return self.filter(
            rested,
            state__in=_OPEN,
            not_before__lte=Now(),
            revision=F("message__revision"),
            message__state=MessageState.HELD,
            message__connection__paused_at=None,
            message__connection__failing_since=None,
        )

    def differing(self) -> Self:
        """Those whose bytes are known to be others than the letter's fingerprint names."""
        return self.exclude(sha256="").exclude(found_sha256="").exclude(sha256__iexact=F("found_sha256"))

    def kept_too_long(self, age: timedelta) -> Self:
        """Those whose bytes are kept although their message is past the desk for so long, or has a newer version."""
        past = Q(message__state__in=DONE, message__changed_at__lt=Now() - age)
        replaced = Q(fetched_at__lt=Now() - age) & ~Q(revision=F("message__revision"))
        return self.filter(past | replaced, content__isnull=False)

    def drop_bytes(self) -> int:
        """Delete the bytes; what was seen of the files stays."""
        return self.update(content=None, state="deleted")
