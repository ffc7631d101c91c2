"""The desk's own webhook at MultiMail: commands that register it, and change its secret
without losing an event.

The desk accepts a new secret before MultiMail knows it, and the old one until MultiMail
has certainly stopped signing with it. So no event is lost if either side crashes after
any step. While it is not known whether MultiMail has the new secret,
`previous_secret_until` is empty and both secrets are accepted. The exception is a
secret that leaked: it is refused as soon as MultiMail knows the new one, and MultiMail
sends events that were signed with it again.
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models.functions import Now
from django.urls import reverse

from common.actors import Actor
from common.origins import is_confidential, is_public
from common.postgres import atomic_with_retry, clock
from common.time_zones import day_and_time
from connections.accounts.commands import check_may_change, lock, new_secret
from connections.changes import (
    ChangeRefused,
    ChangeUnknown,
    ConnectionNotChanged,
    admin_client,
    in_words,
    request_change,
    text_in,
)
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from mirror.recording import record_of_connection
from mirror.sync.account import without_refused
from people.second_admin.registry import CanWait, second_admin
from upstream import errors
from upstream.admin import AdminClient
from upstream.events import read_time

# The events to which the desk subscribes. Only our own gateway sends OWN_EVENTS.
EVENTS = """
oversight.pending oversight.approved oversight.rejected
message.sent message.delivered message.bounced message.complained message.received
""".split()
OWN_EVENTS = ("message.cancelled", "message.failed")


def address_of(connection: Connection) -> str:
    """Return where MultiMail sends this connection's events. Our gateway on this machine
    does not go through the proxy, whose name may lead elsewhere from here.
    """
    origin = settings.PUBLIC_URL
    # Plain http is confidential on this machine only.
    is_plain = connection.api_url.startswith("http:")
    is_here = is_plain and is_confidential(connection.api_url)
    near = f"http://127.0.0.1:{settings.PORT}"
    # One that was started by itself may not call the desk there.
    if connection.is_our_gateway and is_here and near in settings.OUTGOING_ALLOW:
        origin = near
    return origin + reverse("multimail-webhook", args=[connection.webhook_id])


def wanted_events(connection: Connection) -> list[str]:
    """Return the events to which the desk subscribes for this connection."""
    return [*EVENTS, *(OWN_EVENTS if connection.is_our_gateway else ())]


def unreachable_because(connection: Connection) -> str:
    """Return why MultiMail cannot reach the webhook's address, as a sentence; empty if
    it may. Only the two addresses are compared; nothing is called.
    """
    is_near = _is_of_this_machine(connection.api_url)
    if is_near or not _is_of_this_machine(settings.PUBLIC_URL):
        return ""
    return (
        f"MultiMail cannot reach {settings.PUBLIC_URL}: only this machine can. Set PUBLIC_URL to the address that "
        "others use for the desk, and restart it. Until then the desk looks for held mail every half minute."
    )


# Whether only this machine, or its network, can reach the host of the address.
def _is_of_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@atomic_with_retry
def record_registration(
    *, connection: Connection, webhook_id: str, actor: Actor
) -> Connection:
    """Store the id under which the webhook is registered at MultiMail."""
    locked = lock(connection, actor)
    before = locked.upstream_webhook_id
    locked.upstream_webhook_id = webhook_id
    locked.webhook_since = clock()
    locked.save(update_fields=["upstream_webhook_id", "webhook_since"])
    record_of_connection(
        "hook.registered",
        locked,
        actor,
        explanation=address_of(locked),
        before=before,
        after=webhook_id,
    )
    return locked


# The old secret is accepted for so long after the overlap: an event that was signed
# just before may still be on its way, and the two clocks may differ.
MARGIN = timedelta(minutes=5)
# How long an old secret stays valid: the words for the form, and the time.
OVERLAPS = {
    "day": ("Stays valid for a day", timedelta(days=1)),
    "hour": ("Stays valid for an hour", timedelta(hours=1)),
    "none": ("It leaked: end it at once", timedelta(0)),
}
# How the ledger says which secrets are accepted.
ONE = "one secret is accepted"
BOTH = "the old and the new secret are accepted"
_request = partial(request_change, failed="hook.change_failed")


def is_open(connection: Connection) -> bool:
    """Whether a change of the secret was begun, and it is not known whether MultiMail
    has the new one.
    """
    return (
        bool(connection.previous_webhook_secret)
        and connection.previous_secret_until is None
    )


@atomic_with_retry
def begin_rotation(
    *, connection: Connection, overlap: timedelta, actor: Actor
) -> Connection:
    """Make a new secret and accept both. The old one has no expiry yet, because
    MultiMail does not know the new one.
    """
    locked = lock(connection, actor)
    if is_open(locked):
        return locked
    _check_one_secret(locked, overlap)
    locked.previous_webhook_secret = locked.webhook_secret
    locked.previous_secret_until = None
    locked.webhook_secret = new_secret()
    _save_secrets(locked, actor, "Started.", before=ONE)
    return locked


@atomic_with_retry
def finish_rotation(
    *, connection: Connection, overlap: timedelta, actor: Actor
) -> Connection:
    """End a rotation when MultiMail knows the new secret: accept the old one for the
    overlap and a margin, or no longer if there is no overlap.
    """
    locked = lock(connection, actor)
    if is_open(locked):
        _accept_old_for(overlap, locked, actor, before=BOTH)
    return locked


@atomic_with_retry
def cancel_rotation(*, connection: Connection, actor: Actor, because: str) -> None:
    """Abandon a rotation when MultiMail does not know the new secret: accept only the
    old one.
    """
    locked = lock(connection, actor)
    if is_open(locked):
        locked.webhook_secret = locked.previous_webhook_secret
        locked.previous_webhook_secret = ""
        _save_secrets(locked, actor, f"It was abandoned: {because}", before=BOTH)


@atomic_with_retry
@second_admin("Webhook", secrets=("secret",))
def take_secret(
    *, connection: Connection, secret: str, overlap: timedelta, actor: Actor
) -> CanWait[Connection]:
    """Accept a secret that a person copied from MultiMail, and the old one for the
    overlap.
    """
    locked = lock(connection, actor)
    yield lambda: in_words(locked, "set the webhook's secret by hand", overlap=overlap)
    if secret == locked.webhook_secret:
        raise ConnectionNotChanged("This is the present secret.")
    _check_one_secret(locked, overlap)
    locked.previous_webhook_secret = locked.webhook_secret
    locked.webhook_secret = secret
    locked.row.filter(webhook_since=None).update(webhook_since=Now())
    _accept_old_for(overlap, locked, actor, "By hand. ", before=ONE)
    return locked


@atomic_with_retry
def end_overlap(*, connection: Connection, actor: Actor) -> None:
    """Stop accepting the old secret now."""
    locked = lock(connection, actor)
    if is_open(locked):
        raise ConnectionNotChanged(
            "MultiMail may still use the old secret. Finish the change first."
        )
    if locked.previous_webhook_secret:
        _accept_old_for(timedelta(0), locked, actor, before=BOTH)


def _accept_old_for(
    overlap: timedelta, locked: Connection, actor: Actor, how: str = "", *, before: str
) -> None:
    """Accept the old secret for the overlap and a margin; no longer if the overlap is
    0.
    """
    explanation = f"{how}The old one is no longer accepted."
    until = None
    if overlap:
        until = clock() + overlap + MARGIN
        explanation = f"{how}The old one is accepted until {until:%Y-%m-%d %H:%M} UTC."
    else:
        locked.previous_webhook_secret = ""
    locked.previous_secret_until = until
    _save_secrets(locked, actor, explanation, before=before)


def _save_secrets(
    locked: Connection, actor: Actor, explanation: str, *, before: str
) -> None:
    """Save the secrets of the locked connection, and record which are accepted now."""
    fields = ["webhook_secret", "previous_webhook_secret", "previous_secret_until"]
    locked.save(update_fields=fields)
    after = BOTH if locked.previous_webhook_secret else ONE
    if locked.previous_secret_until:
        after = f"{BOTH} for a time"
    details = {"explanation": explanation, "before": before, "after": after}
    record_of_connection("connection.secret_rotated", locked, actor, **details)


def _check_one_secret(locked: Connection, overlap: timedelta) -> None:
    """Raise ConnectionNotChanged while two secrets are accepted: a third would replace
    one that may still be in use.

    If the present secret leaked (no overlap), an older one that is still accepted does
    not prevent the change.
    """
    end = locked.previous_secret_until
    overlaps = locked.previous_webhook_secret and end and end > clock()
    if is_open(locked) or (overlap and overlaps):
        until = f" until {day_and_time(end)}" if end else ""
        raise ConnectionNotChanged(
            f"The previous secret is still valid{until}. Wait until then."
        )


@second_admin("Webhook", calls_multimail=True)
def register(
    *, connection: Connection, actor: Actor, code: str = ""
) -> CanWait[Connection]:
    """Register the desk's webhook at MultiMail, unless it is registered already, and
    store its id. Raises ActNotAllowed, ChangeRefused and ChangeUnknown.
    """
    check_may_change(actor, connection)
    yield lambda: in_words(connection, "register the desk's webhook")
    admin = admin_client(connection)
    url = address_of(connection)
    row = _registered(admin, url)
    if row is None:
        wanted = {
            "url": url,
            "events": wanted_events(connection),
            "secret": connection.webhook_secret,
        }
        row = _request(
            connection,
            actor,
            lambda admin: without_refused(
                connection, partial(admin.create_webhook, wanted)
            ),
            what="register the webhook",
            code=code,
        )
    webhook_id = text_in(row, "id")
    secret = _secret_in(row)
    if not webhook_id:
        raise ChangeUnknown(
            "MultiMail's answer does not name the webhook. Check there whether it is registered."
        )
    connection = record_registration(
        connection=connection, webhook_id=webhook_id, actor=actor
    )
    if not secret and "secret" in connection.refused_fields:
        raise ChangeRefused(
            "Registered, but MultiMail did not tell its secret. Copy it there, and enter it here."
        )
    if secret and secret != connection.webhook_secret:
        # It was registered before, or MultiMail made a secret itself. MultiMail signs
        # with that secret, so the desk must accept it.
        connection = take_secret(
            connection=connection,
            secret=secret,
            overlap=timedelta(hours=1),
            actor=actor,
        )
    return connection


def _registered(admin: AdminClient, url: str) -> dict[str, Any] | None:
    """Return MultiMail's subscription for this address with all its fields, or None."""
    try:
        for row in admin.list_webhooks():
            if row.get("url") == url:
                return row | admin.read_webhook(str(row["id"]))
    except errors.NotFound:
        pass
    except errors.UpstreamError as error:
        raise ChangeRefused(f"{error.sentence} Nothing was registered.") from None
    return None


@second_admin("Webhook", calls_multimail=True)
def rotate(
    *, connection: Connection, overlap: timedelta, actor: Actor
) -> CanWait[Connection]:
    """Change the secret, here and at MultiMail, so that no valid event is refused.

    First, accept the new secret here as well as the old one. Second, give it to
    MultiMail, which keeps signing with the old one for the overlap. Third, store when
    the old one expires; without an overlap, forget it. If a step fails, both stay
    accepted, and the next call continues there.

    Raises ActNotAllowed, ConnectionNotChanged, ChangeRefused and ChangeUnknown.
    """
    check_may_change(actor, connection)
    yield lambda: in_words(connection, "change the webhook's secret", overlap=overlap)
    if not connection.upstream_webhook_id:
        raise ConnectionNotChanged(
            "The webhook is not registered here. Change the secret by hand."
        )
    admin = admin_client(connection)
    was_begun = is_open(connection)
    begun = begin_rotation(connection=connection, overlap=overlap, actor=actor)
    old_signs_for = _signs_with(admin, begun) if was_begun else None
    if old_signs_for is None:
        try:
            answer = _request(
                connection,
                actor,
                lambda admin: admin.rotate_webhook(
                    begun.upstream_webhook_id,
                    secret=begun.webhook_secret,
                    overlap_s=int(overlap.total_seconds()),
                ),
                what="change the secret of the webhook",
            )
            # If the secret was changed before at the gateway, it may sign with the old
            # one for longer than requested.
            old_signs_for = max(overlap, _overlap_in(answer))
        except ChangeRefused as error:
            # Only MultiMail's answer proves which secret it uses. If there is none,
            # this raises an error, and both stay accepted.
            old_signs_for = _signs_with(admin, begun)
            if old_signs_for is None:
                cancel_rotation(connection=begun, actor=actor, because=error.sentence)
                raise
    return finish_rotation(
        connection=begun, overlap=overlap and old_signs_for, actor=actor
    )


def _signs_with(admin: AdminClient, connection: Connection) -> timedelta | None:
    """Ask MultiMail which secret it has. If it is our new one, return for how long
    MultiMail still signs with the old one; otherwise return None. Raises ChangeUnknown
    if MultiMail does not say.
    """
    try:
        webhook = admin.read_webhook(connection.upstream_webhook_id)
    except errors.NotFound:
        # It has no such webhook, so it signs with neither secret.
        return None
    except errors.UpstreamError as error:
        raise ChangeUnknown(
            f"{error.sentence} Until that is known, both secrets are valid."
        ) from None
    if not _secret_in(webhook):
        raise ChangeUnknown(
            "MultiMail does not report which secret it uses. Until that is known, both are valid."
        )
    if _secret_in(webhook) == connection.webhook_secret:
        return _overlap_in(webhook)
    return None


# Returns for how long MultiMail still signs with the old secret, from its answer.
def _overlap_in(answer: dict[str, Any]) -> timedelta:
    now = datetime.now(UTC)
    until = read_time(answer.get("previous_secret_until")) or now
    return max(until - now, timedelta(seconds=1))


def unregister(connection: Connection) -> str:
    """Delete the webhook at MultiMail. Return what an admin has to do by hand if that
    fails, as a sentence; empty if it does not.

    `connection` is the row as it was before its keys were removed.
    """
    if connection.upstream_webhook_id:
        try:
            admin_client(connection).delete_webhook(connection.upstream_webhook_id)
        except errors.NotFound:
            pass
        except (errors.UpstreamError, ActNotAllowed):
            return "Its webhook could not be deleted at MultiMail. Delete it there."
    return ""


def _secret_in(answer: dict[str, Any]) -> str:
    return text_in(answer, "signing_secret", "secret")
