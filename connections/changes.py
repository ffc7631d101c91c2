"""Makes a change of an account at MultiMail for a command. `request_change` records it
in the ledger before the call, and again if it fails; the command records its success.

A failed call may have had its effect. It is never repeated here: the caller must read
MultiMail's state first.

Each of its errors has a sentence for the admin.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from django.db import transaction
from django.urls import reverse

from common import unique_keys
from common.actors import Actor, Role
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Connection
from mirror.recording import record_of_connection
from people.second_admin.registry import ChangeInWords, listed
from upstream import errors
from upstream.admin import AdminClient


class ChangeRefused(DeskError):
    """MultiMail refused a change of the account, or was not called. Nothing was
    changed.
    """

    status = 422


class ChangeNotOffered(ChangeRefused):
    """MultiMail does not know the object to change, or does not offer the call."""


class CodeWanted(ChangeRefused):
    """MultiMail's operator has to confirm the change. The admin sends the same form
    again with the operator's code.
    """

    is_final = False
    status = 202
    wants_code = True


class ChangeUnknown(DeskError):
    """The call for a change may have had its effect. Only reading MultiMail's state
    shows whether it had.
    """

    is_final = False
    status = 502


class SecretLost(ChangeUnknown):
    """The call may have made a key or webhook, and its secret is lost. Repeating the
    call would make a second one.
    """

    is_final = True


class ConnectionNotChanged(DeskError):
    """The connection's current state does not allow the change; nothing was changed."""

    status = 422


class NotReached(ConnectionNotChanged):
    """MultiMail gave no answer, so nothing is known to be wrong with what was typed."""


class AccountConnected(ConnectionNotChanged):
    """The account has a connection already. With a second connection, each of its
    messages would appear twice.
    """


log = logging.getLogger(__name__)

T = TypeVar("T")

# The time limit in seconds for all calls of a page, because a person waits for it.
READ_SECONDS = 3.0
CHANGE_SECONDS = 10.0


def admin_client(
    connection: Connection, *, within: float = CHANGE_SECONDS, code: str = ""
) -> AdminClient:
    """Return a client with the admin key and this time limit for each call. Raises
    ActNotAllowed if the connection has no admin key.

    `code` is an operator's code that confirms the change to make.
    """
    if not connection.admin_key:
        raise ActNotAllowed(f"{connection} has no admin key. Add one on its page.")
    return AdminClient(
        base_url=connection.api_url,
        key=connection.admin_key,
        within=within,
        approval_code=code,
    )


def is_admin(actor: Actor, connection: Connection) -> bool:
    """Whether the actor is an admin of the whole connection."""
    return actor.is_a(Role.ADMIN, connection=connection.pk, mailbox=None)


def check_admin(actor: Actor, connection: Connection, *, may: str) -> None:
    """Raise ActNotAllowed unless the actor is an admin of the connection."""
    if not is_admin(actor, connection):
        raise ActNotAllowed(f"Only an admin of {connection} can {may}.")


def connection_in_words(connection: Connection) -> str:
    """Return the state of a connection as text, without its keys. A second admin reads
    it, and a change that waits for one is refused if it differs by then.
    """
    paused = connection.paused_because if connection.paused_by_hand else ""
    return listed(
        {
            "name": connection.name,
            "at": connection.api_url,
            "keys": [slot for slot, key in connection.keys.items() if key],
            "paused by hand": paused,
            "webhook": connection.upstream_webhook_id,
        }
    )


def in_words(
    connection: Connection, did: str, *, page: str = "connection", **arguments: Any
) -> ChangeInWords:
    """Return a change of a connection as a second admin reads it. `did` says what the
    command does; `arguments` are the command's, without secrets.
    """
    return ChangeInWords(
        title=f"{connection}: {did}",
        before=connection_in_words(connection),
        after=listed(arguments) or did,
        page=reverse(page, args=[connection.pk] if page == "connection" else []),
        connection=connection.pk,
    )


def read_account(
    connection: Connection, actor: Actor, call: Callable[[AdminClient], T], *, may: str
) -> T:
    """Return what `call` reads from MultiMail. The actor must be an admin of the
    account.

    Raises ActNotAllowed, ChangeRefused, ChangeUnknown.
    """
    check_admin(actor, connection, may=may)
    try:
        return call(admin_client(connection, within=READ_SECONDS))
    except errors.UpstreamError as error:
        raise change_error(error) from None


def request_change(
    connection: Connection,
    actor: Actor,
    call: Callable[[AdminClient], dict[str, Any]],
    *,
    what: str,
    failed: str,
    within: float = CHANGE_SECONDS,
    code: str = "",
    has_happened: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Ask MultiMail for one change and return its answer. `what` describes the change;
    `failed` is the ledger's action if it fails.

    If the outcome of the call is unknown, `has_happened` is called to find out whether
    the change was made; if so, the returned answer is empty. Raises ActNotAllowed
    without an admin key, ChangeRefused or a subclass if nothing was changed, and
    ChangeUnknown if that is not known.
    """
    client = admin_client(connection, within=within, code=code)
    record_change("account.change_asked", connection, actor, explanation=what)
    try:
        answer = call(client)
    except errors.UpstreamError as error:
        why = f"{what}: {error.sentence}"
        record_change(failed, connection, actor, explanation=why)
        log.warning(
            "change of account failed",
            extra={"connection": connection.slug, "reason": error.sentence},
        )
        refusal = change_error(error)
        if isinstance(refusal, ChangeUnknown) and has_happened():
            return {}
        raise refusal from None
    if answer.get("status") == "pending_approval":
        why = f"{what}: waiting for an operator's code."
        record_change(failed, connection, actor, explanation=why)
        raise CodeWanted(
            "Not done yet: somebody must confirm this with a code. MultiMail mails it to the account's oversight "
            "address (own gateway: ./run manage gateway_codes shows it, too). Enter the code here, and send the form "
            "again."
        )
    return answer


def change_error(error: errors.UpstreamError) -> ChangeRefused | ChangeUnknown:
    """Return the error that tells the admin what this error of a call means for the
    change.
    """
    if isinstance(error, errors.KeyRefused):
        return ChangeRefused(
            f"{error.sentence} The admin key of this connection no longer works: enter another."
        )
    if error.status in (404, 405, 501):
        return ChangeNotOffered(
            f"{error.sentence} It no longer exists there, or this MultiMail does not offer it."
        )
    if isinstance(error, errors.Throttled):
        return ChangeRefused(
            f"{error.sentence} Try again in {error.retry_after:.0f} seconds."
        )
    if isinstance(error, errors.OutcomeUnknown):
        return ChangeUnknown(f"{error.sentence} The change may have been made.")
    return ChangeRefused(error.sentence)


# The text in a field of an answer, cut.
text_in = partial(unique_keys.text_in, most=2000)


# In a transaction of its own.
record_change = transaction.atomic(record_of_connection)
