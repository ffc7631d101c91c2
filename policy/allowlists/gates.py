"""Keeps the allowlists at the gates (MultiMail or our gateway) equal to the desk's
lists, and says on pages whether they are equal yet. All lists of one kind that apply to a mailbox are
pushed to its gate as one versioned list. Also reads which mail the gates refused
because of them, and records each refusal once in the ledger; a webhook about a refusal
only triggers the read.

The desk's lists are the source of truth. Each attempt builds the list again, after
claiming the row of the GateList, and reads the gate before it writes. After a crash or
a lost answer `pushed` stays below `wanted`, so there is another attempt.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Greatest, Now

from audit.recording import record
from common.actors import Actor, webhook, worker
from common.mail_addresses import is_pattern
from common.postgres import clock
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from mirror.recording import trigger_details
from mirror.sync import health
from policy.allowlists.judgement import strictest
from policy.models import AllowEntry, Allowlist, GateList, GateRefusal
from upstream import errors
from upstream.admin import AdminClient, ListAtGate
from upstream.events import read_time, written_time

log = logging.getLogger(__name__)

ACTOR = worker("sync")
# Time limit of one call, in seconds. An attempt makes two, which end before its lease.
WITHIN = 30.0
# Seconds to wait after the first failed attempts; later ones wait ten minutes.
_PAUSES = (2, 5, 15, 60, 300)
LONGEST_PAUSE = 600
# How often one push is tried if somebody else writes to the gate at the same moment.
_ROUNDS = 3
# Stored as the last error; `gate_status` recognises the next two by their texts.
NO_LISTS = (
    "This MultiMail has no allowlists of this form, or no longer knows this mailbox."
)
WAITS_FOR_CODE = "An operator of the gate must confirm it with a code."


@dataclass(frozen=True)
class GateContent:
    """One list as the gate should have it: its mode, and by pattern (end, note). The
    end is a text, as the gate writes times, or None.
    """

    mode: str
    entries: dict[str, tuple[str | None, str]]


def content_for(gate: GateList, *, now: datetime) -> GateContent:
    """Return the list that the gate should have: the entries of all lists of the kind
    that apply to the mailbox and are not off, in the strictest of their modes.

    For a bypass, only the lists that have this strictest mode are included. Otherwise a
    list in monitor mode would let mail skip review because another list is enforced.
    """
    for_all = Q(connection=None, mailbox=None)
    for_mailbox = Q(connection=gate.mailbox.connection_id) | Q(mailbox=gate.mailbox_id)
    lists = list(
        Allowlist.objects.filter(for_all | for_mailbox, kind=gate.kind).exclude(
            mode=Allowlist.Mode.OFF
        )
    )
    mode = strictest(one.mode for one in lists)
    if gate.kind == Allowlist.Kind.BYPASS:
        lists = [one for one in lists if one.mode == mode]
    rows = (
        AllowEntry.objects.live(now)
        .filter(allowlist__in=lists)
        .order_by("pattern", "pk")
    )
    ends: dict[str, datetime | None] = {}
    notes: dict[str, str] = {}
    for pattern, expires_at, note in rows.values_list(
        "pattern", "expires_at", "note"
    ).iterator():
        if not is_pattern(pattern):
            # Stored under older rules for patterns. It allows nobody, and because of it
            # a gate would refuse the whole list.
            continue
        # Of several entries with one pattern the latest end and the first note count.
        end_so_far = ends.get(pattern, expires_at)
        ends[pattern] = (
            max(end_so_far, expires_at) if end_so_far and expires_at else None
        )
        # Gates accept notes of one line with printable characters.
        printable_note = "".join(
            sign for sign in " ".join(note.split()) if sign.isprintable()
        )
        notes[pattern] = notes.get(pattern) or printable_note
    return GateContent(
        mode, {pattern: (_iso(end), notes[pattern]) for pattern, end in ends.items()}
    )


def push_list(
    *,
    gate_list_id: int,
    approval_code: str = "",
    actor: Actor = ACTOR,
    within: float = WITHIN,
) -> str:
    """Push one list to its gate if the gate lacks it, and return the result in a few
    words. This takes several transactions, with calls to the gate between them.

    `approval_code` is the code with which an operator of the gate confirms a list that
    waits for it.
    """
    overwritten = ""
    for _ in range(_ROUNDS):
        gate = GateList.objects.claim(gate_list_id)
        if gate is None:
            return "not due"
        try:
            return _push(gate, approval_code, actor, within, overwritten)
        except errors.Conflict:
            # Somebody else wrote to the gate between our two calls: begin again.
            overwritten = "Somebody else changed it at the gate at the same moment. The gate now has the desk's list."
            _release(gate, next_attempt_at=Now())
        except errors.UpstreamError as error:
            return _fail(gate, error, actor)
    return "not now"


# One attempt: reads the gate's list, and replaces it if it is not the desk's. Returns
# the result in a few words.
def _push(
    gate: GateList, approval_code: str, actor: Actor, within: float, overwritten: str
) -> str:
    connection = gate.mailbox.connection
    client = AdminClient(
        base_url=connection.api_url,
        key=connection.admin_key,
        within=within,
        approval_code=approval_code,
    )
    content = content_for(gate, now=clock())
    at_gate = client.read_allowlist(mailbox_id=gate.mailbox.upstream_id, kind=gate.kind)
    # Expired entries at the gate do not matter.
    theirs = {
        str(one.get("pattern")): (
            _iso(read_time(one.get("expires_at"))),
            str(one.get("note") or ""),
        )
        for one in at_gate.entries
        if not one.get("expired")
    }
    if at_gate.mode == content.mode and content.entries == theirs:
        # An earlier attempt arrived, and its answer was lost.
        _done(gate, at_gate, content, actor, overwritten)
        return "there already"
    is_known = gate.pushed and not gate.last_error
    if not overwritten and is_known and at_gate.version != gate.gate_version:
        # The gate has a version that the desk did not write.
        overwritten = (
            f"Somebody else had changed it at the gate: it was at version {at_gate.version}, "
            f"but the desk last wrote version {gate.gate_version}. The gate now has the desk's list."
        )
    entries = [
        {"pattern": pattern, "expires_at": end, "note": note or None}
        for pattern, (end, note) in content.entries.items()
    ]
    put = client.replace_allowlist(
        gate.mailbox.upstream_id,
        {
            "kind": gate.kind,
            "mode": content.mode,
            "version": at_gate.version,
            "entries": entries,
        },
    )
    if put.waits_for:
        _postpone(
            gate,
            f"{WAITS_FOR_CODE} {put.waits_for}",
            seconds=LONGEST_PAUSE,
            actor=actor,
        )
        return "waits for a code"
    _done(gate, put, content, actor, overwritten)
    return "pushed"


# Stores and records that the gate has the list.
@transaction.atomic
def _done(
    gate: GateList,
    at_gate: ListAtGate,
    content: GateContent,
    actor: Actor,
    overwritten: str,
) -> None:
    if not _release(
        gate,
        # What was wanted when the row was claimed. If it has changed since, `pushed`
        # stays below `wanted`, and the list is pushed again.
        pushed=Greatest("pushed", gate.wanted),
        gate_version=at_gate.version,
        pushed_at=Now(),
        attempts=0,
        next_attempt_at=Now(),
        last_error="",
    ):
        return
    record(
        "allowlist.pushed",
        actor=actor,
        connection=gate.mailbox.connection_id,
        details={
            "mailbox": str(gate.mailbox),
            "list": f"{gate.kind}, {content.mode}, {len(content.entries)} entries, version {at_gate.version}",
            "explanation": overwritten,
        },
    )
    log.info(
        "allowlist at the gate",
        extra={"mailbox": gate.mailbox_id, "kind": gate.kind, "of": at_gate.version},
    )


# Stores why an attempt failed, and when to try again: soon, or later if trying again is
# unlikely to help.
def _fail(gate: GateList, error: errors.UpstreamError, actor: Actor) -> str:
    connection = gate.mailbox.connection
    if isinstance(error, errors.Throttled):
        health.wait(connection, error)
        _postpone(gate, error.sentence, seconds=error.retry_after, actor=actor)
        return "not now"
    is_useless = isinstance(
        error, errors.NotFound | errors.Forbidden | errors.KeyRefused | errors.Rejected
    )
    sentence = error.sentence
    if isinstance(error, errors.NotFound | errors.FieldsRefused):
        sentence = NO_LISTS
    seconds = LONGEST_PAUSE
    if not is_useless and gate.attempts <= len(_PAUSES):
        seconds = _PAUSES[gate.attempts - 1]
    _postpone(gate, sentence, seconds=seconds, actor=actor)
    log.warning(
        "allowlist not at the gate",
        extra={"mailbox": gate.mailbox_id, "kind": gate.kind, "reason": sentence},
    )
    return "not now"


def _release(gate: GateList, **fields: Any) -> int:
    """End the lease of a claimed row and set these fields. Return 0 if another worker
    has claimed the row since; then nothing is set.
    """
    return GateList.objects.filter(pk=gate.pk, lease_until=gate.lease_until).update(
        lease_until=None, **fields
    )


@transaction.atomic
def _postpone(gate: GateList, sentence: str, *, seconds: float, actor: Actor) -> None:
    """Release the row until the next attempt. The failure is recorded in the ledger if
    it is the first one since the last push, or if a person asked for the attempt.
    """
    if not _release(
        gate,
        next_attempt_at=Now() + timedelta(seconds=seconds),
        last_error=sentence[:500],
    ):
        return
    if not gate.last_error or actor.kind == "person":
        record(
            "allowlist.push_failed",
            actor=actor,
            connection=gate.mailbox.connection_id,
            details={
                "mailbox": str(gate.mailbox),
                "list": gate.kind,
                "explanation": sentence,
            },
        )


def _iso(moment: datetime | None) -> str | None:
    """Return a time as the gate writes it, to the millisecond."""
    return written_time(moment) if moment else None


@dataclass(frozen=True)
class GateStatus:
    """How pages show whether a gate has a list: colour, word and sentence. `can_try`: a
    push now may help; `wants_code`: it needs an operator's code.
    """

    gate: GateList
    tone: str
    word: str
    sentence: str
    since: datetime | None = None
    next_try: datetime | None = None
    can_try: bool = False
    wants_code: bool = False


def gate_status(gate: GateList) -> GateStatus:
    """Return whether the gate has a list, in words. The mailbox and connection of
    `gate` must be loaded.
    """
    connection = gate.mailbox.connection
    if gate.pushed >= gate.wanted:
        sentence = f"version {gate.gate_version}"
        return GateStatus(gate, "green", "At the gate", sentence, since=gate.pushed_at)
    has = f" The gate still has version {gate.gate_version}." if gate.pushed else ""
    consequence = (
        "The desk enforces the list when somebody decides, and again before sending."
    )
    if gate.kind == Allowlist.Kind.BYPASS:
        consequence = (
            "This list has no effect without the gate: everything waits for review."
        )
    due = gate.next_attempt_at
    if not connection.admin_key:
        sentence = f"This connection has no admin key. {consequence}{has}"
        return GateStatus(gate, "plain", "Only here", sentence)
    if gate.last_error == NO_LISTS:
        sentence = f"{gate.last_error} {consequence}"
        return GateStatus(gate, "plain", "Only here", sentence, next_try=due)
    if connection.paused_at:
        return GateStatus(gate, "amber", "Not yet", f"The connection is paused.{has}")
    if gate.last_error.startswith(WAITS_FOR_CODE):
        sentence = f"{WAITS_FOR_CODE}{has}"
        return GateStatus(
            gate, "amber", "Needs a code", sentence, can_try=True, wants_code=True
        )
    if gate.last_error:
        sentence = f"{gate.last_error}{has}"
        return GateStatus(
            gate, "amber", "Not yet", sentence, next_try=due, can_try=True
        )
    return GateStatus(gate, "blue", "On its way", f"It is being copied there.{has}")


def try_now(*, gate_id: int, code: str, actor: Actor) -> str:
    """Push a list to its gate at once, because a person asked for it. `code` is an
    operator's code, or empty.

    Returns the result of `push_list`. Raises ActNotAllowed if the actor is no admin of
    the mailbox.
    """
    gate = GateList.objects.visible_to(actor).select_related("mailbox").get(pk=gate_id)
    if not gate.mailbox.is_administered_by(actor):
        raise ActNotAllowed(
            "Only an admin of this mailbox can copy its list to the gate."
        )
    # Make it due, in case it waits for its next attempt.
    GateList.objects.behind().filter(pk=gate.pk).update(next_attempt_at=Now())
    return push_list(gate_list_id=gate.pk, approval_code=code, actor=actor, within=10.0)


# Pages of refusals are read newest first, until so many new ones were found. Older ones
# are then never read; that happens only if the desk was down for very long.
MOST_REFUSALS = 2000


def read_refusals(*, connection_id: int) -> str:
    """Store which mail the gate of one connection refused since the last time. Return
    the result in a few words.
    """
    connection = Connection.objects.get(pk=connection_id)
    key = connection.admin_key or connection.oversight_key
    if not connection.is_our_gateway or not key or connection.removed_at:
        return "cannot be asked"
    client = AdminClient(base_url=connection.api_url, key=key, within=20.0)
    rows: dict[str, Mapping[str, Any]] = {}
    cursor = ""
    read_cursors = {""}
    # Pages are read, newest first, up to a refusal that is stored already. If reading
    # one page fails, none is stored: a stored newer refusal would hide the missing
    # ones.
    try:
        while len(rows) < MOST_REFUSALS:
            page, cursor = client.list_refusals(cursor=cursor)
            by_id = {str(row["id"])[:200]: row for row in page if row.get("id")}
            stored_ids = set(
                connection.refusals.filter(upstream_id__in=by_id).values_list(
                    "upstream_id", flat=True
                )
            )
            rows |= {name: row for name, row in by_id.items() if name not in stored_ids}
            if stored_ids or not cursor or cursor in read_cursors:
                break
            read_cursors.add(cursor)
    except errors.UpstreamError as error:
        health.note_unread(connection, "refusals", error)
        return "not now"
    _store(connection, list(rows.values())[::-1])
    return f"{len(rows)} read"


# Stores refusals that the gate reported, each with an entry in the ledger.
@transaction.atomic
def _store(connection: Connection, rows: list[Mapping[str, Any]]) -> None:
    mailboxes = dict(connection.mailboxes.values_list("upstream_id", "pk"))
    for row in rows:
        metadata = row.get("metadata")
        fields = {
            "mailbox_id": mailboxes.get(str(row.get("mailbox_id") or "")),
            "recipients": _addresses(row.get("recipients")),
            "refused": _addresses(row.get("refused_recipients")),
            "rule": str(row.get("rule") or "")[:300],
            "sent_by_key": str(row.get("key_id") or "")[:200],
            "sent_by_key_name": str(row.get("key_name") or "")[:200],
            "trigger": metadata if isinstance(metadata, dict) else {},
            "sandbox": bool(row.get("sandbox")),
            "refused_at": read_time(row.get("created_at")) or clock(),
        }
        refusal, is_new = GateRefusal.objects.get_or_create(
            connection=connection, upstream_id=str(row["id"])[:200], defaults=fields
        )
        if is_new:
            record(
                "message.refused_at_gate",
                # The gate refused it; a worker of the desk read that.
                actor=webhook(connection.slug, surface="worker"),
                connection=connection.pk,
                details={
                    "mailbox": str(refusal.mailbox or row.get("mailbox") or ""),
                    "recipients": ", ".join(refusal.recipients),
                    "refused": ", ".join(refusal.refused),
                    "rule": refusal.rule,
                    "key": refusal.sent_by_key_name or refusal.sent_by_key,
                    "at the gate": f"{refusal.refused_at:%Y-%m-%d %H:%M:%S} UTC",
                    **trigger_details(refusal.trigger),
                },
            )


def _addresses(value: Any) -> list[str]:
    return [str(one)[:320] for one in value[:500]] if isinstance(value, list) else []
