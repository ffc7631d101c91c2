"""Commands on the two allowlists of a mailbox: judge the recipients of a message by
them, change a list, and record messages that were refused.

The restriction says who may be written to at all. The bypass says whose mail is sent
without waiting for a decision.
"""

import logging
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from django.db import transaction
from django.utils import timezone

from common.mail_addresses import patterns_for
from common.unique_keys import Json
from gateway import auditing
from gateway.errors import Conflict, Forbidden, NotFound
from gateway.models import Allowlist, AllowlistEntry, ApiKey, Contact, Mailbox, Refusal
from gateway.webhooks import events

log = logging.getLogger(__name__)

MAX_ENTRIES = 5000
# An audit entry names at most this many added and removed patterns; it always gives
# their numbers.
_NAMED = 50


@dataclass(frozen=True)
class Ruling:
    """What the allowlists of a mailbox say about the recipients of one message.

    `outsiders` are the recipients whom the restriction refuses; `strangers` those whom
    it would refuse if its mode were not monitor. `skips`: the bypass lets the message
    go without a decision; `would_skip`: it would do so if its mode were not monitor.
    `unlisted` are the recipients whom a bypass in force does not name. `rule` and
    `bypass_rule` name the list and its version.
    """

    outsiders: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    rule: str = ""
    skips: bool = False
    would_skip: bool = False
    unlisted: tuple[str, ...] = ()
    bypass_rule: str = ""


@dataclass
class _ListStatus:
    """One list of a mailbox. `hits` are the patterns of its live entries that match a
    recipient of the message.
    """

    kind: str
    mode: str
    version: int
    hits: set[str | None] = field(default_factory=set)

    @property
    def rule(self) -> str:
        return f"{self.kind}, mode {self.mode}, version {self.version}"

    def missed_by(self, patterns: dict[str, list[str]]) -> tuple[str, ...]:
        # Returns the recipients whom no live entry names; `patterns` are, by recipient,
        # the patterns that would match them.
        return tuple(
            recipient
            for recipient, matching in patterns.items()
            if self.hits.isdisjoint(matching)
        )


def judge(mailbox: Mailbox, recipients: list[str]) -> Ruling:
    """Return what the lists of `mailbox` say about `recipients` at this moment.

    A restriction in force refuses every recipient whom no live entry names, so an empty
    or expired list refuses everybody.
    """
    # Known where the mailbox was read for this request.
    if not getattr(mailbox, "has_lists", True):
        return Ruling()
    patterns = {recipient: patterns_for(recipient) for recipient in recipients}
    lists: dict[str, _ListStatus] = {}
    matches = Allowlist.objects.active_matches(mailbox.pk, chain(*patterns.values()))
    for kind, mode, version, pattern in matches:
        lists.setdefault(kind, _ListStatus(kind, mode, version)).hits.add(pattern)
    ruling = Ruling()
    if restriction := lists.get(Allowlist.Kind.RESTRICTION):
        missed = restriction.missed_by(patterns)
        if missed and restriction.mode == Allowlist.Mode.CONTACTS:
            contacts = Contact.objects.known(mailbox.account_id, missed)
            # An address such as a%b@relay has no patterns, because old servers send it
            # on to somebody else. It is refused even if it is a contact.
            missed = tuple(
                address
                for address in missed
                if address not in contacts or not patterns[address]
            )
        ruling = Ruling(rule=restriction.rule, outsiders=missed)
        if restriction.mode == Allowlist.Mode.MONITOR:
            ruling = Ruling(rule=restriction.rule, strangers=missed)
    if bypass := lists.get(Allowlist.Kind.BYPASS):
        unlisted = bypass.missed_by(patterns)
        passes = bool(recipients) and not unlisted
        if bypass.mode == Allowlist.Mode.MONITOR:
            return replace(ruling, bypass_rule=bypass.rule, would_skip=passes)
        return replace(ruling, bypass_rule=bypass.rule, skips=passes, unlisted=unlisted)
    return ruling


@transaction.atomic
def replace_list(
    key: ApiKey,
    mailbox: Mailbox,
    *,
    kind: str,
    mode: str,
    version: int,
    entries: list[AllowlistEntry],
) -> Allowlist:
    """Replace a whole list, if its version is still `version`. Raises Conflict, which
    names the current version.

    `entries` are not stored yet; their patterns have the form that
    common.mail_addresses.read_pattern returns.
    """
    changed = _locked(mailbox, kind)
    if changed.version != version:
        raise Conflict(
            f"The list is now at version {changed.version}. Read it again, and send your change with that version.",
            code="version_conflict",
            version=changed.version,
        )
    changed.mode = mode
    rows = merged(entries)
    before = set(changed.entries.values_list("pattern", flat=True))
    added = sorted(rows.keys() - before)
    removed = sorted(before - rows.keys())
    changed.entries.filter(pattern__in=removed).delete()
    for entry in rows.values():
        entry.allowlist = changed
        entry.added_by_key = key
    # An entry that stays keeps its id, and who added it and when.
    AllowlistEntry.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["allowlist", "pattern"],
        update_fields=["expires_at", "note"],
    )
    _save_change(
        changed,
        key,
        "allowlist.replaced",
        entries=len(rows),
        added=added[:_NAMED],
        added_count=len(added),
        removed=removed[:_NAMED],
        removed_count=len(removed),
    )
    return changed


def merged(entries: list[AllowlistEntry]) -> dict[str, AllowlistEntry]:
    """Return the entries by pattern. Of several entries with the same pattern, one is
    returned, with the latest expiry and the first note that is not empty.
    """
    by_pattern: dict[str, AllowlistEntry] = {}
    for entry in entries:
        first = by_pattern.setdefault(entry.pattern, entry)
        first.note = first.note or entry.note
        if not first.expires_at or not entry.expires_at:
            first.expires_at = None
        else:
            first.expires_at = max(first.expires_at, entry.expires_at)
    return by_pattern


@transaction.atomic
def add_entry(
    key: ApiKey, mailbox: Mailbox, *, pattern: str, note: str
) -> AllowlistEntry:
    """Add an entry that does not expire to the bypass of a mailbox. An expired entry
    with the same pattern is replaced.

    Raises Conflict if a live entry has this pattern, and Forbidden if the list is full.
    """
    bypass = _locked(mailbox, Allowlist.Kind.BYPASS)
    same = bypass.entries.filter(pattern=pattern)
    if live := same.live().first():
        raise Conflict(
            f"{pattern} is on the list already.", code="entry_exists", entry_id=live.pk
        )
    same.delete()
    if bypass.entries.count() >= MAX_ENTRIES:
        raise Forbidden(
            f"The list has {MAX_ENTRIES} entries, the most that it may have. Remove one first.",
            code="plan_limit",
        )
    entry = bypass.entries.create(
        pattern=pattern, note=note, added_by_key=key, created_at=timezone.now()
    )
    _save_change(bypass, key, added=[pattern])
    return entry


@transaction.atomic
def remove_entry(key: ApiKey, mailbox: Mailbox, entry_id: str) -> None:
    """Remove one entry from the bypass of a mailbox. Raises NotFound."""
    bypass = _locked(mailbox, Allowlist.Kind.BYPASS)
    entry = bypass.entries.filter(pk=entry_id).first()
    if not entry:
        raise NotFound("This mailbox's allowlist has no entry with this id.")
    entry.delete()
    _save_change(bypass, key, removed=[entry.pattern])


@transaction.atomic
def set_bypass_mode(key: ApiKey, mailbox: Mailbox, mode: str) -> Allowlist:
    bypass = _locked(mailbox, Allowlist.Kind.BYPASS)
    bypass.mode = mode
    _save_change(bypass, key)
    return bypass


def _locked(mailbox: Mailbox, kind: str) -> Allowlist:
    # Returns the list of this kind, locked. Its row is created first if there is none:
    # otherwise two requests that write the first version at the same time would not
    # notice each other.
    Allowlist.objects.bulk_create(
        [Allowlist(mailbox=mailbox, kind=kind)], ignore_conflicts=True
    )
    return Allowlist.objects.select_for_update(no_key=True).get(
        mailbox=mailbox, kind=kind
    )


def _save_change(
    changed: Allowlist, key: ApiKey, action: str = "allowlist.changed", **facts: Any
) -> None:
    """Store the changed list with the next version number, and record it. A request
    that replaces the list at an older version then gets 409.
    """
    changed.version += 1
    changed.updated_at = timezone.now()
    changed.save()
    auditing.record(
        action,
        changed,
        key,
        list=changed.kind,
        mode=changed.mode,
        version=changed.version,
        **facts,
    )


def record_refusal(
    key: ApiKey,
    mailbox: Mailbox,
    *,
    recipients: list[str],
    refused: tuple[str, ...],
    rule: str,
    metadata: Json,
) -> Refusal:
    """Store that a message was refused, and announce it to the subscribers.

    Runs in a transaction of its own, and raises an error inside another one
    (`durable`): nothing else of the message is stored, and a rollback because of the
    refusal must not remove this record.
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
            created_at=timezone.now(),
        )
        events.announce_refusal(refusal, facts_of(refusal))
    log.warning(
        "message refused",
        extra={
            "refusal": refusal.pk,
            "mailbox": mailbox.pk,
            "key": key.pk,
            "refused": len(refused),
        },
    )
    return refusal


def facts_of(refusal: Refusal) -> Json:
    """Return the facts of a refusal, as webhook events and the API's list show them.
    There is no message id, because a refused message is not stored.
    """
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
