"""Has our own gateway require of every decision in an account that it names the fingerprint of what was read."""

from typing import Any

from audit.recording import changed
from connections.changes import check_admin, record_change, request_change
from connections.errors import ChangeRefused, ChangeUnknown, CodeWanted
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from people.actors import Actor
from people.second_admin.asking import AskedChange, SecondAdminNeeded, wants_second_admin
from people.second_admin.kinds import ChangeKind

_WORDS = ("decisions may leave out the fingerprint", "decisions name the fingerprint")


def require_fingerprint(*, connection: Connection, on: bool, actor: Actor, code: str = "") -> Connection:
    """Switch the requirement for all mailboxes of the account, and return the connection as it is then.

    Raises ActNotAllowed, CodeWanted for switching it off without an operator's code, ChangeRefused, ChangeUnknown, and
    SecondAdminNeeded for switching it off where the organisation wants two admins for loosening.
    """
    check_admin(actor, connection, may="change what its decisions have to name")
    if not connection.is_our_gateway:
        raise ActNotAllowed("Only a gateway of this product can require it.")
    if connection.require_fingerprint and not on and wants_second_admin(actor):
        raise SecondAdminNeeded(_switching_off(connection))
    answer = request_change(
        connection,
        actor,
        lambda admin: admin.require_fingerprint(on=on, approval_code=code),
        what="require the fingerprint of every decision" if on else "take decisions without a fingerprint",
        failed="connection.change_failed",
    )
    if answer.get("require_fingerprint") is not on:
        raise ChangeRefused("The gateway did not confirm it. It may be of an older version, which cannot require it.")
    Connection.objects.filter(pk=connection.pk).update(require_fingerprint=on)
    details = changed(before=_WORDS[connection.require_fingerprint], after=_WORDS[on])
    record_change("connection.changed", connection, actor, **details)
    connection.require_fingerprint = on
    return connection


def target_of_connection(connection: Connection) -> str:
    """Return how a change that waits names a connection."""
    return f"connection/{connection.pk}"


def _switching_off(connection: Connection) -> AskedChange:
    return AskedChange(
        kind="fingerprint",
        target=target_of_connection(connection),
        title=f"Fingerprint of decisions in {connection}",
        before=_WORDS[True],
        after=_WORDS[False],
        change={"connection": connection.pk},
        url_name="connection",
        url_args={"connection_id": connection.pk},
        connection=connection.pk,
    )


def _apply(change: dict[str, Any], actor: Actor, code: str) -> object:
    connection = Connection.objects.at_work().filter(pk=change["connection"]).first()
    if connection is None:
        raise ChangeRefused("The connection was removed.")
    return require_fingerprint(connection=connection, on=False, actor=actor, code=code)


FINGERPRINT_CHANGE = ChangeKind(
    "Fingerprint", _apply, (ActNotAllowed, ChangeRefused), (CodeWanted, ChangeUnknown), calls_multimail=True
)
