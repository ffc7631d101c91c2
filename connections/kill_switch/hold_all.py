"""Makes a gateway of this product hold all mail of an account, or stop holding it.

The change is recorded before the call, because a failed call may have had its effect.
"""

from dataclasses import dataclass

from connections.changes import CHANGE_SECONDS, READ_SECONDS, record_change
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from people.actors import Actor, Role
from upstream import errors
from upstream.client import Client


@dataclass(frozen=True)
class HoldAll:
    """Whether the gateway sends nothing without a new approval; None, with the reason, if that is not known."""

    is_on: bool | None
    error: str = ""


def can_hold_all(connection: Connection) -> bool:
    """Whether it can be requested: only our own gateway supports it, and only with an admin key."""
    return connection.is_our_gateway and bool(connection.admin_key)


def read_hold_all(connection: Connection) -> HoldAll:
    """Ask the gateway whether it holds everything."""
    try:
        return _read(_client(connection).account(within=READ_SECONDS))
    except errors.UpstreamError as error:
        return HoldAll(None, error.sentence)


def hold_all(*, connection: Connection, on: bool, actor: Actor) -> HoldAll:
    """Make the gateway hold everything that is not approved from now on, or end that, and return the new state.

    Raises ActNotAllowed unless the actor is an admin of the connection and its gateway can be asked.
    """
    if not actor.is_a(Role.ADMIN, connection=connection.pk, mailbox=None):
        raise ActNotAllowed("Only an admin of this connection can hold all of its mail.")
    if not can_hold_all(connection):
        raise ActNotAllowed(f"{connection} has no admin key, or is not a gateway of this product.")
    record_change(f"connection.hold_all_{'on' if on else 'off'}", connection, actor, explanation="")
    try:
        now = _read(_client(connection).hold_all(on=on, within=CHANGE_SECONDS))
    except errors.UpstreamError as error:
        now = HoldAll(None, error.sentence)
    if now.is_on is not on:
        record_change("connection.hold_all_failed", connection, actor, explanation=now.error)
    return now


def _client(connection: Connection) -> Client:
    return Client(base_url=connection.api_url, key=connection.admin_key)


def _read(account: dict[str, object]) -> HoldAll:
    is_on = account.get("hold_all")
    if isinstance(is_on, bool):
        return HoldAll(is_on)
    # The gateway wants an operator's code first, or does not let this key read the account.
    message = account.get("message") or account.get("error")
    return HoldAll(None, str(message)[:300] if message else "The gateway did not report whether it holds all mail.")
