"""The allowlists of a mailbox: judging recipients by them, replacing one, and recording what was refused.

A restriction says who may be written to at all, a bypass whose mail need not wait for a decision.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from common.patterns import patterns_for
from gateway import auditing
from gateway.errors import Conflict
from gateway.models import Allowlist, AllowlistEntry, ApiKey, Contact, Mailbox, Refusal
from gateway.webhooks import events

log = logging.getLogger(__name__)

# How many entries an audit entry names; it counts the others.
_NAMED = 50


@dataclass(frozen=True)
class Ruling:
    """What the lists say to some recipients. `outsiders` keep a message out; `strangers` would, were it not a trial.

    `skips` says that a bypass lets all of them through without a decision; `would_skip` that it would.
    """

    outsiders: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    rule: str = ""
    skips: bool = False
    would_skip: bool = False
    bypass_rule: str = ""


@dataclass
class _ListStatus:
    """One list, as far as it concerns the recipients at hand."""

    kind: str
    mode: str
    version: int
    hits: set[str] = field(default_factory=set)

    @property
    def rule(self) -> str:
        return f"{self.kind}, mode {self.mode}, version {self.version}"

    def missed_by(self, recipients: Iterable[str]) -> tuple[str, ...]:
        return tuple(one for one in recipients if self.hits.isdisjoint(patterns_for(one)))


def judge(*, mailbox: Mailbox, recipients: list[str], now: datetime) -> Ruling:
    """Return what the lists of `mailbox` say about all `recipients` at this moment.

    A restriction in force lets nobody through whom no live entry names, so an empty or expired list refuses everybody.
    """
    lists = _list_statuses(mailbox, recipients, now)
    restriction, bypass = lists.get(Allowlist.Kind.RESTRICTION), lists.get(Allowlist.Kind.BYPASS)
    missed = _missed(restriction, mailbox, recipients) if restriction else ()
    tried = restriction is not None and restriction.mode == Allowlist.Mode.MONITOR
    passes = bypass is not None and bool(recipients) and not bypass.missed_by(recipients)
    tried_out = bypass is not None and bypass.mode == Allowlist.Mode.MONITOR
    return Ruling(
        outsiders=() if tried else missed,
        strangers=missed if tried else (),
        rule=restriction.rule if restriction else "",
        skips=passes and not tried_out,
        would_skip=passes and tried_out,
        bypass_rule=bypass.rule if bypass else "",
    )


def _missed(restriction: _ListStatus, mailbox: Mailbox, recipients: list[str]) -> tuple[str, ...]:
    missed = restriction.missed_by(recipients)
    if not missed or restriction.mode != Allowlist.Mode.CONTACTS:
        return missed
    known = Contact.objects.known(account_id=mailbox.account_id, addresses=missed)
    # An address that no pattern can match is refused, contact or not.
    return tuple(one for one in missed if one not in known or not patterns_for(one))


def _list_statuses(mailbox: Mailbox, recipients: list[str], now: datetime) -> dict[str, _ListStatus]:
    wanted = {pattern for recipient in recipients for pattern in patterns_for(recipient)}
    lists: dict[str, _ListStatus] = {}
    matches = Allowlist.objects.active_matches(mailbox_id=mailbox.pk, patterns=wanted, now=now)
    for kind, mode, version, pattern in matches:
        status = lists.setdefault(kind, _ListStatus(kind, mode, version))
        status.hits |= {pattern} if pattern else set()
    return lists


def replace_list(
    *, key: ApiKey, mailbox: Mailbox, kind: str, mode: str, version: int, entries: list[AllowlistEntry], now: datetime
) -> Allowlist:
    """Replace one list whole, if it still is at `version`. Raises Conflict with the version that it is at.

    `entries` are not stored yet; their patterns have the form that common.patterns.read_pattern gives.
    """
    with transaction.atomic():
        # Makes sure that a row exists, so that two first versions written at once are compared, too.
        Allowlist.objects.bulk_create([Allowlist(mailbox=mailbox, kind=kind)], ignore_conflicts=True)
        if not Allowlist.objects.raise_version(
            mailbox_id=mailbox.pk, kind=kind, version=version, mode=mode, updated_at=now
        ):
            _refuse_stale(mailbox, kind)
        changed = Allowlist.objects.get(mailbox=mailbox, kind=kind)
        facts = _write(changed, entries)
        auditing.record(
            "allowlist.replaced",
            changed,
            key=key,
            **{"list": kind, "mode": mode, "version": changed.version, **facts},
        )
    return changed


def _refuse_stale(mailbox: Mailbox, kind: str) -> None:
    current = Allowlist.objects.values_list("version", flat=True).get(mailbox=mailbox, kind=kind)
    raise Conflict(
        f"The list is now at version {current}. Read it again, and send your change with that version.",
        code="version_conflict",
        version=current,
    )


def _write(changed: Allowlist, entries: list[AllowlistEntry]) -> dict[str, object]:
    """Write the entries in place of what there was, and return what that added and took away."""
    rows = merged(entries)
    before = set(changed.entries.values_list("pattern", flat=True))
    changed.entries.all().delete()
    for entry in rows.values():
        entry.allowlist = changed
    AllowlistEntry.objects.bulk_create(rows.values())
    added, removed = sorted(rows.keys() - before), sorted(before - rows.keys())
    return {
        "entries": len(rows),
        "added": added[:_NAMED],
        "added_count": len(added),
        "removed": removed[:_NAMED],
        "removed_count": len(removed),
    }


def merged(entries: list[AllowlistEntry]) -> dict[str, AllowlistEntry]:
    """Return one entry for each pattern: the longest of its times, with the first note that was given."""
    found: dict[str, AllowlistEntry] = {}
    for entry in entries:
        first = found.setdefault(entry.pattern, entry)
        first.expires_at, first.note = _later(first, entry), first.note or entry.note
    return found


def _later(one: AllowlistEntry, other: AllowlistEntry) -> datetime | None:
    if one.expires_at is None or other.expires_at is None:
        return None
    return max(one.expires_at, other.expires_at)


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
    """Store a refusal and announce it to subscribers.

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
        events.announce_refusal(refusal, facts=facts_of(refusal), now=now)
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
        "key_name": refusal.key.name,
        "recipients": refusal.recipients,
        "refused_recipients": refusal.refused,
        "rule": refusal.rule,
        "metadata": refusal.metadata,
        "sandbox": refusal.sandbox,
    }
