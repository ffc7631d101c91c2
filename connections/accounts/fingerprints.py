"""Switches on, for an account at our own gateway, that each decision must name the
fingerprint of the content that was read; and off.
"""

from django.urls import reverse

from common.actors import Actor
from connections.changes import check_admin, record_change, request_change
from connections.errors import ChangeRefused
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from people.second_admin.registry import CanWait, ChangeInWords, second_admin

_WORDS = ("decisions may leave out the fingerprint", "decisions name the fingerprint")


@second_admin("Fingerprint", calls_multimail=True)
def require_fingerprint(
    *, connection: Connection, on: bool, actor: Actor, code: str = ""
) -> CanWait[Connection]:
    """Switch the requirement on or off for all mailboxes of the account, and return the
    changed connection.

    Raises ActNotAllowed, ChangeRefused, ChangeUnknown, and CodeWanted where the
    gateway's operator has to give a code for switching it off.
    """
    check_admin(actor, connection, may="change what its decisions have to name")
    if not connection.is_our_gateway:
        raise ActNotAllowed("Only a gateway of this product can require it.")
    before = _WORDS[connection.require_fingerprint]
    yield lambda: ChangeInWords(
        title=f"Fingerprint of decisions in {connection}",
        before=before,
        after=_WORDS[False],
        page=reverse("connection", args=[connection.pk]),
        connection=connection.pk,
        tightens=on or not connection.require_fingerprint,
    )
    what = "take decisions without a fingerprint"
    if on:
        what = "require the fingerprint of every decision"
    answer = request_change(
        connection,
        actor,
        lambda admin: admin.require_fingerprint(on=on),
        what=what,
        failed="connection.change_failed",
        code=code,
    )
    if answer.get("require_fingerprint") is not on:
        raise ChangeRefused(
            "The gateway did not confirm the change. An older version of the gateway cannot require fingerprints."
        )
    Connection.objects.filter(pk=connection.pk).update(require_fingerprint=on)
    after = _WORDS[on]
    record_change("connection.changed", connection, actor, before=before, after=after)
    connection.require_fingerprint = on
    return connection
