"""Reads an account at MultiMail and stores the result: its mailboxes, contacts and
suppressed addresses, and what MultiMail can do there. Also remembers which fields of
calls MultiMail refuses there.

A mailbox that was deleted at MultiMail stays here as inactive, with its history.
Contacts are used only by the allowlist mode `contacts`: if they were read longer than a
day ago they count as unknown, and the mode refuses. Suppressed addresses are only
shown; if they cannot be read, the stored ones stay.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models.functions import Now

from common.actors import Actor
from common.ascii import lowered
from common.mail_addresses import compared
from common.unique_keys import Json, text_in
from mirror.models import Connection, KnownContact, Mailbox, SuppressedAddress
from mirror.oversight_modes import is_looser
from mirror.recording import record_of_connection
from mirror.store import addresses_in
from mirror.sync import health
from mirror.sync.health import ACTOR
from upstream import errors
from upstream.admin import AdminClient
from upstream.capabilities import WORDS, read_capabilities
from upstream.client import Client

# The time limit for reading the mailboxes.
READ_SECONDS = 10.0
# The columns of a mailbox that are yes or no.
_SWITCHES = """
commercial forward_inbound allow_looser_per_call require_fingerprint send_as_designed scheduling_enabled
""".split()
# Switching one of these on loosens the oversight of a mailbox, as a looser mode does.
_LOOSER = ("allow_looser_per_call", "send_as_designed")
# The columns of a mailbox that are texts, with their lengths.
_TEXTS = {
    "address": 320,
    "display_name": 200,
    "signature_block": 200,
    "oversight_mode": 20,
    "default_gate_timing": 20,
}


def read_mailboxes(connection_id: int, *, within: float = READ_SECONDS) -> str:
    """Read the mailboxes of one connection, and store them. Return why it failed, as a
    sentence; empty if it worked.
    """
    connection = Connection.objects.get(pk=connection_id)
    key = connection.admin_key or connection.read_key or connection.agent_key
    if not key:
        return "There is no key that may read."
    client = AdminClient(base_url=connection.api_url, key=key, within=within)
    try:
        rows = client.list_mailboxes()
        # Only an admin key lists all mailboxes, if it is not limited to some of them.
        is_whole = bool(connection.admin_key)
        if (
            is_whole
            and connection.is_our_gateway
            and connection.mailboxes.filter(is_active=True)
            .exclude(upstream_id__in=[row["id"] for row in rows])
            .exists()
        ):
            is_whole = not client.account(within=within).get("limited")
    except errors.UpstreamError as error:
        health.note_unread(connection, "mailboxes", error)
        return error.sentence
    store_mailboxes(connection, rows, is_whole=is_whole)
    return ""


@transaction.atomic
def store_mailboxes(
    connection: Connection, rows: list[Json], *, is_whole: bool
) -> None:
    """Store MultiMail's rows of mailboxes. If they are all there are (`is_whole`),
    mailboxes without a row become inactive.
    """
    # Locked in a fixed order, so that two reads at the same time do not deadlock.
    stored = {
        mailbox.upstream_id: mailbox
        for mailbox in connection.mailboxes.select_for_update().order_by("upstream_id")
    }
    by_id = {str(row["id"])[:200]: row for row in rows}
    for upstream_id in sorted(by_id):
        facts = facts_in(by_id[upstream_id])
        mailbox = stored.get(upstream_id)
        if mailbox:
            # Changes that somebody made at MultiMail are recorded, so that people
            # notice a looser mode.
            before = {name: getattr(mailbox, name) for name in facts}
            names = [name for name in sorted(facts) if facts[name] != before[name]]
            if names and mailbox.mirrored_at:
                mode = facts.get("oversight_mode", mailbox.oversight_mode)
                looser = is_looser(mode, than=mailbox.oversight_mode) or any(
                    name in names and facts[name] for name in _LOOSER
                )
                record_of_connection(
                    "mailbox.seen_looser" if looser else "mailbox.seen_changed",
                    connection,
                    ACTOR,
                    mailbox=mailbox.address,
                    before=_in_words(before, names),
                    after=_in_words(facts, names),
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
            connection.row.update(require_fingerprint=bool(required))
    if is_whole:
        connection.mailboxes.exclude(upstream_id__in=by_id).update(
            is_active=False, mirrored_at=Now()
        )


def _in_words(facts: Json, names: Iterable[str]) -> str:
    return "; ".join(f"{name}: {facts[name] or 'none'}" for name in names)


def facts_in(row: Json) -> Json:
    """Return the columns of a mailbox from a row of MultiMail. Those that the row lacks
    are left out.
    """
    facts: Json = {"is_active": bool(row.get("is_active", True))}
    for name, length in _TEXTS.items():
        if name in row:
            facts[name] = str(row[name] or "")[:length]
    for name in _SWITCHES:
        if row.get(name) is not None:
            facts[name] = bool(row[name])
    for name in ("auto_cc", "auto_bcc"):
        if name in row:
            facts[name] = [one[:320] for one in addresses_in(row[name])]
    return facts


# --- Contacts and suppressed addresses ------------------------------------------------


# How many contacts are read at most. The others, which are the oldest, count as
# unknown.
MAX_CONTACTS = 200_000
# How many suppressed addresses are read at most, the newest first.
MAX_SUPPRESSED = 20_000
# In characters.
MAX_REASON = 60
# How many rows one statement inserts.
_CHUNK = 5000


def read_contacts(connection_id: int) -> str:
    """Read the contacts of one connection, and store them. Return a word for the log,
    such as "read" or "no key".
    """
    connection = Connection.objects.get(pk=connection_id)
    if not connection.read_key:
        # Without a key the contacts cannot be read again, so the stored ones must not
        # be used any more.
        connection.row.exclude(contacts_read_at=None).update(contacts_read_at=None)
        return "no key"
    # Hosted MultiMail documents no size of a page: 0 leaves it to MultiMail.
    page = 500 if connection.is_our_gateway else 0
    client = Client(base_url=connection.api_url, key=connection.read_key)
    try:
        rows = client.list_contacts(most=MAX_CONTACTS, page=page)
    except errors.UpstreamError as error:
        health.note_unread(connection, "contacts", error)
        return "not now"
    # One that a key added which sends is as if its agent allowed itself the recipient.
    # Hosted MultiMail does not say who added one.
    vouched = [row for row in rows if row.get("by_sender") is False]
    texts = (text_in(row, "email", "address", most=1000) for row in vouched)
    addresses = {address for text in texts if (address := compared(text))}
    with transaction.atomic():
        # Only changes are written, and mostly there are none.
        stored = KnownContact.objects.filter(connection=connection)
        known = set(stored.values_list("address", flat=True))
        stored.filter(address__in=known - addresses).delete()
        new = [
            KnownContact(connection=connection, address=address)
            for address in sorted(addresses - known)
        ]
        KnownContact.objects.bulk_create(new, ignore_conflicts=True, batch_size=_CHUNK)
        connection.row.update(contacts_read_at=Now())
    return "read"


def read_suppressed(connection_id: int) -> str:
    """Read the suppressed addresses of one connection, and store them. Return a word
    for the log, such as "read" or "no key".
    """
    connection = Connection.objects.get(pk=connection_id)
    if not connection.admin_key:
        return "no key"
    # Hosted MultiMail documents pages of 100 at most.
    page = 500 if connection.is_our_gateway else 100
    client = Client(base_url=connection.api_url, key=connection.admin_key)
    try:
        rows = client.list_suppressed(most=MAX_SUPPRESSED, page=page)
    except errors.UpstreamError as error:
        health.note_unread(connection, "suppressed addresses", error)
        return "not now"
    is_whole = len(rows) < MAX_SUPPRESSED
    reasons = {}
    for row in rows:
        address = lowered(text_in(row, "email_address").strip())[:320]
        if "@" in address:
            reasons[address] = text_in(row, "reason", most=MAX_REASON)
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


# --- What MultiMail can do ------------------------------------------------------------


T = TypeVar("T")
# How often MultiMail is asked what it can do; and after which time it is asked again if
# it did not answer.
EVERY = timedelta(days=1)
AGAIN = timedelta(minutes=10)


def learn(connection_id: int) -> str:
    """Ask MultiMail what it can do, if this is due; store it, and record what changed.
    Return a word for the log, such as "changed".
    """
    due = Connection.objects.to_survey().filter(pk=connection_id)
    if not due.update(surveyed_at=Now()):
        return "not due"
    connection = Connection.objects.get(pk=connection_id)
    keys = connection.keys
    capabilities, doors = read_capabilities(api_url=connection.api_url, keys=keys)
    if all(is_there is None for is_there in capabilities.values()):
        connection.row.update(surveyed_at=Now() - EVERY + AGAIN)
        return "not now"
    with transaction.atomic():
        locked = connection.row.select_for_update(no_key=True)
        before: dict[str, bool] = locked.get().capabilities
        # What could not be found out this time stays as it was, unless the key for it
        # was removed.
        updated = {
            name: is_there
            for name, is_there in before.items()
            if name in WORDS and keys[WORDS[name][1]]
        }
        updated |= {
            name: is_there
            for name, is_there in capabilities.items()
            if is_there is not None
        }
        connection.row.update(capabilities=updated, doors=doors)
        changed_names = [
            name
            for name, is_there in updated.items()
            if before.get(name, is_there) != is_there
        ]
        if not changed_names:
            return "as before" if before else "learnt"
        after = _abilities_in_words(updated, changed_names)
        record_of_connection(
            "connection.capability_changed",
            connection,
            ACTOR,
            explanation=f"Seen now: {after}.",
            before=_abilities_in_words(before, changed_names),
            after=after,
        )
    return "changed"


def _abilities_in_words(known: dict[str, bool], names: list[str]) -> str:
    return "; ".join(
        f"{WORDS[name][0]}: {'yes' if known[name] else 'no'}" for name in names
    )


def without_refused(connection: Connection, call: Callable[..., T]) -> T:
    """Make a call without the optional fields that MultiMail refused on this connection
    before. If it refuses more of them now, repeat the call without these too.

    Repeating is safe, because a refused call (422) has no effect. It ends, because each
    refusal leaves out at least one more field.
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
    """Store the fields that MultiMail refused on this connection, and record those that
    are new.
    """
    locked = connection.row.select_for_update(no_key=True)
    before: list[str] = locked.values_list("refused_fields", flat=True).get()
    new = [name for name in error.fields if name not in before]
    connection.refused_fields = [*before, *new]
    if new:
        connection.row.update(refused_fields=connection.refused_fields)
        explanation = f"{error.sentence} Left out from now on: {', '.join(new)}."
        record_of_connection(
            "connection.fields_refused", connection, actor, explanation=explanation
        )
