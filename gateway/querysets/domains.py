"""Queries of domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models

if TYPE_CHECKING:
    from gateway.models import ApiKey, Domain  # noqa: F401


class DomainQuerySet(models.QuerySet["Domain"]):
    """Domains, claimed and proved."""

    def visible_to(self, key: ApiKey) -> Self:
        """Those of the key's account, oldest first."""
        return self.filter(account_id=key.account_id).order_by("id")

    def active(self) -> Self:
        """Those that were proved."""
        return self.filter(status="active")
