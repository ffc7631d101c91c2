"""Makes, changes and deletes mailboxes of an account. A looser oversight mode is another matter: loosening.py."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction

from audit.recording import changed, record
from common.postgres.anew import atomic_anew
from connections.changes import as_admin, ask_for, check_admin, note
from connections.errors import ChangeRefused, ChangeUnknown
from connections.mailboxes.modes import is_looser
from mirror.models import Connection, Mailbox
from mirror.sync.mailboxes import facts_in, keep_mailboxes, read_mailboxes
from people.actors import Actor

MAX_UNDO = timedelta(minutes=10)
MIN_EXPIRY, MAX_EXPIRY = timedelta(hours=1), timedelta(days=90)

_WORDS = {
    "display_name": "the name",
    "auto_cc": "copies to",
    "auto_bcc": "blind copies to",
    "signature_block": "the signature",
    "ai_disclosure": "the AI header",
    "forward_inbound": "forwarding",
    "scheduling_enabled": "scheduling",
    "default_gate_timing": "when scheduled mail is asked about",
    "allow_looser_per_call": "whether a call may loosen its own oversight",
    "oversight_mode": "the oversight mode",
}


def create_mailbox(*, connection: Connection, actor: Actor, wanted: Mapping[str, Any]) -> Mailbox:
    """Make a mailbox, and return it as MultiMail made it: its mode may be a stricter one than was asked for.

    Where the answer is lost, the list tells whether it was made. Raises ActNotAllowed, ChangeRefused, ChangeUnknown.
    """
    check_admin(actor, connection, may="create mailboxes in it")
    upstream, what = as_admin(connection), f"create the mailbox {wanted['address']}"
    try:
        answer = ask_for(
            lambda: upstream.create_mailbox(_as_sent(wanted)),
            what=what,
            failed="mailbox.change_failed",
            connection=connection,
            actor=actor,
        )
    except ChangeUnknown as doubt:
        made = _found(connection, wanted["address"])
        if made is None:
            raise ChangeUnknown(
                f"{doubt.sentence} It is not in MultiMail's list now. Look once more before you make it again."
            ) from None
    else:
        keep_mailboxes(connection, [answer] if answer.get("id") else [], is_whole=False)
        made = connection.mailboxes.filter(upstream_id=str(answer.get("id"))).first()
        if made is None:
            raise ChangeUnknown("MultiMail's answer does not say which mailbox it made. Look at the list.")
    note(
        "mailbox.created",
        connection,
        actor,
        mailbox=made.address,
        **changed(before="", after=f"oversight_mode: {made.oversight_mode}"),
    )
    return made


def change_mailbox(*, mailbox: Mailbox, actor: Actor, changes: Mapping[str, Any], code: str = "") -> Mailbox:
    """Change settings at MultiMail, or tighten the oversight mode.

    Raises ActNotAllowed, ChangeRefused (a looser mode among it: that goes by loosening.py) and ChangeUnknown.
    """
    connection = mailbox.connection
    check_admin(actor, connection, mailbox=mailbox.pk, may="change it")
    if not changes:
        raise ChangeRefused("Nothing is different from what MultiMail has: there is nothing to change.")
    mode = changes.get("oversight_mode", mailbox.oversight_mode)
    if is_looser(mode, than=mailbox.oversight_mode):
        raise ChangeRefused(f"{mode} is looser than {mailbox.oversight_mode}; that takes a page of its own.")
    upstream, words = as_admin(connection), ", ".join(_WORDS.get(name, name) for name in changes)
    body = {name: _on_the_wire(value) for name, value in changes.items()} | ({"approval_code": code} if code else {})
    before = {name: getattr(mailbox, name) for name in changes}
    try:
        answer = ask_for(
            lambda: upstream.change_mailbox(mailbox.upstream_id, body),
            what=f"change of {mailbox}: {words}",
            failed="mailbox.change_failed",
            connection=connection,
            actor=actor,
        )
    except ChangeUnknown:
        now = _read_again(mailbox)
        if now is None or any(getattr(now, name) != value for name, value in changes.items()):
            raise
        answer = {}
    now = _keep(mailbox, changes, answer)
    looser = bool(changes.get("allow_looser_per_call"))
    details = {"mailbox": mailbox.address, **changed(before=_told(before), after=_told(changes))}
    note("mailbox.loosened" if looser else "mailbox.changed", connection, actor, **details)
    return now


def delete_mailbox(*, mailbox: Mailbox, actor: Actor) -> None:
    """Delete a mailbox at MultiMail for good; here it stays with its history. Raises as the others do."""
    connection = mailbox.connection
    check_admin(actor, connection, may="delete its mailboxes")
    upstream = as_admin(connection)
    try:
        ask_for(
            lambda: upstream.delete_mailbox(mailbox.upstream_id),
            what=f"delete the mailbox {mailbox}",
            failed="mailbox.change_failed",
            connection=connection,
            actor=actor,
        )
    except ChangeUnknown:
        now = _read_again(mailbox)
        if now is None or now.is_active:
            raise
    with transaction.atomic():
        Mailbox.objects.filter(pk=mailbox.pk).update(is_active=False)
        was = f"oversight_mode: {mailbox.oversight_mode}"
        details = {"mailbox": mailbox.address, **changed(before=was, after="")}
        record("mailbox.deleted", actor=actor, connection=connection.pk, details=details)


@atomic_anew
def set_desk_settings(
    *, mailbox: Mailbox, actor: Actor, undo_window: timedelta, expire_after: timedelta | None
) -> Mailbox:
    """Set what the desk itself does with the mail of a mailbox. Raises ActNotAllowed, ChangeRefused."""
    check_admin(actor, mailbox.connection, mailbox=mailbox.pk, may="change it")
    if not timedelta(0) <= undo_window <= MAX_UNDO:
        raise ChangeRefused("Undo takes 0 to 600 seconds.")
    if expire_after is not None and not MIN_EXPIRY <= expire_after <= MAX_EXPIRY:
        raise ChangeRefused("Mail expires after 1 hour at the least and 90 days at the most, or never.")
    locked = Mailbox.objects.select_for_update(no_key=True).get(pk=mailbox.pk)
    before = {"undo_window": locked.undo_window, "expire_after": locked.expire_after}
    locked.undo_window, locked.expire_after = undo_window, expire_after
    locked.save(update_fields=["undo_window", "expire_after"])
    after = {"undo_window": undo_window, "expire_after": expire_after}
    details = {"mailbox": mailbox.address, **changed(before=_told(before), after=_told(after))}
    record("mailbox.changed", actor=actor, connection=mailbox.connection_id, details=details)
    return locked


def _as_sent(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with MultiMail's name for a local part: docs/multimail.md, Mailboxes and oversight modes."""
    body = {name: value for name, value in wanted.items() if name != "address" and value not in ("", None)}
    return body | ({"address": wanted["address"]} if "@" in wanted["address"] else {"address_local": wanted["address"]})


def _on_the_wire(value: Any) -> Any:
    """Return a list as one text, and nothing as null: what clears it by every source of the contract."""
    return (", ".join(value) or None) if isinstance(value, list) else value


def _found(connection: Connection, wanted: str) -> Mailbox | None:
    """Return the mailbox of this address, or of this part before the @, as MultiMail lists it now."""
    if read_mailboxes(connection_id=connection.pk):
        return None
    active = connection.mailboxes.filter(is_active=True)
    if "@" in wanted:
        return active.filter(address__iexact=wanted).first()
    return active.filter(address__istartswith=f"{wanted}@").first()


def _read_again(mailbox: Mailbox) -> Mailbox | None:
    """Return the mailbox as MultiMail has it now, None where that cannot be read."""
    if read_mailboxes(connection_id=mailbox.connection_id):
        return None
    return Mailbox.objects.get(pk=mailbox.pk)


def _keep(mailbox: Mailbox, changes: Mapping[str, Any], answer: Mapping[str, Any]) -> Mailbox:
    """Write down what is true now: what MultiMail's answer says, else what was asked for."""
    said = facts_in(answer) if answer.get("address") else {}
    facts = {name: value for name, value in ({**changes, **said}).items() if hasattr(mailbox, name)}
    Mailbox.objects.filter(pk=mailbox.pk).update(**facts)
    return Mailbox.objects.select_related("connection").get(pk=mailbox.pk)


def _told(facts: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}: {_value(value)}" for name, value in sorted(facts.items()))


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "nobody"
    return str(value) if value not in (None, "") else "none"
