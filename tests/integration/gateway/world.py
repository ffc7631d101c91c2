"""Helpers for the gateway's tests: an account with a mailbox and keys (`World`), the
API calls with them, and questions about the database.
"""

import itertools
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import transaction
from django.http import HttpResponse
from django.test import Client, TestCase
from django.utils import timezone

from common.tasks import AfterCommitTask
from gateway import sweeping
from gateway.accounts import register_key
from gateway.mailboxes import make_mailbox
from gateway.messages import outbox
from gateway.models import (
    Account,
    Allowlist,
    ApiKey,
    ApprovalRequest,
    AuditLogEntry,
    Email,
    Mailbox,
    Webhook,
    WebhookDelivery,
)
from gateway.models.accounts import hash_key
from gateway.states import Direction, Mode, Status
from tests.factories import change_row

_numbers = itertools.count(1)

SCOPES = {
    "agent": ["read", "send"],
    "desk": ["oversight"],
    "reader": ["read"],
    "watcher": ["oversight_read"],
    "watching reader": ["read", "oversight_read"],
    "admin": ["admin"],
}


class Calls:
    """Shortcuts for a class with `call`: one for each HTTP method."""

    def post(self, path, key="agent", **fields):
        """Send fields, and return the response."""
        return self.call("POST", path, key=key, json=fields or None)

    def patch(self, path, key="admin", **fields):
        """Change something, and return the response."""
        return self.call("PATCH", path, key=key, json=fields)

    def put(self, path, key="admin", **fields):
        """Replace something, and return the response."""
        return self.call("PUT", path, key=key, json=fields)

    def delete(self, path, key="admin"):
        """Delete something, and return the response."""
        return self.call("DELETE", path, key=key)


@dataclass
class World(Calls):
    """One account with a mailbox, and one key for each entry of `SCOPES`."""

    account: Account
    mailbox: Mailbox
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def base(self):
        return f"/v1/mailboxes/{self.mailbox.pk}"

    def call(self, method, path, *, key="agent", json=None, **headers):
        """Call the API with one of the keys; return the response, which must be
        JSON. What is sent in pieces is read to its end.
        """
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {self.keys[key]}")
        sent = (
            {} if json is None else {"data": json, "content_type": "application/json"}
        )
        return read_to_end(
            getattr(Client(), method.lower())(path, headers=headers, **sent)
        )

    def get(self, path, *, key="agent", **headers):
        """Read something, and return the answer's JSON."""
        return self.call("GET", path, key=key, **headers).json()

    def send(self, key="agent", **fields):
        """Send a message with unique content."""
        body = {
            "to": ["dana@northwind.example"],
            "subject": f"Letter {next(_numbers)}",
            "markdown": "Hello",
            **fields,
        }
        return self.post(f"{self.base}/send", key=key, **body)

    def held(self, **fields):
        """Send a message that is held, and return its id."""
        answer = self.send(**fields)
        assert answer.status_code == 202, answer.content
        return str(answer.json()["id"])

    def decide(self, email_id, action="approve", key="desk", **fields):
        """Decide over HTTP."""
        body = {"email_id": email_id, "action": action, **fields}
        return self.post("/v1/oversight/decide", key=key, **body)

    def approved(self, **fields):
        """Send and approve a message, and return it while it waits in the outbox."""
        email_id = self.held(**fields)
        assert self.decide(email_id).status_code == 200
        return Email.objects.get(pk=email_id)

    def pending(self, **parameters):
        """Return the page of held messages."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return self.call("GET", f"/v1/oversight/pending?{query}", key="desk").json()

    def walk(self, path, rows, *, key="agent"):
        """Read a list to its end, two rows a page."""
        found = []
        cursor = ""
        while cursor is not None:
            page = self.call("GET", f"{path}?limit=2&cursor={cursor}", key=key).json()
            assert len(page[rows]) <= 2
            found = found + page[rows]
            cursor = page["cursor"]
        return found

    def allow(self, *entries, kind="restriction", mode="enforce", **fields):
        """Replace an allowlist of the mailbox, by default from its present version.

        A bypass is confirmed with its approval code, if it needs one.
        """
        stored = Allowlist.objects.filter(mailbox=self.mailbox, kind=kind).values_list(
            "version", flat=True
        )
        body = {
            "kind": kind,
            "mode": mode,
            "version": stored.first() or 0,
            "entries": list(entries),
            **fields,
        }
        answer = self.put(f"{self.base}/allowlist", **body)
        if kind == "bypass" and answer.status_code == 202:
            body["approval_code"] = ApprovalRequest.objects.latest("created_at").code
            answer = self.put(f"{self.base}/allowlist", **body)
        return answer

    def key_id(self, key):
        """Return the id of one of the keys."""
        return str(
            ApiKey.objects.values_list("pk", flat=True).get(
                sha256=hash_key(self.keys[key])
            )
        )

    def listen(self, *events, url="https://hooks.example.org/x"):
        """Subscribe to events without the API, which accepts only https."""
        secret = "whsec_geheim"
        return Webhook.objects.create(
            account=self.account, url=url, events=list(events), secret=secret
        )


def read_to_end(answer):
    """Return an answer that is sent in pieces as one that has its whole content."""
    if not answer.streaming:
        return answer
    whole = HttpResponse(
        answer.getvalue(), status=answer.status_code, headers=answer.headers
    )
    whole.json = lambda: json.loads(whole.content)
    return whole


def make_world(slug="acme", mode=Mode.GATED_SEND, **fields):
    """Make an account with a mailbox and keys. `fields` are set on the mailbox."""
    account, _ = Account.objects.get_or_create(
        slug=slug, defaults={"name": slug.title()}
    )
    mailbox = make_mailbox(
        account,
        address=f"support@{slug}.example",
        display_name="Support",
        mode=mode,
    )
    change_row(mailbox, **fields)
    mailbox.refresh_from_db()
    world = World(account, mailbox, {name: f"mm_live_{slug}_{name}" for name in SCOPES})
    # In bulk, because nearly every test creates them.
    ApiKey.objects.bulk_create(
        ApiKey(
            account=account,
            name=f"Key {name}",
            scopes=scopes,
            prefix=f"{text[:11]}...",
            sha256=hash_key(text),
        )
        for (name, scopes), text in zip(
            SCOPES.items(), world.keys.values(), strict=True
        )
    )
    return world


def add_key(world, name, scopes, *, prefix="mm_live_", **limits):
    """Give the account one more key, limited to `mailbox_ids=` where they are named."""
    text = f"{prefix}{world.account.slug}_{name}"
    register_key(world.account, text, name=f"Key {name}", scopes=scopes, **limits)
    world.keys[name] = text
    return text


def add_mailbox(world, name):
    """Give the account one more mailbox, of this name at its domain."""
    address = f"{name}@{world.account.slug}.example"
    return make_mailbox(world.account, address=address, display_name=name)


def add_sandbox_keys(world):
    """Give the account the sandbox keys `tester`, `test desk` and `test admin`."""
    for name, scopes in {
        "tester": ["read", "send"],
        "test desk": ["oversight"],
        "test admin": ["admin"],
    }.items():
        add_key(world, name, scopes, prefix="mm_test_")


def make_inbound(world, *, status=Status.UNREAD, **fields):
    """Put a received email into the mailbox."""
    values = {
        "account": world.account,
        "mailbox": world.mailbox,
        "direction": Direction.INBOUND,
        "status": status,
        "sandbox": False,
        "created_at": timezone.now(),
        "from_address": "dana@northwind.example",
        "to": [world.mailbox.address],
        "subject": f"Question {next(_numbers)}",
        "markdown": "Where is it?",
        "message_id_header": "<q@northwind.example>",
        "thread_id": "t",
        "oversight_mode": world.mailbox.oversight_mode,
        **fields,
    }
    return Email.objects.create(**values)


def events_of(email_id):
    """The events that were planned about an email, in order."""
    return list(
        WebhookDelivery.objects.filter(email_id=email_id)
        .order_by("pk")
        .values_list("event", flat=True)
    )


def event_of(name):
    """The data of the only event with this name."""
    return json.loads(bytes(WebhookDelivery.objects.get(event=name).body))


def end_lease(email):
    """Make the lease of an email's claim expire."""
    past = timezone.now() - timedelta(seconds=1)
    change_row(email, lease_until=past)


def noted(action):
    """The only entry of the audit logs with this action."""
    return AuditLogEntry.objects.get(action=action)


def times_noted(action):
    """How many entries of the audit logs have this action."""
    return AuditLogEntry.objects.filter(action=action).count()


def status_of(email):
    """The status of an email as it is stored now."""
    return Email.objects.values_list("status", flat=True).get(
        pk=getattr(email, "pk", email)
    )


def leave(email):
    """Make one attempt to send an email, as a worker does, and read its row again.
    Return the result.
    """
    if isinstance(email, str):
        return outbox.send_due(email)
    result = outbox.send_due(email.pk)
    email.refresh_from_db()
    return result


def refusal_of(answer):
    """The status and the code of an error."""
    return answer.status_code, answer.json()["code"]


def bad_field_of(answer):
    """The status of an error, and the field that it names."""
    return answer.status_code, answer.json().get("field")


@contextmanager
def undone():
    """Roll back what the block stores, for tests that loop over cases."""
    atomic = transaction.atomic()
    # Allow durable transactions inside, as pytest-django does around a test.
    atomic._from_testcase = True
    with atomic:
        yield
        transaction.set_rollback(True)


def catch_tasks(monkeypatch, take):
    """Call `take` with (task name, *arguments), in place of sending tasks."""

    def send(task, args, kwargs=None, **options):
        take((task.name, *args))

    monkeypatch.setattr(AfterCommitTask, "_send", send)


def sweep_and_catch_wake_ups(monkeypatch):
    """Sweep once. Return the tasks that it would send, in order, as (task name,
    row).
    """
    sent = []
    catch_tasks(monkeypatch, sent.append)
    with TestCase.captureOnCommitCallbacks(execute=True):
        sweeping.sweep()
    return sent
