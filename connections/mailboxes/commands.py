"""Commands that create, change and delete mailboxes of a MultiMail account, and loosen
their oversight mode.

A looser mode takes two steps at MultiMail: requesting it, then giving the request's
code. Agents request looser modes too; such a request waits at MultiMail until an admin
grants it or it expires. A command with `second_admin` yields the change in words: if a
second admin must accept that, the call ends there, and the command is called again when
it is accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.urls import reverse

from common.actors import Actor
from common.postgres import atomic_with_retry
from connections.changes import (
    READ_SECONDS,
    ChangeRefused,
    ChangeUnknown,
    CodeWanted,
    admin_client,
    change_error,
    check_admin,
    connection_in_words,
    record_change,
    request_change,
    text_in,
)
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Mailbox
from mirror.oversight_modes import AUTONOMOUS, is_below, is_looser, mode_words
from mirror.recording import record_of_connection
from mirror.sync.account import (
    facts_in,
    read_mailboxes,
    store_mailboxes,
    without_refused,
)
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin
from policy.errors import RuleError
from policy.gates import minimum_of, minimum_rules
from policy.rules.facts import needs_of_new_mailbox
from upstream import errors
from upstream.events import read_time
from upstream.refused_fields import OF_A_MAILBOX

_request = partial(request_change, failed="mailbox.change_failed")

MAX_UNDO = timedelta(minutes=10)

# Setting one of these to its value can only tighten. So can a stricter oversight mode.
# Every other change of a mailbox at MultiMail may wait for a second admin.
_STRICTER = {
    "allow_looser_per_call": False,
    "require_fingerprint": True,
    "send_as_designed": False,
}

# The words for each setting of a mailbox.
_LABELS = {
    "display_name": "name",
    "auto_cc": "copies to",
    "auto_bcc": "blind copies to",
    "signature_block": "signature",
    "commercial": "commercial mail",
    "forward_inbound": "forwarding",
    "scheduling_enabled": "scheduling",
    "default_gate_timing": "when scheduled mail is reviewed",
    "allow_looser_per_call": "a call may loosen its own oversight",
    "require_fingerprint": "decisions by API name the fingerprint",
    "send_as_designed": "HTML is sent as designed",
    "oversight_mode": "oversight mode",
    "undo_window": "time to undo",
    "loads_pictures": "remote pictures on request",
}


@second_admin("Mailbox", calls_multimail=True)
def create_mailbox(
    *, connection: Connection, actor: Actor, wanted: Mapping[str, Any], code: str = ""
) -> CanWait[Mailbox]:
    """Create a mailbox, and return it as MultiMail created it: its mode may be stricter
    than requested.

    If the answer is lost, MultiMail's list shows whether it was created. Raises
    ActNotAllowed, ChangeRefused, ChangeUnknown.
    """
    check_admin(actor, connection, may="create mailboxes in it")
    _check_minimum(wanted["oversight_mode"], connection.pk)
    address = wanted["address"]
    needs = needs_of_new_mailbox(actor, connection.pk)
    yield lambda: ChangeInWords(
        title=f"{connection}: create the mailbox {address}",
        before=connection_in_words(connection),
        after=f"{listed(wanted)}\nIts mail will need:\n{needs}",
        page=reverse("mailboxes"),
        connection=connection.pk,
    )
    body = {name: value for name, value in wanted.items() if value not in ("", None)}
    if "@" not in address:
        # MultiMail's field for only the part before the @: docs/multimail.md, Mailboxes
        # and oversight modes.
        body["address_local"] = body.pop("address")
    known_before = set(connection.mailboxes.values_list("pk", flat=True))
    try:
        answer = _request(
            connection,
            actor,
            lambda admin: admin.create_mailbox(body),
            what=f"create the mailbox {address}",
            code=code,
        )
    except ChangeUnknown as unknown:
        made = None
        if not read_mailboxes(connection_id=connection.pk):
            # A mailbox that was there before is not the one that was asked for.
            active = connection.mailboxes.filter(is_active=True).exclude(
                pk__in=known_before
            )
            made = active.filter(address__iexact=address).first()
            if "@" not in address:
                made = active.filter(address__istartswith=f"{address}@").first()
        if made is None:
            raise ChangeUnknown(
                f"{unknown.sentence} It is not in MultiMail's list. Check again before you create it again."
            ) from None
    else:
        if answer.get("id"):
            store_mailboxes(connection, [answer], is_whole=False)
        made = connection.mailboxes.filter(upstream_id=text_in(answer, "id")).first()
        if made is None:
            raise ChangeUnknown(
                "MultiMail's answer does not say which mailbox it made. Check the list."
            )
    record_change(
        "mailbox.created",
        connection,
        actor,
        mailbox=made.address,
        before="",
        after=f"oversight_mode: {made.oversight_mode}",
    )
    return made


def _check_admin_of(actor: Actor, mailbox: Mailbox, *, may: str) -> None:
    if not mailbox.is_administered_by(actor):
        raise ActNotAllowed(f"Only an admin of this mailbox can {may}.")
    if not mailbox.is_active:
        raise ChangeRefused("The mailbox is no longer there.")


@second_admin("Mailbox", calls_multimail=True)
def change_mailbox(
    *, mailbox: Mailbox, actor: Actor, changes: Mapping[str, Any], code: str = ""
) -> CanWait[Mailbox]:
    """Change settings of a mailbox at MultiMail, or tighten its oversight mode.

    Raises ActNotAllowed, ChangeRefused (also for a looser mode: use `loosen`),
    CodeWanted if the gateway accepts the change only with an operator's code,
    ChangeUnknown.
    """
    _check_admin_of(actor, mailbox, may="change it")
    if not changes:
        raise ChangeRefused("Nothing changed: MultiMail has these settings already.")
    mode = changes.get("oversight_mode", mailbox.oversight_mode)
    if is_looser(mode, than=mailbox.oversight_mode):
        raise ChangeRefused(
            f"{mode} is looser than {mailbox.oversight_mode}; use the page for loosening oversight."
        )
    if changes.get("allow_looser_per_call"):
        _check_minimum(mode, mailbox.connection_id, mailbox.pk, per_call=True)
    only_tightens = all(
        name in _STRICTER and value is _STRICTER[name]
        for name, value in changes.items()
        if name != "oversight_mode"
    )
    yield lambda: _as_change(mailbox, changes, tightens=only_tightens)
    connection = mailbox.connection
    loosens = any(
        changes.get(name) is (not strict) and getattr(mailbox, name) is strict
        for name, strict in _STRICTER.items()
    )
    words = ", ".join(_LABELS[name] for name in changes)
    body = dict(changes)
    for name, value in changes.items():
        if isinstance(value, list):
            # MultiMail wants one string. Only null clears the setting in every version
            # of its API.
            body[name] = ", ".join(value) or None
    answer = _request(
        connection,
        actor,
        lambda admin: without_refused(
            connection, partial(admin.change_mailbox, mailbox.upstream_id, body)
        ),
        what=f"change of {mailbox}: {words}",
        code=code,
        has_happened=lambda: _is_now(mailbox, **changes),
    )
    # Store what MultiMail's answer says, and what was requested for settings that the
    # answer does not have. But other hosts ignore fields that they do not know.
    answered = facts_in(answer) if answer.get("address") else {}
    # An empty answer means that the changes were read back after a call without one.
    known = changes if connection.is_our_gateway or not answer else answered
    refused = [
        name
        for name in changes
        if name in OF_A_MAILBOX
        and (name in connection.refused_fields or name not in known)
    ]
    accepted = {name: value for name, value in changes.items() if name not in refused}
    changed = _store(mailbox, accepted | answered)
    if accepted:
        record_change(
            "mailbox.loosened" if loosens else "mailbox.changed",
            connection,
            actor,
            mailbox=mailbox.address,
            before=_in_words({name: getattr(mailbox, name) for name in accepted}),
            after=_in_words(accepted),
        )
    if refused:
        left_out = ", ".join(_LABELS[name] for name in refused)
        rest = "The rest is saved" if accepted else "Nothing is known to have changed"
        raise ChangeRefused(f"{rest}: MultiMail did not confirm this: {left_out}.")
    return changed


@second_admin("Mailbox", calls_multimail=True)
def delete_mailbox(*, mailbox: Mailbox, actor: Actor, code: str = "") -> CanWait[None]:
    """Delete a mailbox at MultiMail permanently. Its row and history stay at the desk.
    Raises as change_mailbox does.
    """
    connection = mailbox.connection
    check_admin(actor, connection, may="delete its mailboxes")
    before = f"oversight_mode: {mailbox.oversight_mode}"
    yield lambda: ChangeInWords(
        title=f"{mailbox}: delete it",
        before=before,
        after="deleted at MultiMail; its history stays here",
        page=reverse("mailbox", args=[mailbox.pk]),
        connection=mailbox.connection_id,
    )
    _request(
        connection,
        actor,
        lambda admin: admin.delete_mailbox(mailbox.upstream_id),
        what=f"delete the mailbox {mailbox}",
        code=code,
        has_happened=lambda: _is_now(mailbox, is_active=False),
    )
    with transaction.atomic():
        Mailbox.objects.filter(pk=mailbox.pk).update(is_active=False)
        record_of_connection(
            "mailbox.deleted",
            connection,
            actor,
            mailbox=mailbox.address,
            before=before,
            after="",
        )


@atomic_with_retry
@second_admin("Mailbox")
def set_desk_settings(
    *, mailbox: Mailbox, actor: Actor, undo_window: timedelta, loads_pictures: bool
) -> CanWait[None]:
    """Change the desk's own settings for a mailbox. Remote pictures and less time to
    undo loosen. Raises ActNotAllowed, ChangeRefused.
    """
    _check_admin_of(actor, mailbox, may="change it")
    if not timedelta(0) <= undo_window <= MAX_UNDO:
        raise ChangeRefused("Undo can take 0 to 600 seconds.")
    locked = Mailbox.objects.select_for_update(no_key=True).get(pk=mailbox.pk)
    after = {"undo_window": undo_window, "loads_pictures": loads_pictures}
    before = {name: getattr(locked, name) for name in after}
    loosens = loads_pictures > locked.loads_pictures or undo_window < locked.undo_window
    yield lambda: _as_change(locked, after, tightens=not loosens)
    for name, value in after.items():
        setattr(locked, name, value)
    locked.save(update_fields=list(after))
    record_of_connection(
        "mailbox.changed",
        mailbox.connection,
        actor,
        mailbox=mailbox.address,
        before=_in_words(before),
        after=_in_words(after),
    )


def _is_now(mailbox: Mailbox, **facts: Any) -> bool:
    """Read the mailboxes again, and return whether this one has these values at
    MultiMail now; False if they cannot be read.
    """
    was_read = not read_mailboxes(connection_id=mailbox.connection_id)
    return was_read and Mailbox.objects.filter(pk=mailbox.pk, **facts).exists()


def _store(mailbox: Mailbox, facts: Mapping[str, Any]) -> Mailbox:
    """Store these values of a mailbox, and return it as it is then."""
    Mailbox.objects.filter(pk=mailbox.pk).update(**facts)
    return Mailbox.objects.select_related("connection").get(pk=mailbox.pk)


# Returns settings as text for the ledger.
def _in_words(facts: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name}: {_value(value)}" for name, value in sorted(facts.items())
    )


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "nobody"
    return str(value) if value not in (None, "") else "none"


@dataclass(frozen=True)
class UpgradeRequest:
    """A request for a looser oversight mode. `code` grants it; empty if MultiMail does
    not show the code to our key.
    """

    mailbox_id: str
    target: str
    code: str
    asked_by: str
    asked_at: datetime | None
    ends_at: datetime | None


def read_upgrade_requests(connection: Connection) -> list[UpgradeRequest]:
    """Read the pending requests for looser modes. The caller must not show the codes to
    everybody: they grant the requests. Raises ChangeRefused, ChangeUnknown.
    """
    try:
        rows = admin_client(connection, within=READ_SECONDS).list_upgrade_requests()
    except errors.UpstreamError as error:
        raise change_error(error) from None
    return [
        UpgradeRequest(
            mailbox_id=text_in(row, "mailbox_id"),
            target=text_in(row, "target_mode"),
            code=text_in(row, "code"),
            asked_by=text_in(row, "requested_by_name"),
            asked_at=read_time(row.get("created_at")),
            ends_at=read_time(row.get("expires_at")),
        )
        for row in rows
    ]


def requests_for(mailbox: Mailbox) -> list[UpgradeRequest]:
    """Return the pending requests for looser modes of a mailbox; none if they cannot be
    read.
    """
    try:
        requests = read_upgrade_requests(mailbox.connection)
    except (ChangeRefused, ChangeUnknown):
        return []
    return [one for one in requests if one.mailbox_id == mailbox.upstream_id]


@second_admin("Oversight mode", calls_multimail=True)
def loosen(
    *, mailbox: Mailbox, actor: Actor, target: str, code: str = ""
) -> CanWait[Mailbox]:
    """Give a mailbox a looser oversight mode, and return the changed mailbox.

    If a request for this mode is pending, it is granted. Raises CodeWanted if MultiMail
    does not show the code: repeat the call with the `code` that was mailed to the
    account's oversight address. Raises ActNotAllowed, ChangeRefused, ChangeUnknown.
    """
    _check_admin_of(actor, mailbox, may="loosen its oversight")
    if not is_looser(target, than=mailbox.oversight_mode):
        raise ChangeRefused(
            f"{mailbox} is {mailbox.oversight_mode}: {target} is no looser mode."
        )
    _check_minimum(target, mailbox.connection_id, mailbox.pk)
    yield lambda: _as_change(mailbox, {"oversight_mode": target})
    connection = mailbox.connection
    waiting = [one.target for one in requests_for(mailbox)] if code else []
    if waiting and target not in waiting:
        # MultiMail would set the mode of that request, whatever was chosen here.
        raise ChangeRefused(
            f"The code is for {waiting[0]}, which another request asks for. Try again without a code."
        )
    code = code or _code_for(mailbox, actor, target)
    answer = _request(
        connection,
        actor,
        lambda admin: admin.upgrade(mailbox.upstream_id, code=code),
        what=f"loosen the oversight of {mailbox} to {target}",
        has_happened=lambda: _is_now(mailbox, oversight_mode=target),
    )
    answered = dict[str, Any](oversight_mode=target)
    if answer.get("oversight_mode"):
        answered |= facts_in(answer)
    loosened = _store(mailbox, answered)
    record_change(
        "mailbox.loosened",
        connection,
        actor,
        mailbox=mailbox.address,
        before=mailbox.oversight_mode,
        after=loosened.oversight_mode,
    )
    return loosened


def _code_for(mailbox: Mailbox, actor: Actor, target: str) -> str:
    """Return the code of the pending request for this mode. If there is no request,
    make one. Raises CodeWanted if MultiMail does not show the code.
    """
    request = _waiting(mailbox, target)
    if request is None:
        # A request alone loosens nothing. If its outcome is unknown, the list of
        # requests shows whether it was made.
        _request(
            mailbox.connection,
            actor,
            lambda admin: admin.request_upgrade(
                mailbox.upstream_id, target_mode=target
            ),
            what=f"ask for {target} as the oversight mode of {mailbox}",
            has_happened=lambda: _waiting(mailbox, target) is not None,
        )
        request = _waiting(mailbox, target)
    if request is None or not request.code:
        raise CodeWanted(
            "Not done yet: MultiMail sent a code to the account's oversight address. Enter it here."
        )
    return request.code


def _waiting(mailbox: Mailbox, target: str) -> UpgradeRequest | None:
    return next((one for one in requests_for(mailbox) if one.target == target), None)


# --- The policy's minimum, and the words that a second admin reads --------------------


def _check_minimum(
    mode: str, connection: int, mailbox: int = 0, *, per_call: bool = False
) -> None:
    """Raise ChangeRefused if a mode is looser than what the policy asks of a mailbox or,
    without one, of a new mailbox. `per_call`: with this setting a single call may
    choose a looser mode than its mailbox has.
    """
    try:
        minimum = minimum_of(minimum_rules(), connection, mailbox)
    except RuleError:
        raise ChangeRefused(
            "The rules of the policy could not be read, so nobody can make oversight looser."
        ) from None
    if is_below(mode, per_call=per_call, minimum=minimum):
        what = mode_words(mode)
        if per_call and minimum != AUTONOMOUS:
            what = "a call that may loosen its own oversight"
        raise ChangeRefused(
            f"The policy's minimum is {mode_words(minimum)}, and {what} is looser. An admin of everything can change "
            "the policy."
        )


def _as_change(
    mailbox: Mailbox, after: Mapping[str, Any], *, tightens: bool = False
) -> ChangeInWords:
    """Return a change of a mailbox's settings as a second admin reads it. `after` has
    the new values.
    """
    before = {name: getattr(mailbox, name) for name in after}
    differs = {name: value for name, value in after.items() if before[name] != value}
    return ChangeInWords(
        title=f"{mailbox}: {', '.join(_LABELS[name] for name in differs)}",
        before="\n".join(_setting_words(name, before[name]) for name in differs),
        after="\n".join(_setting_words(name, value) for name, value in differs.items()),
        page=reverse("mailbox", args=[mailbox.pk]),
        connection=mailbox.connection_id,
        mailbox=mailbox.pk,
        tightens=tightens,
    )


def _setting_words(name: str, value: Any) -> str:
    """Return a setting in words, such as "oversight mode: Monitored"."""
    words = _value(value)
    if name == "oversight_mode":
        words = mode_words(value)
    elif isinstance(value, bool):
        words = "yes" if value else "no"
    elif isinstance(value, timedelta):
        words = f"{value.total_seconds():g} seconds"
    return f"{_LABELS[name]}: {' '.join(words.split())}"
