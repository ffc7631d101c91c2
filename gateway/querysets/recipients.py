"""Queries of contacts and of suppressed addresses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

from common.patterns import comparable
from gateway.querysets.plain import rows

if TYPE_CHECKING:
    from gateway.models import ApiKey, Contact, Mailbox, Suppression  # noqa: F401


class MailContactQuerySet(models.QuerySet["Contact"]):
    """Contacts. Live and sandbox keys share them, as they share mailboxes."""

    def visible_to(self, key: ApiKey) -> Self:
        """The account's contacts; for a key limited to mailboxes those of these mailboxes and those of none."""
        mine = self.filter(account_id=key.account_id).select_related("mailbox").order_by("-id")
        return mine.filter(Q(mailbox=None) | Q(mailbox_id__in=key.mailbox_ids)) if key.mailbox_ids else mine

    def used_by(self, mailbox: Mailbox) -> Self:
        """Contacts of one mailbox, and those of the whole account."""
        return self.filter(Q(mailbox=None) | Q(mailbox=mailbox))

    def matching(self, text: str) -> Self:
        """Contacts whose name or address holds `text`, or that carry it as a tag."""
        return self.filter(Q(name__icontains=text) | Q(email__icontains=text) | Q(tags__contains=[text]))

    def known(self, *, account_id: str, addresses: Iterable[str]) -> set[str]:
        """Those of `addresses` that are contacts of the account."""
        wanted = list(addresses)
        keys = {comparable(address) for address in wanted}
        found = set(self.filter(account_id=account_id, email__in=keys).values_list("email", flat=True))
        return {address for address in wanted if comparable(address) in found}


class SuppressionQuerySet(models.QuerySet["Suppression"]):
    """Addresses that get nothing any more."""

    def applying_to(self, key: ApiKey) -> Self:
        """What mail of this key is kept back from, newest first: from whichever mailbox it bounced.

        In the sandbox nothing bounces, and what did elsewhere does not hold there.
        """
        return self.none() if key.sandbox else self.filter(account_id=key.account_id).order_by("-id")

    def visible_to(self, key: ApiKey) -> Self:
        """Those that the key may lift: of a key limited to mailboxes, what bounced from these."""
        mine = self.applying_to(key)
        return mine.filter(mailbox_id__in=key.mailbox_ids) if key.mailbox_ids else mine

    def among(self, addresses: Iterable[str], *, account_id: str) -> set[str]:
        """Those of `addresses` that the account sends nothing to; by the index suppression_once_an_account."""
        wanted = {address: comparable(address) for address in addresses}
        sql = "SELECT email_address FROM gateway_suppression WHERE account_id = %s AND email_address = ANY(%s)"
        found = {address for (address,) in rows(sql, [account_id, list(wanted.values())])}
        return {address for address, compared in wanted.items() if compared in found}
