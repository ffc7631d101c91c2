"""Stores what an account has at MultiMail: its mailboxes, contacts and suppressed
addresses, and what MultiMail can do there, by reads and by the fields that its calls
refuse.

A mailbox that was deleted there stays here with its history, inactive. Contacts are for
the list mode `contacts` alone: read longer than a day ago they count as unknown, and
the mode refuses. Suppressed addresses are only shown; that list stays as it was when it
cannot be read.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.db.models.functions import Now

from audit.recording import changed, record
from common.actors import Actor
from common.mail_addresses import compared
from mirror.models import Connection, KnownContact, Mailbox, SuppressedAddress
from mirror.oversight_modes import is_looser
from mirror.sync import health
from mirror.sync.health import ACTOR
from upstream import errors
from upstream.admin import AdminClient
from upstream.capabilities import WORDS, read_capabilities
from upstream.client import Client

READ_SECONDS = 10.0
_SWITCHES = (
    "commercial",
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


def read_mailboxes(connection_id: int, *, within: float = READ_SECONDS) -> str:
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
            # Changes that were made at MultiMail directly are recorded, so that a
            # looser mode is noticed.
            before = {name: getattr(mailbox, name) for name in facts}
            names = [name for name in sorted(facts) if facts[name] != before[name]]
            if names and mailbox.mirrored_at is not None:
                mode = facts.get("oversight_mode", mailbox.oversight_mode)
                looser = is_looser(mode, than=mailbox.oversight_mode)
                words = changed(_in_words(before, names), _in_words(facts, names))
                record(
                    "mailbox.seen_looser" if looser else "mailbox.seen_changed",
                    ACTOR,
                    connection=mailbox.connection_id,
                    details={"mailbox": mailbox.address, **words},
                )
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


# --- Contacts and suppressed addresses ------------------------------------------------


# The oldest contacts beyond this number are not read, so they count as unknown.
MAX_CONTACTS = 200_000
# More suppressed addresses are not read; the newest come first.
MAX_SUPPRESSED = 20_000
MAX_REASON = 60
_CHUNK = 5000
_Rows = list[dict[str, Any]]


def read_contacts(connection_id: int) -> str:
    """Read the contacts of one connection and return a short word."""
    connection = Connection.objects.get(pk=connection_id)
    if not connection.read_key:
        # Once the key is removed, its contacts must not be used.
        Connection.objects.filter(pk=connection_id).exclude(
            contacts_read_at=None
        ).update(contacts_read_at=None)
        return "no key"
    # MultiMail documents no limit here.
    page = 500 if connection.is_our_gateway else 0
    rows = _read(
        connection,
        connection.read_key,
        lambda client: client.list_contacts(most=MAX_CONTACTS, page=page),
        "contacts",
    )
    if rows is None:
        return "not now"
    texts = (str(row.get("email") or row.get("address") or "")[:1000] for row in rows)
    addresses = {address for text in texts if (address := compared(text))}
    with transaction.atomic():
        # Only what changed is written: mostly there is nothing.
        stored = KnownContact.objects.filter(connection=connection)
        known = set(stored.values_list("address", flat=True))
        stored.filter(address__in=known - addresses).delete()
        new = [
            KnownContact(connection=connection, address=address)
            for address in sorted(addresses - known)
        ]
        KnownContact.objects.bulk_create(new, ignore_conflicts=True, batch_size=_CHUNK)
        Connection.objects.filter(pk=connection.pk).update(contacts_read_at=Now())
    return "read"


def read_suppressed(connection_id: int) -> str:
    """Read the suppressed addresses of one connection and return a short word."""
    connection = Connection.objects.get(pk=connection_id)
    if not connection.admin_key:
        return "no key"
    # MultiMail documents 100 at most.
    page = 500 if connection.is_our_gateway else 100
    rows = _read(
        connection,
        connection.admin_key,
        lambda client: client.list_suppressed(most=MAX_SUPPRESSED, page=page),
        "suppressed addresses",
    )
    if rows is None:
        return "not now"
    is_whole = len(rows) < MAX_SUPPRESSED
    reasons = {}
    for row in rows:
        address = str(row.get("email_address") or "").strip().lower()[:320]
        if "@" in address:
            reasons[address] = str(row.get("reason") or "")[:MAX_REASON]
    with transaction.atomic():
        stored = SuppressedAddress.objects.filter(connection=connection)
        known = dict(stored.values_list("address", "reason"))
        if is_whole:
            stored.filter(address__in=known.keys() - reasons.keys()).delete()
        new = [
            SuppressedAddress(connection=connection, address=address, reason=reason)
            for address, reason in reasons.items()
            if known.get(address) != reason
        ]
        SuppressedAddress.objects.bulk_create(
            new,
            update_conflicts=True,
            unique_fields=["connection", "address"],
            update_fields=["reason"],
        )
    return "read"


def _read(
    connection: Connection, key: str, call: Callable[[Client], _Rows], what: str
) -> _Rows | None:
    try:
        return call(Client(base_url=connection.api_url, key=key))
    except errors.UpstreamError as error:
        health.note_unread(connection, what, error)
        return None


# --- What MultiMail can do ------------------------------------------------------------


T = TypeVar("T")
EVERY = timedelta(days=1)
# After a survey that MultiMail did not answer.
AGAIN = timedelta(minutes=10)


def learn(connection_id: int) -> str:
    """Ask MultiMail what it can do, if that is due, and store and tell what changed;
    return a short word.
    """
    due = Connection.objects.to_survey().filter(pk=connection_id)
    if not due.update(surveyed_at=Now()):
        return "not due"
    connection = Connection.objects.get(pk=connection_id)
    keys = {
        slot: getattr(connection, f"{slot}_key")
        for slot in ("oversight", "read", "admin")
    }
    found = read_capabilities(api_url=connection.api_url, keys=keys)
    if all(is_there is None for is_there in found.values()):
        Connection.objects.filter(pk=connection_id).update(
            surveyed_at=Now() - EVERY + AGAIN
        )
        return "not now"
    with transaction.atomic():
        before: dict[str, bool] = (
            Connection.objects.select_for_update(no_key=True)
            .get(pk=connection_id)
            .capabilities
        )
        # What could not be seen this time stays as it was, unless its key is gone.
        stored = {
            name: is_there
            for name, is_there in before.items()
            if name in WORDS and keys[WORDS[name][1]]
        }
        stored |= {
            name: is_there for name, is_there in found.items() if is_there is not None
        }
        Connection.objects.filter(pk=connection_id).update(capabilities=stored)
        news = [
            name
            for name, is_there in stored.items()
            if before.get(name, is_there) != is_there
        ]
        if not news:
            return "as before" if before else "learnt"
        after = _abilities_in_words(stored, news)
        words = changed(_abilities_in_words(before, news), after)
        record(
            "connection.capability_changed",
            ACTOR,
            connection=connection_id,
            details={"explanation": f"Seen now: {after}.", **words},
        )
    return "changed"


def _abilities_in_words(known: dict[str, bool], names: list[str]) -> str:
    return "; ".join(
        f"{WORDS[name][0]}: {'yes' if known[name] else 'no'}" for name in names
    )


def without_refused(connection: Connection, call: Callable[..., T]) -> T:
    """Make a call `without` the fields that MultiMail refused here before, and again
    without those that it refuses now.

    A 422 has no effect, and each one leaves out at least one field more.
    """
    while True:
        try:
            return call(without=connection.refused_fields)
        except errors.FieldsRefused as error:
            note_refused(connection, error)


@transaction.atomic
def note_refused(
    connection: Connection, error: errors.FieldsRefused, *, actor: Actor = ACTOR
) -> None:
    """Remember the fields that MultiMail does not take here; the ledger tells of each
    once.
    """
    rows = Connection.objects.filter(pk=connection.pk)
    locked = rows.select_for_update(no_key=True)
    before: list[str] = locked.values_list("refused_fields", flat=True).get()
    new = [name for name in error.fields if name not in before]
    connection.refused_fields = [*before, *new]
    if new:
        rows.update(refused_fields=connection.refused_fields)
        explanation = f"{error.sentence} Left out from now on: {', '.join(new)}."
        record(
            "connection.fields_refused",
            actor,
            connection=connection.pk,
            details={"explanation": explanation},
        )
