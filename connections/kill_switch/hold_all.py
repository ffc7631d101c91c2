"""Makes a gateway of this product hold all mail of an account, or stop holding it.

The change is recorded before the call, because a failed call may have had its effect.
"""

from dataclasses import dataclass

from django.urls import reverse

from common.actors import Actor
from connections.changes import CHANGE_SECONDS, READ_SECONDS, is_admin, record_change
from connections.errors import ChangeUnknown
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from upstream import errors
from upstream.client import Client


@dataclass(frozen=True)
class HoldAll:
    """Whether the gateway sends nothing without a new approval; None, with the reason,
    if that is not known.
    """

    is_on: bool | None
    error: str = ""


def can_hold_all(connection: Connection) -> bool:
    """Whether it can be requested: only our own gateway supports it, and only with an
    admin key.
    """
    return connection.is_our_gateway and bool(connection.admin_key)


def read_hold_all(connection: Connection) -> HoldAll:
    """Ask the gateway whether it holds everything."""
    try:
        return _read(_client(connection).account(within=READ_SECONDS))
    except errors.UpstreamError as error:
        return HoldAll(None, error.sentence)


@second_admin("Hold all mail", calls_multimail=True)
def hold_all(*, connection: Connection, on: bool, actor: Actor) -> CanWait[HoldAll]:
    """Make the gateway hold everything that is not approved from now on, or end that,
    and return the new state.

    Raises ActNotAllowed unless the actor is an admin of the connection and its gateway
    can be asked, and ChangeUnknown where what a second admin accepted is not confirmed.
    """
    if not is_admin(actor, connection):
        raise ActNotAllowed(
            "Only an admin of this connection can hold all of its mail."
        )
    if not can_hold_all(connection):
        raise ActNotAllowed(
            f"{connection} has no admin key, or is not a gateway of this product."
        )
    yield lambda: ChangeInWords(
        title=f"Stop holding all mail at the gateway of {connection}",
        before="nothing leaves without a new approval",
        after="mail leaves as its mailbox says",
        page=reverse("stop"),
        connection=connection.pk,
        tightens=on,
    )
    record_change(f"connection.hold_all_{'on' if on else 'off'}", connection, actor)
    try:
        now = _read(_client(connection).hold_all(on=on, within=CHANGE_SECONDS))
    except errors.UpstreamError as error:
        now = HoldAll(None, error.sentence)
    if now.is_on is not on:
        record_change(
            "connection.hold_all_failed", connection, actor, explanation=now.error
        )
        if actor.second:
            raise ChangeUnknown(
                f"Not confirmed: {now.error or 'nothing has changed yet.'}"
            )
    return now


def _client(connection: Connection) -> Client:
    return Client(base_url=connection.api_url, key=connection.admin_key)


def _read(account: dict[str, object]) -> HoldAll:
    is_on = account.get("hold_all")
    if isinstance(is_on, bool):
        return HoldAll(is_on)
    # The gateway wants an operator's code first, or does not let this key read the
    # account.
    message = account.get("message") or account.get("error")
    message = message or "The gateway did not report whether it holds all mail."
    return HoldAll(None, str(message)[:300])
