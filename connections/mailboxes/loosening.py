"""Loosens the oversight of a mailbox in the two steps that MultiMail wants: asking for it, then the code it gives.

Agents ask for a looser mode too; what they asked for waits at MultiMail until an admin takes it or it ends by itself.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connections.calls import READ_SECONDS
from connections.changes import as_admin, ask_for, check_admin, note, told_as
from connections.errors import ChangeNotOffered, ChangeRefused, ChangeUnknown, CodeWanted
from connections.mailboxes.modes import is_looser
from mirror.models import Connection, Mailbox
from mirror.sync.mailboxes import facts_in, read_mailboxes
from people.actors import Actor
from upstream import errors
from upstream.events import read_time


@dataclass(frozen=True)
class Wish:
    """A looser mode that was asked for. `code` is empty where MultiMail does not show it to this key."""

    id: str
    mailbox_id: str
    target: str
    code: str
    asked_by: str
    asked_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True)
class Wishes:
    """What waits for a code at one connection; `problem` says why it is not known."""

    waiting: tuple[Wish, ...] = ()
    problem: str = ""
    is_offered: bool = True


def read_wishes(connection: Connection) -> Wishes:
    """Read which looser modes were asked for. Whoever shows them has checked who may see the codes."""
    try:
        rows = as_admin(connection, within=READ_SECONDS).list_upgrade_requests()
    except errors.UpstreamError as error:
        told = told_as(error)
        return Wishes(problem=told.sentence, is_offered=not isinstance(told, ChangeNotOffered))
    return Wishes(tuple(map(_wish, rows)))


def loosen(*, mailbox: Mailbox, actor: Actor, target: str, code: str = "") -> Mailbox:
    """Give a mailbox a looser mode, and return it as it is now.

    A wish for the same mode that waits already is taken. Raises CodeWanted where MultiMail does not show the code: the
    same call with the `code` that came to the account's oversight address goes on. Raises ActNotAllowed, ChangeRefused
    and ChangeUnknown.
    """
    connection = mailbox.connection
    check_admin(actor, connection, mailbox=mailbox.pk, may="loosen its oversight")
    if not is_looser(target, than=mailbox.oversight_mode):
        raise ChangeRefused(f"{mailbox} is {mailbox.oversight_mode}: {target} is no looser mode.")
    code = code or _code_for(mailbox, actor, target)
    before = mailbox.oversight_mode
    changed = _upgrade(mailbox, actor, code=code, target=target)
    note("mailbox.loosened", connection, actor, mailbox=mailbox.address, before=before, after=changed.oversight_mode)
    return changed


def _code_for(mailbox: Mailbox, actor: Actor, target: str) -> str:
    """Return the code of a wish for this mode; where none waits, ask for one."""
    wish = _waiting(mailbox, target)
    if wish is None:
        upstream = as_admin(mailbox.connection)
        try:
            ask_for(
                lambda: upstream.request_upgrade(mailbox.upstream_id, target_mode=target),
                what=f"ask for {target} as the oversight mode of {mailbox}",
                failed="mailbox.change_failed",
                connection=mailbox.connection,
                actor=actor,
            )
        except ChangeUnknown:
            # Nothing is loosened by asking; whether it arrived shows in the list.
            wish = _waiting(mailbox, target)
            if wish is None:
                raise
        wish = wish or _waiting(mailbox, target)
    if wish is None or not wish.code:
        raise CodeWanted(
            "Not done yet: MultiMail was asked, and gave the code to a person, not to this key. It comes to the "
            "account's oversight address. Enter it here."
        )
    return wish.code


def _upgrade(mailbox: Mailbox, actor: Actor, *, code: str, target: str) -> Mailbox:
    upstream = as_admin(mailbox.connection)
    try:
        answer = ask_for(
            lambda: upstream.upgrade(mailbox.upstream_id, code=code),
            what=f"loosen the oversight of {mailbox} to {target}",
            failed="mailbox.change_failed",
            connection=mailbox.connection,
            actor=actor,
        )
    except ChangeUnknown:
        unread = read_mailboxes(connection_id=mailbox.connection_id)
        now = Mailbox.objects.select_related("connection").get(pk=mailbox.pk)
        if unread or now.oversight_mode != target:
            raise
        return now
    facts = facts_in(answer) if answer.get("oversight_mode") else {"oversight_mode": target}
    Mailbox.objects.filter(pk=mailbox.pk).update(**facts)
    return Mailbox.objects.select_related("connection").get(pk=mailbox.pk)


def _waiting(mailbox: Mailbox, target: str) -> Wish | None:
    wishes = read_wishes(mailbox.connection).waiting
    return next((one for one in wishes if (one.mailbox_id, one.target) == (mailbox.upstream_id, target)), None)


def _wish(row: dict[str, Any]) -> Wish:
    return Wish(
        id=str(row["id"]),
        mailbox_id=str(row.get("mailbox_id") or ""),
        target=str(row.get("target_mode") or ""),
        code=str(row.get("code") or ""),
        asked_by=str(row.get("requested_by_name") or ""),
        asked_at=read_time(row.get("created_at")),
        ends_at=read_time(row.get("expires_at")),
    )
