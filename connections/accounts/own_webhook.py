"""The desk's own webhook at MultiMail: registering it, testing it, and changing its secret without a lost event."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from common.postgres import clock
from connections.accounts import rights, rotation
from connections.accounts import webhook_status as webhook
from connections.accounts.checks import seconds_between
from connections.calls import CHANGE_SECONDS, administration
from connections.changes import ask_for
from connections.errors import ChangeRefused, ChangeUnknown, ConnectionNotChanged
from mirror.errors import ActNotAllowed
from mirror.models import Connection, WebhookEvent
from people.actors import Actor
from upstream import errors
from upstream.admin import AdminClient
from upstream.events import read_time

# A page waits so long for the event of a test; what comes later shows on the page that follows.
TEST_SECONDS = 5.0
LOOK_EVERY = 0.1


@dataclass(frozen=True)
class TestResult:
    """What became of a test: how long the event took, or what is wrong."""

    __test__ = False
    event_id: str
    seconds: float | None = None
    problem: str = ""


def register(*, connection: Connection, actor: Actor, approval_code: str = "") -> Connection:
    """Register the desk's webhook, or find it registered. Raises ActNotAllowed, ChangeRefused and ChangeUnknown."""
    rights.check_may_change(actor, connection)
    admin, url = administration(connection), webhook.address_of(connection)
    there = _registered(admin, url)
    if there is None:
        wanted = {"url": url, "events": webhook.wanted_events(connection), "secret": connection.webhook_secret}
        if connection.is_our_gateway:
            wanted["include_sandbox"] = True
        if approval_code:
            wanted["approval_code"] = approval_code
        there = _ask(lambda: admin.ask("POST", "/v1/webhooks", body=wanted), "register the webhook", connection, actor)
    webhook_id, secret = str(there.get("id") or ""), _secret_in(there)
    if not webhook_id:
        raise ChangeUnknown("MultiMail's answer does not name the webhook. Look there whether it is registered.")
    noted = webhook.note_registered(connection=connection, webhook_id=webhook_id, actor=actor)
    if secret and secret != connection.webhook_secret:
        # It was registered before, or MultiMail made a secret of its own: that is the one it signs with.
        noted = rotation.take_secret(connection=noted, secret=secret, overlap=timedelta(hours=1), actor=actor)
    return noted


def _registered(admin: AdminClient, url: str) -> dict[str, Any] | None:
    """Return the subscription that has this address already, whole; None where there is none."""
    try:
        listed = admin.ask("GET", "/v1/webhooks")
        rows = listed.get("webhooks") or listed.get("subscriptions") or []
        found = next((row for row in rows if isinstance(row, dict) and row.get("url") == url), None)
        return None if found is None else found | admin.read_webhook(str(found.get("id")))
    except errors.NotFound:
        return None
    except errors.UpstreamError as error:
        raise ChangeRefused(f"{error.sentence} Nothing was registered.") from None


def test(*, connection: Connection, actor: Actor) -> TestResult:
    """Have an event sent, and wait a moment for it to come in. Raises ActNotAllowed, ChangeRefused, ChangeUnknown."""
    rights.check_may_change(actor, connection)
    if not connection.upstream_webhook_id:
        raise ChangeRefused("The webhook is not registered yet, as far as this desk knows. Register it first.")
    asked_at, admin = clock(), administration(connection)
    call = lambda: admin.test_webhook(connection.upstream_webhook_id)  # noqa: E731
    event_id = str(_ask(call, "send a test", connection, actor).get("event_id") or "")
    event = _await_event(connection, event_id)
    if event is None:
        return TestResult(event_id, problem=_why_not(connection, admin, event_id))
    webhook.note_tested(connection=connection, actor=actor)
    return TestResult(event_id, seconds=seconds_between(asked_at, event.received_at))


def _await_event(connection: Connection, event_id: str) -> WebhookEvent | None:
    ends = time.monotonic() + TEST_SECONDS
    while (event := webhook.event_of(connection, event_id)) is None and time.monotonic() < ends:
        time.sleep(LOOK_EVERY)
    return event


def _why_not(connection: Connection, admin: AdminClient, event_id: str) -> str:
    """Say why a test did not come in, by what MultiMail's log of deliveries tells."""
    own_reason = webhook.unreachable_because(connection)
    try:
        log = admin.ask("GET", "/v1/webhook-deliveries", params={"webhook_id": connection.upstream_webhook_id})
    except errors.UpstreamError:
        log = {}
    rows = [row for row in log.get("deliveries") or [] if isinstance(row, dict)]
    sent = next((row for row in rows if row.get("event_id") == event_id), {})
    status, error = sent.get("response_status"), str(sent.get("last_error") or "")[:300]
    if status == 401:
        return "It came, but its signature was not the right one. Change the secret below, then test again."
    if status == 404:
        return "It was sent to an address that no connection here has. Register the webhook again."
    if isinstance(status, int) and not 200 <= status < 300:
        return f"What answers at {webhook.address_of(connection)} said {status}. See whether that leads to this desk."
    if error:
        return f"MultiMail could not deliver it: {error} {own_reason}".strip()
    late = f"It did not arrive within {TEST_SECONDS:.0f} seconds."
    return f"{late} {own_reason or 'It may still come: look again, or see whether PUBLIC_URL leads to this desk.'}"


def rotate(*, connection: Connection, overlap: timedelta, actor: Actor) -> Connection:
    """Change the secret, here and at MultiMail, so that no valid event is refused at any moment.

    1 the new secret is taken here, beside the old one, without an end; 2 MultiMail is given it, and signs with the old
    one for the overlap; 3 the end of the old one is written down. Whatever breaks between these, both are taken, and
    this function goes on where it stopped. Raises ActNotAllowed, ConnectionNotChanged, ChangeRefused, ChangeUnknown.
    """
    rights.check_may_change(actor, connection)
    if not connection.upstream_webhook_id:
        raise ConnectionNotChanged("The webhook is not registered as far as this desk knows, so change it by hand.")
    admin, goes_on = administration(connection), rotation.is_open(connection)
    held = rotation.begin_rotation(connection=connection, actor=actor)
    if goes_on and (ended := _signs_with(admin, held)) is not None:
        return rotation.finish_rotation(connection=held, overlap=ended, actor=actor)
    webhook_id, seconds = held.upstream_webhook_id, int(overlap.total_seconds())
    try:
        answer = _ask(
            lambda: admin.rotate_webhook(webhook_id, secret=held.webhook_secret, overlap_s=seconds),
            "change the secret of the webhook",
            connection,
            actor,
        )
    except ChangeRefused as error:
        # Only what MultiMail itself tells of its secret is certain; without that, both stay taken.
        if (ended := _signs_with(admin, held)) is not None:
            return rotation.finish_rotation(connection=held, overlap=ended, actor=actor)
        rotation.give_up_rotation(connection=held, actor=actor, because=error.sentence)
        raise
    # Rotated by somebody else before, the gateway may sign with the old one for longer than was asked.
    ended = max(overlap, _overlap_in(answer))
    return rotation.finish_rotation(connection=held, overlap=ended, actor=actor)


def _signs_with(admin: AdminClient, connection: Connection) -> timedelta | None:
    """Return for how long MultiMail still signs with the old secret, where it has our new one; else None."""
    try:
        found = admin.read_webhook(connection.upstream_webhook_id)
    except errors.UpstreamError as error:
        raise ChangeUnknown(f"{error.sentence} Both secrets are taken until it is known.") from None
    if not _secret_in(found):
        raise ChangeUnknown("MultiMail does not tell which secret it signs with. Both are taken until it is known.")
    return _overlap_in(found) if _secret_in(found) == connection.webhook_secret else None


def _overlap_in(answer: dict[str, Any]) -> timedelta:
    until = read_time(answer.get("previous_secret_until"))
    return max(until - datetime.now(UTC), timedelta(seconds=1)) if until else timedelta(seconds=1)


def unregister(connection: Connection) -> str:
    """Delete the webhook at MultiMail; return what is left to do by hand where that did not work.

    `connection` is the row as it was before its keys were blanked.
    """
    if not connection.upstream_webhook_id:
        return ""
    try:
        administration(connection, within=CHANGE_SECONDS).delete_webhook(connection.upstream_webhook_id)
    except errors.NotFound:
        return ""
    except (errors.UpstreamError, ActNotAllowed):
        return "Its webhook could not be deleted at MultiMail: delete it there, or it is sent here in vain."
    return ""


def _ask(call: Callable[[], dict[str, Any]], what: str, connection: Connection, actor: Actor) -> dict[str, Any]:
    return ask_for(call, what=what, failed="hook.change_failed", connection=connection, actor=actor)


def _secret_in(answer: dict[str, Any]) -> str:
    return str(answer.get("signing_secret") or answer.get("secret") or "")
