"""Commands that register, test, replay and delete webhooks of a MultiMail account and
change their secrets; and functions that read them and their deliveries.

A command with `second_admin` yields the change in words: if a second admin must accept
that, the call ends there, and the command is called again when it is accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from django.urls import reverse

from common.actors import Actor
from connections.changes import (
    ChangeNotOffered,
    ChangeRefused,
    ChangeUnknown,
    SecretLost,
    check_admin,
    connection_in_words,
    read_account,
    record_change,
    request_change,
    text_in,
)
from mirror.models import Connection
from mirror.sync.account import without_refused
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin
from upstream.events import read_time

_request = partial(request_change, failed="hook.change_failed")


@dataclass(frozen=True)
class Webhook:
    """A subscription. `is_ours`: it notifies this desk. Only a webhook that was just
    registered or got a new secret has its `secret`, which is shown once and not stored.
    """

    id: str
    url: str
    events: tuple[str, ...]
    mailbox_id: str
    created_at: datetime | None
    is_active: bool
    last_error: str
    is_ours: bool
    secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class Delivery:
    """One delivery of an event to a webhook."""

    id: str
    event: str
    url: str
    status: str
    attempts: int
    answered: int | None
    error: str
    at: datetime | None
    next_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether the delivery is finished, so that it can be sent again."""
        return self.status in ("delivered", "failed")


def read_webhooks(connection: Connection, *, actor: Actor) -> list[Webhook]:
    """Read the webhooks of an account, the desk's own first. Raises ActNotAllowed,
    ChangeRefused, ChangeUnknown.
    """
    rows = read_account(
        connection, actor, lambda admin: admin.list_webhooks(), may="see its webhooks"
    )
    webhooks = [_webhook(row, connection) for row in rows]
    return sorted(webhooks, key=lambda one: (not one.is_ours, one.url, one.id))


def read_webhook(connection: Connection, webhook_id: str, *, actor: Actor) -> Webhook:
    """Read one webhook. Raises ChangeNotOffered if the account has none with this id,
    and as read_webhooks.
    """
    for webhook in read_webhooks(connection, actor=actor):
        if webhook.id == webhook_id:
            return webhook
    raise ChangeNotOffered("MultiMail has no webhook of this id in this account.")


def read_deliveries(
    connection: Connection, *, actor: Actor, webhook: Webhook, cursor: str
) -> tuple[list[Delivery], str]:
    """Read one page of deliveries, newest first, with the cursor of the next page.
    Raises as read_webhooks.
    """
    rows, following = read_account(
        connection,
        actor,
        lambda admin: without_refused(
            connection,
            partial(admin.list_deliveries, webhook_id=webhook.id, cursor=cursor),
        ),
        may="see what its webhooks were sent",
    )
    deliveries = []
    for row in rows:
        # Hosted MultiMail neither says to which webhook a delivery belongs, nor can it
        # filter by that. Then the URL decides.
        its_webhook = row.get("webhook_id") or row.get("subscription_id")
        answered = row.get("response_status")
        attempts = row.get("attempts")
        delivery = Delivery(
            id=text_in(row, "id"),
            event=text_in(row, "event_type", "event", most=80),
            url=text_in(row, "url"),
            status=text_in(row, "status", most=20),
            attempts=attempts if isinstance(attempts, int) else 0,
            answered=answered if isinstance(answered, int) else None,
            error=text_in(row, "last_error", most=300),
            at=read_time(row.get("created_at")),
            next_at=read_time(row.get("next_attempt_at")),
        )
        if (
            str(its_webhook) == webhook.id
            if its_webhook
            else delivery.url == webhook.url
        ):
            deliveries.append(delivery)
    return deliveries, following


def _in_words(
    connection: Connection, webhook: Webhook, actor: Actor, did: str, **arguments: Any
) -> ChangeInWords:
    """Return a change of a webhook as a second admin reads it, with the webhook as it
    is now at MultiMail. `did` says what the command does; `arguments` are the
    command's.
    """
    now = read_webhook(connection, webhook.id, actor=actor)
    return ChangeInWords(
        title=f"Webhook {now.url}: {did}",
        before=listed({"url": now.url, "events": now.events}),
        after=listed(arguments) or did,
        page=reverse("webhook", args=[connection.pk, now.id]),
        connection=connection.pk,
    )


@second_admin(
    "Webhook",
    calls_multimail=True,
    secrets=("wanted",),
    made=lambda created: created.secret,
)
def register_webhook(
    *, connection: Connection, actor: Actor, wanted: Mapping[str, Any], code: str = ""
) -> CanWait[Webhook]:
    """Register a webhook: MultiMail sends these events to its address. The call is
    never repeated: if the answer is lost, the list shows whether it was registered.
    """
    check_admin(actor, connection, may="register webhooks in it")
    yield lambda: ChangeInWords(
        title=f"{connection}: register a webhook",
        before=connection_in_words(connection),
        after=listed(
            {
                **wanted,
                "mailbox_id": wanted.get("mailbox_id") or "all mailboxes",
                "secret": "",
            }
        ),
        page=reverse("webhooks"),
        connection=connection.pk,
    )
    body = {name: value for name, value in wanted.items() if value}
    if connection.is_our_gateway:
        body["include_sandbox"] = wanted["include_sandbox"]
    try:
        answer = _request(
            connection,
            actor,
            lambda admin: without_refused(
                connection, partial(admin.create_webhook, body)
            ),
            what=f"register a webhook: {', '.join(wanted['events'])} to {wanted['url']}",
            code=code,
        )
    except ChangeUnknown as unknown:
        raise SecretLost(
            f"{unknown.sentence} If the list shows this address now, the webhook was registered and its secret was "
            "lost: make a new one, or delete it. If not, register it again."
        ) from None
    webhook = _webhook(answer, connection)
    events = ", ".join(webhook.events)
    record_change(
        "hook.registered", connection, actor, url=webhook.url, before="", after=events
    )
    return replace(webhook, secret=_secret_in(answer))


@second_admin("Webhook", calls_multimail=True, made=lambda rotated: rotated.secret)
def rotate_webhook(
    *, connection: Connection, webhook: Webhook, actor: Actor, overlap_s: int
) -> CanWait[Webhook]:
    """Give a webhook another secret, which replaces the old one when the overlap is
    over (our gateway only). Raises ActNotAllowed, ChangeRefused, ChangeUnknown.
    """
    check_admin(actor, connection, may="give its webhooks other secrets")
    yield lambda: _in_words(
        connection, webhook, actor, "make another secret", overlap_s=overlap_s
    )
    if webhook.is_ours:
        raise ChangeRefused(
            "This is the desk's own webhook. Change its secret on the connection's page."
        )
    answer = _request(
        connection,
        actor,
        lambda admin: admin.rotate_webhook(webhook.id, overlap_s=overlap_s),
        what=f"give the webhook {webhook.url} another secret",
    )
    record_change(
        "hook.rotated",
        connection,
        actor,
        url=webhook.url,
        before="its secret until now",
        after=f"another one; the old one for {overlap_s} seconds more",
    )
    return replace(webhook, secret=_secret_in(answer))


def send_test(*, connection: Connection, webhook: Webhook, actor: Actor) -> None:
    """Have our gateway send one signed test event, which is about no message. Raises
    ActNotAllowed, ChangeRefused, ChangeUnknown.
    """
    check_admin(actor, connection, may="test its webhooks")
    _request(
        connection,
        actor,
        lambda admin: admin.test_webhook(webhook.id),
        what=f"test the webhook {webhook.url}",
    )
    record_change("hook.tested", connection, actor, url=webhook.url)


def replay(
    *, connection: Connection, webhook: Webhook, delivery_id: str, actor: Actor
) -> None:
    """Have our gateway send a finished delivery again: the same bytes with the same
    event id. Raises ActNotAllowed, ChangeRefused, ChangeUnknown.
    """
    check_admin(actor, connection, may="have its webhooks delivered again")
    _request(
        connection,
        actor,
        lambda admin: admin.replay_delivery(delivery_id),
        what=f"deliver {delivery_id} to the webhook {webhook.url} again",
    )
    record_change(
        "hook.replayed", connection, actor, url=webhook.url, delivery=delivery_id
    )


@second_admin("Webhook", calls_multimail=True)
def delete_webhook(
    *, connection: Connection, webhook: Webhook, actor: Actor
) -> CanWait[None]:
    """Delete a webhook. Raises ActNotAllowed, ChangeRefused, ChangeUnknown."""
    check_admin(actor, connection, may="delete its webhooks")
    yield lambda: _in_words(connection, webhook, actor, "delete it")

    def is_deleted() -> bool:
        try:
            webhooks = read_webhooks(connection, actor=actor)
        except (ChangeRefused, ChangeUnknown):
            return False
        return all(one.id != webhook.id for one in webhooks)

    _request(
        connection,
        actor,
        lambda admin: admin.delete_webhook(webhook.id),
        what=f"delete the webhook {webhook.url}",
        has_happened=is_deleted,
    )
    connection.row.filter(upstream_webhook_id=webhook.id).update(
        upstream_webhook_id="", webhook_since=None
    )
    events = ", ".join(webhook.events)
    record_change(
        "hook.deleted", connection, actor, url=webhook.url, before=events, after=""
    )


# Returns the webhook that a row of MultiMail's list describes.
def _webhook(row: Mapping[str, Any], connection: Connection) -> Webhook:
    url = text_in(row, "url")
    webhook_id = text_in(row, "id")
    names = row.get("events")
    events = tuple(str(one)[:80] for one in names) if isinstance(names, list) else ()
    is_ours = (
        webhook_id == connection.upstream_webhook_id or connection.webhook_id in url
    )
    return Webhook(
        id=webhook_id,
        url=url,
        events=events,
        mailbox_id=text_in(row, "mailbox_id"),
        created_at=read_time(row.get("created_at")),
        is_active=bool(row.get("is_active", True)),
        last_error=text_in(row, "last_error", most=300),
        is_ours=is_ours,
    )


def _secret_in(answer: Mapping[str, Any]) -> str:
    secret = text_in(answer, "signing_secret", "secret")
    if not secret:
        raise SecretLost(
            "MultiMail's answer has no secret. Make a new one, or delete the webhook."
        )
    return secret
