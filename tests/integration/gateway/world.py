"""A small world for the gateway's tests: accounts with keys and mailboxes, and a caller that speaks HTTP to it."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client, TestCase
from django.utils import timezone

from gateway import compose, sweeping
from gateway.models import Account, Email, Mailbox, Webhook, WebhookDelivery
from gateway.modes import Mode
from gateway.provision import make_account, make_mailbox, register_key
from gateway.states import Direction, Status

_numbers = itertools.count(1)

SCOPES = {
    "agent": ["read", "send"],
    "desk": ["oversight"],
    "reader": ["read"],
    "watcher": ["oversight_read"],
    "admin": ["admin"],
}


@dataclass
class World:
    """One account with a gated mailbox and a key of every kind."""

    account: Account
    mailbox: Mailbox
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return f"/v1/mailboxes/{self.mailbox.pk}"

    def call(self, method: str, path: str, *, key: str | None = "agent", json: Any = None, **headers: str) -> Any:
        """Call the API with one of the keys; JSON in, the response out, and never anything but JSON."""
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {self.keys[key]}")
        sent: dict[str, Any] = {} if json is None else {"data": json, "content_type": "application/json"}
        return getattr(Client(), method.lower())(path, headers=headers, **sent)

    def send(self, key: str = "agent", **fields: Any) -> Any:
        """Send a letter of its own content."""
        body = {"to": ["dana@northwind.example"], "subject": f"Letter {next(_numbers)}", "markdown": "Hello", **fields}
        return self.call("POST", f"{self.base}/send", key=key, json=body)

    def held(self, **fields: Any) -> str:
        """Send a letter that is held, and return its id."""
        answer = self.send(**fields)
        assert answer.status_code == 202, answer.content
        return str(answer.json()["id"])

    def decide(self, email_id: str, action: str = "approve", key: str = "desk", **fields: Any) -> Any:
        """Decide over HTTP."""
        body = {"email_id": email_id, "action": action, **fields}
        return self.call("POST", "/v1/oversight/decide", key=key, json=body)

    def approved(self, **fields: Any) -> Email:
        """Send a letter and approve it, and return it as it waits in the outbox."""
        email_id = self.held(**fields)
        assert self.decide(email_id).status_code == 200
        return Email.objects.get(pk=email_id)

    def pending(self, **parameters: str) -> Any:
        """List what is held."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return self.call("GET", f"/v1/oversight/pending?{query}", key="desk").json()

    def listen(self, *events: str, url: str = "https://hooks.example.org/x") -> Webhook:
        """Subscribe to events without asking the API, which refuses what is not https."""
        secret = "whsec_geheim"
        return Webhook.objects.create(account=self.account, url=url, events=list(events), secret=secret)


def make_world(slug: str = "acme", mode: Mode = Mode.GATED_SEND, **fields: Any) -> World:
    """Make an account."""
    account = make_account(name=slug.title(), slug=slug)
    mailbox = make_mailbox(account=account, address=f"support@{slug}.example", display_name="Support", mode=mode)
    Mailbox.objects.filter(pk=mailbox.pk).update(**fields)
    mailbox.refresh_from_db()
    world = World(account, mailbox)
    for name, scopes in SCOPES.items():
        add_key(world, name, scopes)
    return world


def add_key(world: World, name: str, scopes: list[str], *, prefix: str = "mm_live_") -> str:
    """Give the account one more key."""
    text = f"{prefix}{world.account.slug}_{name}"
    register_key(account=world.account, name=f"Key {name}", scopes=scopes, text=text)
    world.keys[name] = text
    return text


def make_inbound(world: World, *, status: Status = Status.UNREAD, **fields: Any) -> Email:
    """Put a received email into the mailbox."""
    values: dict[str, Any] = {
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


def events_of(email_id: str) -> list[str]:
    """The events that were planned about an email, in order."""
    return list(WebhookDelivery.objects.filter(email_id=email_id).order_by("pk").values_list("event", flat=True))


def sweep_and_catch_nudges(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Sweep once, and return what it would have handed to workers: the task's name and the row, in order."""
    nudged: list[tuple[str, object]] = []
    monkeypatch.setattr("common.nudge._send_task", lambda task, row_id, countdown: nudged.append((task, row_id)))
    with TestCase.captureOnCommitCallbacks(execute=True):
        sweeping.sweep(now=timezone.now())
    return nudged


def move_on_everything() -> None:
    """Do what the sweep does for mail whose request ended early."""
    for email in Email.objects.filter(status=Status.PENDING_SCAN).with_mailbox():
        compose.move_on(email=email, now=timezone.now())
