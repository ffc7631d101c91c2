"""Stores the mailboxes of each account as MultiMail has them: addresses, modes, and
what is added to their mail.

A mailbox that was deleted there stays here with its history, inactive.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from audit.recording import changed, record
from mirror.models import Connection, Mailbox
from mirror.oversight_modes import is_looser
from mirror.sync import health
from mirror.sync.health import ACTOR
from upstream import errors
from upstream.admin import AdminClient

READ_SECONDS = 10.0
_SWITCHES = (
    "commercial",
    "simplify_html",
    "forward_inbound",
    "allow_looser_per_call",
    "require_fingerprint",
    "scheduling_enabled",
)
# The texts of a mailbox and the lengths of their columns.
_TEXTS = {
    "address": 320,
    "display_name": 200,
    "signature_block": 200,
    "oversight_mode": 20,
    "default_gate_timing": 20,
}


def read_mailboxes(*, connection_id: int, within: float = READ_SECONDS) -> str:
    """Read the mailboxes of one connection; return an empty text, or a sentence that
    says why it failed.
    """
    connection = Connection.objects.get(pk=connection_id)
    key = connection.admin_key or connection.read_key or connection.agent_key
    if not key:
        return "There is no key that may read."
    client = AdminClient(base_url=connection.api_url, key=key, within=within)
    try:
        rows = client.list_mailboxes()
    except errors.UpstreamError as error:
        health.note_unread(connection, "mailboxes", error)
        return error.sentence
    # A read key may be limited to some mailboxes: those that it does not list may still
    # exist.
    store_mailboxes(connection, rows, is_whole=bool(connection.admin_key))
    return ""


@transaction.atomic
def store_mailboxes(
    connection: Connection, rows: list[dict[str, Any]], *, is_whole: bool
) -> None:
    """Store these rows of MultiMail; where the list is complete, absent mailboxes
    become inactive.
    """
    # Locked in a fixed order, because two reads may end at the same time.
    known = {
        mailbox.upstream_id: mailbox
        for mailbox in connection.mailboxes.select_for_update().order_by("upstream_id")
    }
    by_id = {str(row["id"])[:64]: row for row in rows}
    for upstream_id in sorted(by_id):
        facts = facts_in(by_id[upstream_id])
        mailbox = known.get(upstream_id)
        if mailbox is not None:
            _record_changes(mailbox, facts)
            Mailbox.objects.filter(pk=mailbox.pk).update(mirrored_at=Now(), **facts)
        elif facts.get("address"):
            Mailbox.objects.get_or_create(
                connection=connection,
                upstream_id=upstream_id,
                defaults={"mirrored_at": Now(), **facts},
            )
        required = by_id[upstream_id].get("account_requires_fingerprint")
        if required is not None and bool(required) != connection.require_fingerprint:
            connection.require_fingerprint = bool(required)
            Connection.objects.filter(pk=connection.pk).update(
                require_fingerprint=bool(required)
            )
    if is_whole:
        connection.mailboxes.exclude(upstream_id__in=by_id).update(
            is_active=False, mirrored_at=Now()
        )


def _record_changes(mailbox: Mailbox, facts: Mapping[str, Any]) -> None:
    """Record changes that were made at MultiMail directly, so that a looser mode is
    noticed.
    """
    before = {name: getattr(mailbox, name) for name in facts}
    names = [name for name in sorted(facts) if facts[name] != before[name]]
    if not names or mailbox.mirrored_at is None:
        return
    mode = facts.get("oversight_mode", mailbox.oversight_mode)
    looser = is_looser(mode, than=mailbox.oversight_mode)
    words = changed(before=_in_words(before, names), after=_in_words(facts, names))
    record(
        "mailbox.seen_looser" if looser else "mailbox.seen_changed",
        actor=ACTOR,
        connection=mailbox.connection_id,
        details={"mailbox": mailbox.address, **words},
    )


def _in_words(facts: Mapping[str, Any], names: Iterable[str]) -> str:
    return "; ".join(f"{name}: {facts[name] or 'none'}" for name in names)


def facts_in(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mailbox's fields from a row of MultiMail, by our names; missing ones are
    left out.
    """
    facts: dict[str, Any] = {"is_active": bool(row.get("is_active", True))}
    for name, most in _TEXTS.items():
        if name in row:
            facts[name] = str(row[name] or "")[:most]
    for name in _SWITCHES:
        if row.get(name) is not None:
            facts[name] = bool(row[name])
    for name in ("auto_cc", "auto_bcc"):
        if name in row:
            listed = row[name]
            if isinstance(listed, str):
                listed = listed.split(",")
            if not isinstance(listed, list):
                listed = []
            addresses = (str(one).strip()[:320] for one in listed)
            facts[name] = [one for one in addresses if one]
    return facts
