"""Pushes the allowlists of a mailbox to its gate, as one versioned list of each kind,
and reports their status. Reads what the gate refused because of them, each once, with
its line in the ledger: a webhook about a refusal only triggers this read.

The desk's lists are the source of truth. What is sent is built again for each attempt,
after reading which change it has to include: after a crash or a lost answer `pushed`
stays below `wanted`, and the next attempt reads the gate first.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from upstream.events import read_time

log = logging.getLogger(__name__)

ACTOR = worker("sync")
# Seconds for one call; two of them end before the lease does.
WITHIN = 30.0
# Seconds to wait after the first failed attempts; later ones wait ten minutes.
_PAUSES = (2, 5, 15, 60, 300)
LONGEST_PAUSE = 600
# How often one push may find that somebody else wrote at the same moment.
_ROUNDS = 3
NO_LISTS = (
    "This MultiMail has no allowlists of this form, or no longer knows this mailbox."
)
WAITS_FOR_CODE = "An operator of the gate must confirm it with a code."


@dataclass(frozen=True)
class GateContent:
    """One list as the gate should have it: of each pattern its end, as the gate writes
    times, and its note.
    """

    mode: str
    entries: dict[str, tuple[str | None, str]]


def content_for(gate: GateList, *, now: datetime) -> GateContent:
    """Return the one list that the gate should have.

    A restriction is the union of those that are not off, in the strictest of their
    modes. Of bypasses one on trial lets nobody skip the queue because another one is in
    force: in force, those on trial stay out of it.
    """
    everybody = Q(connection=None, mailbox=None)
    theirs = Q(connection=gate.mailbox.connection_id) | Q(mailbox=gate.mailbox_id)
    lists = list(
        Allowlist.objects.filter(everybody | theirs, kind=gate.kind).exclude(
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
            # Stored under older rules: it allows nobody, and a gate would refuse the
            # whole list because of it.
            continue
        # Of several entries with one pattern the latest end and the first note count.
        known = ends.get(pattern, expires_at)
        ends[pattern] = max(known, expires_at) if known and expires_at else None
        # As the gate takes it: on one line, and only what prints.
        line = "".join(sign for sign in " ".join(note.split()) if sign.isprintable())
        notes[pattern] = notes.get(pattern) or line
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
    """Push one list to its gate if the gate lacks it, and return a short word. Several
    transactions, and a call.

    With an operator's code the same list is sent again that waits for it.
    """
    overwritten = ""
    for _ in range(_ROUNDS):
        gate = GateList.objects.claim(gate_list_id)
        if gate is None:
            return "not due"
        try:
            return _push(gate, approval_code, actor, within, overwritten)
        except errors.Conflict:
            # Somebody else wrote between our two calls: read the gate and the wanted
            # list again.
            overwritten = "Somebody else changed it at the gate at the same moment. The gate now has the desk's list."
            _release(gate, next_attempt_at=Now())
        except errors.UpstreamError as error:
            return _fail(gate, error, actor)
    return "not now"


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
    there = client.read_allowlist(mailbox_id=gate.mailbox.upstream_id, kind=gate.kind)
    # What expired there does not matter.
    theirs = {
        str(one.get("pattern")): (
            _iso(read_time(one.get("expires_at"))),
            str(one.get("note") or ""),
        )
        for one in there.entries
        if not one.get("expired")
    }
    if there.mode == content.mode and content.entries == theirs:
        # As after a lost answer.
        _done(gate, there, content, actor, overwritten)
        return "there already"
    is_known = gate.pushed and not gate.last_error
    if not overwritten and is_known and there.version != gate.gate_version:
        # The gate had a version that the desk did not write, as far as it can know.
        overwritten = (
            f"Somebody else had changed it at the gate: it was at version {there.version}, "
            f"and the desk had brought version {gate.gate_version}. The gate now has the desk's list."
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
            "version": there.version,
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
        # The version wanted when the row was claimed; a later change is pushed again.
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
    """End the lease and set these fields; 0 where somebody else has claimed the row
    since.
    """
    return GateList.objects.filter(pk=gate.pk, lease_until=gate.lease_until).update(
        lease_until=None, **fields
    )


@transaction.atomic
def _postpone(gate: GateList, sentence: str, *, seconds: float, actor: Actor) -> None:
    """Release the row until later; record the failure once a change, and each time that
    a person asked for it.
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
    if moment is None:
        return None
    return (
        moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        + "Z"
    )


@dataclass(frozen=True)
class GateStatus:
    """One list of one mailbox at its gate. `can_try` says that trying now may help."""

    gate: GateList
    tone: str
    word: str
    sentence: str
    since: datetime | None = None
    next_try: datetime | None = None
    can_try: bool = False
    wants_code: bool = False


def gate_status(gate: GateList) -> GateStatus:
    """Return in words whether the gate has a list; its mailbox and connection are
    loaded.
    """
    connection = gate.mailbox.connection
    if gate.pushed >= gate.wanted:
        sentence = f"version {gate.gate_version}"
        return GateStatus(gate, "green", "At the gate", sentence, since=gate.pushed_at)
    has = f" The gate still has version {gate.gate_version}." if gate.pushed else ""
    here = "The desk enforces the list when somebody decides, and again before sending."
    if gate.kind == Allowlist.Kind.BYPASS:
        here = "This list has no effect without the gate: everything waits for review."
    due = gate.next_attempt_at
    if not connection.admin_key:
        sentence = f"This connection has no admin key. {here}{has}"
        return GateStatus(gate, "plain", "Only here", sentence)
    if gate.last_error == NO_LISTS:
        sentence = f"{gate.last_error} {here}"
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
    """Push a list that its gate lacks now, with an operator's code where there is one.

    Returns the result as a word. Raises ActNotAllowed for anybody but an admin of the
    mailbox.
    """
    gate = GateList.objects.visible_to(actor).select_related("mailbox").get(pk=gate_id)
    if not gate.mailbox.is_administered_by(actor):
        raise ActNotAllowed(
            "Only an admin of this mailbox can copy its list to the gate."
        )
    # Due now, also where it waits for its next attempt.
    GateList.objects.behind().filter(pk=gate.pk).update(next_attempt_at=Now())
    return push_list(gate_list_id=gate.pk, approval_code=code, actor=actor, within=10.0)


# How many refusals are read at a time; the newest come first. What is older is left
# out, and only where the desk did not look for very long.
MOST_REFUSALS = 2000


def read_refusals(*, connection_id: int) -> str:
    """Read what the gate of one connection refused since the last time, and return a
    short word.
    """
    connection = Connection.objects.get(pk=connection_id)
    key = connection.admin_key or connection.oversight_key
    if not connection.is_our_gateway or not key or connection.removed_at:
        return "cannot be asked"
    try:
        rows = _new_rows(
            connection, AdminClient(base_url=connection.api_url, key=key, within=20.0)
        )
    except errors.UpstreamError as error:
        health.note_unread(connection, "refusals", error)
        return "not now"
    _store(connection, rows)
    return f"{len(rows)} read"


def _new_rows(connection: Connection, client: AdminClient) -> list[Mapping[str, Any]]:
    """Return what is not known yet, the oldest first. All pages or none: what is known
    shows where the rest was.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    cursor = ""
    seen = {""}
    while len(rows) < MOST_REFUSALS:
        page, cursor = client.list_refusals(cursor=cursor)
        by_id = {str(row["id"])[:200]: row for row in page if row.get("id")}
        known = set(
            connection.refusals.filter(upstream_id__in=by_id).values_list(
                "upstream_id", flat=True
            )
        )
        rows |= {name: row for name, row in by_id.items() if name not in known}
        if known or not cursor or cursor in seen:
            break
        seen.add(cursor)
    return list(rows.values())[::-1]


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
                # The gate acted; the desk learned of it by a read.
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
