"""Makes the database rows that tests start with (people, connections, messages, lists),
by the product's own commands if there is one.
"""

import itertools
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.utils import timezone

from approvals.held_rows import store_revision
from approvals.intake import ingest
from approvals.reconcile import closing
from common.actors import Actor, worker
from common.mail_addresses import read_pattern
from common.postgres import clock
from mirror import store
from mirror.models import Connection, Mailbox, Message
from mirror.sync.reads import UpstreamStatus
from people.identities import Identities
from people.models import Grant, Person
from policy.errors import seen_state
from policy.models import AllowEntry, Allowlist, PolicyVersion
from policy.rules.changes import WantedEntry, apply_change, in_words
from upstream.signatures import HEADER, sign

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
SECRET = "whsec_of_the_tests"
MAILBOX = {"upstream_id": "01MAILBOX", "address": "support@yourteam.example"}
_numbers = itertools.count(1)


def make_person(email, name, role="", **scope):
    """Make a person, with a role for everything, or for `connection=` or `mailbox=`."""
    person = Person.objects.create_user(
        email=email, name=name, password="correct horse battery"
    )
    if role:
        Grant.objects.create(person=person, role=role, **scope)
    return person


def actor_of(person):
    """Return a person as the actor of a page's command, with the present roles."""
    return Person.objects.get(pk=person.pk).actor(surface="web")


def make_connection(slug="main", **fields):
    """Make a connection whose webhook secret is SECRET, with one mailbox."""
    values = {
        "name": f"Gateway {slug}",
        "api_url": "http://127.0.0.1:1",
        "webhook_secret": SECRET,
        "oversight_key": "mm_live_oversight",
        "is_our_gateway": True,
        "surveyed_at": timezone.now(),
        **fields,
    }
    connection = Connection.objects.create(slug=slug, **values)
    Mailbox.objects.create(
        connection=connection, undo_window=timedelta(seconds=5), **MAILBOX
    )
    return connection


def event_body(name="oversight.pending", **fields):
    """Return a webhook's body in the gateway's envelope."""
    number = next(_numbers)
    inner = {
        "email_id": f"01EMAIL{number}",
        "mailbox_id": MAILBOX["upstream_id"],
        "mailbox": MAILBOX["address"],
        "from": MAILBOX["address"],
        "to": ["dana@northwind.example"],
        "subject": "Your refund for order 4471",
        "direction": "outbound",
        "status": "pending_send_approval",
        "metadata": {
            "discord_user": "ana#1",
            "discord_channel": "outreach",
            "discord_guild": "Acme",
        },
        **fields,
    }
    top = {"event": name, "type": name, "event_type": name, "event_id": f"evt{number}"}
    # The present time: an event that is long past would count as late.
    top["timestamp"] = datetime.now(UTC).isoformat()
    return json.dumps({**top, **inner, "data": inner}, ensure_ascii=False).encode()


def post_event(client, connection, body, **headers):
    """Post a signed webhook as MultiMail does."""
    sent = {HEADER: sign(body, SECRET), **headers}
    return client.post(
        f"/webhooks/multimail/{connection.webhook_id}/",
        body,
        content_type="application/json",
        headers=sent,
    )


def post_confirmed(client, connection, body):
    """Post a signed webhook that reports the end of a message, and confirm it as a read
    of MultiMail would.
    """
    answer = post_event(client, connection, body)
    confirm_reports()
    return answer


def confirm_reports():
    """Confirm what webhooks reported about ended messages, as a read would that finds
    them gone at MultiMail.
    """
    for message in Message.objects.reported_unconfirmed().select_related("connection"):
        closing.close(message, UpstreamStatus(), clock(), clock())
        closing.catch_up(message, UpstreamStatus(), clock(), clock())


def pending_row(upstream_id, **fields):
    """Return a row of list_pending with everything that a fingerprint needs."""
    return {
        "id": upstream_id,
        "mailbox_id": MAILBOX["upstream_id"],
        "mailbox": MAILBOX["address"],
        "direction": "outbound",
        "status": "pending_send_approval",
        "from": MAILBOX["address"],
        "from_name": "Your Team Support",
        "reply_to": None,
        "to_addresses": ["dana@northwind.example"],
        "cc": [],
        "bcc": [],
        "subject": "Your refund for order 4471",
        "markdown": "Hello **Dana**,\n\nyour refund is on its way.",
        "html_body": None,
        "in_reply_to": None,
        "attachments": [],
        "additions": {},
        "send_at": None,
        "received_at": NOW.isoformat(),
        "metadata": {
            "discord_user": "ana#1",
            "discord_channel": "outreach",
            "discord_guild": "Acme",
        },
        **fields,
    }


def make_message(connection, *, hydrated=True, **fields):
    """Make a held message, by the webhook that announces it and, if it is to be
    `hydrated`, the pending row with its content.
    """
    body = event_body(
        **{
            name: value
            for name, value in fields.items()
            if name in ("subject", "metadata", "to")
        }
    )
    stored = ingest.receive_webhook(
        connection=connection, body=body, secret_used="current"
    )
    assert stored.fetch is not None
    if hydrated:
        show_row(stored.fetch, **fields)
    return Message.objects.get(pk=stored.fetch.pk)


def show_row(message, **fields):
    """Let the mirror read a pending row of this message, as reconciliation would."""
    with transaction.atomic():
        locked = store.lock_message(message.connection, upstream_id=message.upstream_id)
        assert locked is not None
        row = pending_row(message.upstream_id, **fields)
        store_revision(
            locked,
            row=row,
            examined=store.examined_content(locked, store.content_of(row)),
            actor=worker("sync"),
            now=NOW + timedelta(seconds=1),
        )
    return locked


def change_row(row, **fields):
    """Update columns of a row directly in the database; the object does not change."""
    type(row).objects.filter(pk=row.pk).update(**fields)


@contextmanager
def rolled_back():
    """Undo what the block wrote, so that several cases can share a set-up."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def make_list(*patterns, name="", **scope):
    """Make a list with these entries, or add them to the one of this name; for all mail,
    or for `connection=` or `mailbox=`.
    """
    made, _ = Allowlist.objects.get_or_create(
        name=name or str(next(iter(scope.values()), "All")), defaults=scope
    )
    for pattern in patterns:
        AllowEntry.objects.get_or_create(allowlist=made, pattern=read_pattern(pattern))
    return made


def put_in_force(*rules):
    """Make a version of these rules the active one, and return it. Each rule is what it
    asks, or its conditions and what it asks.
    """
    PolicyVersion.objects.active().update(state="retired", retired_at=Now())
    written = [one if "then" in one else {"then": one} for one in rules]
    stored = [
        {"id": f"r{place}", "name": f"Rule {place}", **one}
        for place, one in enumerate(written)
    ]
    last = PolicyVersion.objects.aggregate(number=Max("number"))["number"]
    return PolicyVersion.objects.create(
        number=(last or 0) + 1,
        rules=stored,
        state="active",
        activated_at=clock(),
    )


def reject_others(*lists, **when):
    """Put a policy in force whose one rule rejects what goes to somebody on none of
    these lists, and return the version.
    """
    when = {"lists_except": sorted(one.pk for one in lists), **when}
    return put_in_force(
        {"when": when, "then": {"reject": "Nobody else may be written to."}}
    )


def change_list(by, *patterns, at=None, remove=(), **wanted):
    """Change the present version of an allowlist (of the only one, if none is given), as
    its page does.
    """
    at = Allowlist.objects.get(pk=at.pk) if at else Allowlist.objects.get()
    return apply_change(
        allowlist=at,
        put=[WantedEntry(read_pattern(one), **wanted) for one in patterns],
        remove=remove,
        seen=seen_state(in_words(at)),
        actor=by if isinstance(by, Actor) else actor_of(by),
    )


def listed_patterns(**which):
    """Return the patterns of all list entries, or of those that match these fields."""
    entries = AllowEntry.objects.filter(**which)
    return sorted(entries.values_list("pattern", flat=True))


def nobody_else():
    """Identities of which each is one account; for tests without a database."""
    identities = Identities()
    vars(identities)["_links"] = {}
    return identities
