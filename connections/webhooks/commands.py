"""Registers, tests and ends webhooks of an account, and looks into what was sent to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.recording import changed
from connections.calls import READ_SECONDS
from connections.changes import as_admin, ask_for, check_admin, note, told_as
from connections.errors import ChangeNotOffered, ChangeRefused, ChangeUnknown
from mirror.models import Connection
from people.actors import Actor
from upstream import errors
from upstream.events import read_time


@dataclass(frozen=True)
class Hook:
    """A subscription without its secret. `is_ours`: the desk itself hears by it what is held."""

    id: str
    url: str
    events: tuple[str, ...]
    mailbox_id: str
    created_at: datetime | None
    is_active: bool
    last_error: str
    is_ours: bool


@dataclass(frozen=True)
class Sent:
    """One event on its way to a webhook, or behind it."""

    id: str
    event: str
    url: str
    status: str
    attempts: int
    answered: int | None
    problem: str
    at: datetime | None
    last_at: datetime | None
    next_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether it can be sent again: what is still on its way cannot."""
        return self.status in ("delivered", "failed")


@dataclass(frozen=True)
class HookMade:
    """A subscription with a secret that is shown once and kept nowhere here."""

    hook: Hook
    secret: str


def read_hooks(connection: Connection, *, actor: Actor) -> list[Hook]:
    """Read the webhooks of an account, the desk's own first. Raises ActNotAllowed, ChangeRefused, ChangeUnknown."""
    check_admin(actor, connection, may="see its webhooks")
    try:
        rows = as_admin(connection, within=READ_SECONDS).list_webhooks()
    except errors.UpstreamError as error:
        raise told_as(error) from None
    return sorted((_hook(row, connection) for row in rows), key=lambda one: (not one.is_ours, one.url, one.id))


def read_hook(connection: Connection, hook_id: str, *, actor: Actor) -> Hook:
    """Read one subscription. Raises ChangeNotOffered where the account has none of this id, or as read_hooks."""
    found = next((one for one in read_hooks(connection, actor=actor) if one.id == hook_id), None)
    if found is None:
        raise ChangeNotOffered("MultiMail has no webhook of this id in this account.")
    return found


def read_sent(
    connection: Connection, *, actor: Actor, hook: Hook | None = None, cursor: str = ""
) -> tuple[list[Sent], str]:
    """Read one page of what was sent, newest first, with the cursor of the next page. Raises as read_hooks."""
    check_admin(actor, connection, may="see what its webhooks were sent")
    try:
        upstream = as_admin(connection, within=READ_SECONDS)
        rows, following = upstream.list_deliveries(webhook_id=hook.id if hook else "", cursor=cursor)
    except errors.UpstreamError as error:
        raise told_as(error) from None
    # Hosted MultiMail does not say which subscription each belongs to, nor does it ask for one alone.
    mine = [row for row in rows if hook is None or _is_of(row, hook)]
    return [_sent(row) for row in mine], following


def register_hook(*, connection: Connection, actor: Actor, wanted: Mapping[str, Any], code: str = "") -> HookMade:
    """Subscribe an address to events: asked for once. Where the answer is lost, the list tells. Raises as above."""
    check_admin(actor, connection, may="register webhooks in it")
    upstream = as_admin(connection)
    body = {name: value for name, value in wanted.items() if value} | ({"approval_code": code} if code else {})
    try:
        answer = ask_for(
            lambda: upstream.create_webhook(body),
            what=f"send {', '.join(wanted['events'])} to {wanted['url']}",
            failed="hook.change_failed",
            connection=connection,
            actor=actor,
        )
    except ChangeUnknown as doubt:
        raise ChangeUnknown(
            f"{doubt.sentence} If the list shows this address now, it was registered, and its secret was lost on the "
            "way: give it a new one, or delete it. If it does not, register it once more."
        ) from None
    hook = _hook(answer, connection)
    note("hook.registered", connection, actor, url=hook.url, **changed(before="", after=", ".join(hook.events)))
    return HookMade(hook, _secret_in(answer))


def rotate_hook(*, connection: Connection, hook: Hook, actor: Actor, overlap_s: int) -> HookMade:
    """Have another secret made, which signs alone when the overlap is over (our gateway). Raises as the others."""
    check_admin(actor, connection, may="give its webhooks other secrets")
    if hook.is_ours:
        raise ChangeRefused(
            "The desk hears by this webhook. Change its secret on the connection's page: both must know."
        )
    upstream = as_admin(connection)
    answer = ask_for(
        lambda: upstream.rotate_webhook(hook.id, overlap_s=overlap_s),
        what=f"give the webhook {hook.url} another secret",
        failed="hook.change_failed",
        connection=connection,
        actor=actor,
    )
    told = changed(before="its secret until now", after=f"another one; the old one for {overlap_s} seconds more")
    note("hook.rotated", connection, actor, url=hook.url, **told)
    return HookMade(hook, _secret_in(answer))


def try_hook(*, connection: Connection, hook: Hook, actor: Actor) -> Sent:
    """Have one signed event sent that is about no message (our gateway). Raises as the others."""
    check_admin(actor, connection, may="test its webhooks")
    upstream = as_admin(connection)
    answer = ask_for(
        lambda: upstream.test_webhook(hook.id),
        what=f"test the webhook {hook.url}",
        failed="hook.change_failed",
        connection=connection,
        actor=actor,
    )
    note("hook.tested", connection, actor, url=hook.url)
    return _sent(answer)


def replay(*, connection: Connection, delivery_id: str, actor: Actor) -> Sent:
    """Have a finished delivery sent again: the same bytes under the same event id. Raises as the others."""
    check_admin(actor, connection, may="have its webhooks delivered again")
    upstream = as_admin(connection)
    answer = ask_for(
        lambda: upstream.replay_delivery(delivery_id),
        what=f"deliver {delivery_id} again",
        failed="hook.change_failed",
        connection=connection,
        actor=actor,
    )
    sent = _sent(answer)
    note("hook.replayed", connection, actor, url=sent.url, event=sent.event, delivery=delivery_id)
    return sent


def delete_hook(*, connection: Connection, hook: Hook, actor: Actor) -> None:
    """End a subscription. Raises as the others."""
    check_admin(actor, connection, may="delete its webhooks")
    upstream = as_admin(connection)
    try:
        ask_for(
            lambda: upstream.delete_webhook(hook.id),
            what=f"delete the webhook {hook.url}",
            failed="hook.change_failed",
            connection=connection,
            actor=actor,
        )
    except ChangeUnknown:
        if _is_there(connection, hook, actor):
            raise
    note("hook.deleted", connection, actor, url=hook.url, **changed(before=", ".join(hook.events), after=""))


def _is_there(connection: Connection, hook: Hook, actor: Actor) -> bool:
    """Whether it may still be there, as far as the list can be read."""
    try:
        return any(one.id == hook.id for one in read_hooks(connection, actor=actor))
    except (ChangeRefused, ChangeUnknown):
        return True


def _hook(row: Mapping[str, Any], connection: Connection) -> Hook:
    url, hook_id = str(row.get("url") or ""), str(row.get("id") or "")
    events = row.get("events")
    return Hook(
        id=hook_id,
        url=url[:2000],
        events=tuple(str(one)[:80] for one in events) if isinstance(events, list) else (),
        mailbox_id=str(row.get("mailbox_id") or ""),
        created_at=read_time(row.get("created_at")),
        is_active=bool(row.get("is_active", True)),
        last_error=str(row.get("last_error") or "")[:300],
        is_ours=hook_id == connection.upstream_webhook_id or connection.webhook_id in url,
    )


def _sent(row: Mapping[str, Any]) -> Sent:
    answered, attempts = row.get("response_status"), row.get("attempts")
    return Sent(
        id=str(row.get("id") or ""),
        event=str(row.get("event_type") or row.get("event") or "")[:80],
        url=str(row.get("url") or "")[:2000],
        status=str(row.get("status") or "")[:20],
        attempts=attempts if isinstance(attempts, int) else 0,
        answered=answered if isinstance(answered, int) else None,
        problem=str(row.get("last_error") or "")[:300],
        at=read_time(row.get("created_at")),
        last_at=read_time(row.get("last_attempt_at")),
        next_at=read_time(row.get("next_attempt_at")),
    )


def _is_of(row: Mapping[str, Any], hook: Hook) -> bool:
    named = row.get("webhook_id") or row.get("subscription_id")
    return str(named) == hook.id if named else str(row.get("url") or "") == hook.url


def _secret_in(answer: Mapping[str, Any]) -> str:
    secret = str(answer.get("signing_secret") or answer.get("secret") or "")
    if not secret:
        raise ChangeUnknown("MultiMail's answer holds no secret. Give the webhook a new one, or delete it.")
    return secret
