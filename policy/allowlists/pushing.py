"""Brings the allowlists of a mailbox to its gate, as one versioned list a kind. What the desk has is the truth.

What is sent is built anew for each try, after it was read which change it has to hold: whoever dies, sleeps or loses
an answer on the way leaves the row behind its `wanted`, and the next try reads the gate before it writes.
"""

import logging
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models.functions import Greatest, Now

from audit.recording import record
from common.postgres import clock
from mirror.sync import health
from people.actors import Actor, worker
from policy.allowlists.gate_lists import GateContent, content_for
from policy.models import GateList
from upstream import errors
from upstream.admin import AdminClient, ListAtGate
from upstream.events import read_time

log = logging.getLogger(__name__)

ACTOR = worker("sync")
# Of one call; two of them together are over before the lease is.
WITHIN = 30.0
# Seconds after so many failed tries; then every ten minutes.
_PAUSES = (2, 5, 15, 60, 300)
LONGEST_PAUSE = 600
# How often in one go somebody else may have written in between.
_ROUNDS = 3
NO_LISTS = "This MultiMail takes no allowlists, or does not know this mailbox any more."
WAITS_FOR_CODE = "An operator of the gate has to confirm it with a code."


def push_list(*, gate_list_id: int, approval_code: str = "", actor: Actor = ACTOR, within: float = WITHIN) -> str:
    """Bring one list to its gate if the gate lacks it, and return a short word. Several transactions, and a call.

    With an operator's code the same list is sent again that waits for it.
    """
    others = ""
    for _ in range(_ROUNDS):
        gate = GateList.objects.claim(gate_list_id)
        if gate is None:
            return "not due"
        try:
            return _push(gate, _client(gate, within), approval_code, actor, others)
        except errors.Conflict:
            # Written by somebody else between our two calls: the gate is read again, and what is wanted by now too.
            others = "Somebody else changed it at the gate at the same moment. The desk's list stands there now."
            _give_back(gate)
        except errors.UpstreamError as error:
            return _fail(gate, error, actor)
    return "not now"


def push_soon(gate_list_id: int) -> None:
    """Have one that waits for its next try tried at once."""
    GateList.objects.behind().filter(pk=gate_list_id).update(next_attempt_at=Now())


def _client(gate: GateList, within: float) -> AdminClient:
    connection = gate.mailbox.connection
    return AdminClient(base_url=connection.api_url, key=connection.admin_key, within=within)


def _push(gate: GateList, client: AdminClient, approval_code: str, actor: Actor, others: str) -> str:
    wanted = gate.wanted
    content = content_for(gate, now=clock())
    there = client.read_allowlist(mailbox_id=gate.mailbox.upstream_id, kind=gate.kind)
    if _is_at_gate(content, there):
        _done(gate, wanted, there, content, actor, others=others)
        return "there already"
    others = others or _written_by_others(gate, there)
    put = client.replace_allowlist(
        mailbox_id=gate.mailbox.upstream_id,
        kind=gate.kind,
        mode=content.mode,
        version=there.version,
        entries=[
            {"pattern": one.pattern, "expires_at": _iso(one.expires_at), "note": one.note or None}
            for one in content.entries
        ],
        approval_code=approval_code,
    )
    if put.waits_for:
        _postpone(gate, f"{WAITS_FOR_CODE} {put.waits_for}", seconds=LONGEST_PAUSE, actor=actor)
        return "waits for a code"
    _done(gate, wanted, put, content, actor, others=others)
    return "pushed"


def _is_at_gate(content: GateContent, there: ListAtGate) -> bool:
    """Whether the gate has this already, as after an answer that was lost. What ended there may stand there."""
    ours = {one.pattern: (_iso(one.expires_at), one.note) for one in content.entries}
    theirs = {
        str(one.get("pattern")): (_iso(read_time(one.get("expires_at"))), str(one.get("note") or ""))
        for one in there.entries
        if not one.get("expired")
    }
    return there.mode == content.mode and ours == theirs


def _written_by_others(gate: GateList, there: ListAtGate) -> str:
    """Return what the ledger says where the gate had a version that the desk did not write, as far as it can know."""
    if not gate.pushed or gate.last_error or there.version == gate.gate_version:
        return ""
    return (
        f"Somebody else had changed it at the gate: it was at version {there.version}, "
        f"and the desk had brought version {gate.gate_version}. The desk's list stands there now."
    )


@transaction.atomic
def _done(gate: GateList, wanted: int, at_gate: ListAtGate, content: GateContent, actor: Actor, *, others: str) -> None:
    mine = GateList.objects.filter(pk=gate.pk, lease_until=gate.lease_until)
    if not mine.update(
        # Raised by a change that came meanwhile, it stays behind and is pushed again.
        pushed=Greatest("pushed", wanted),
        gate_version=at_gate.version,
        pushed_at=Now(),
        lease_until=None,
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
            "explanation": others,
        },
    )
    log.info("allowlist at the gate", extra={"mailbox": gate.mailbox_id, "kind": gate.kind, "of": at_gate.version})


def _fail(gate: GateList, error: errors.UpstreamError, actor: Actor) -> str:
    connection = gate.mailbox.connection
    if isinstance(error, errors.Throttled):
        health.wait(connection, error.retry_after)
        _postpone(gate, error.sentence, seconds=error.retry_after, actor=actor)
        return "not now"
    is_useless = isinstance(error, errors.NotFound | errors.Forbidden | errors.KeyRefused | errors.Rejected)
    sentence = NO_LISTS if isinstance(error, errors.NotFound) else error.sentence
    tried = min(gate.attempts, len(_PAUSES))
    seconds = LONGEST_PAUSE if is_useless or gate.attempts > tried else _PAUSES[tried - 1]
    _postpone(gate, sentence, seconds=seconds, actor=actor)
    log.warning("allowlist not at the gate", extra={"mailbox": gate.mailbox_id, "kind": gate.kind, "reason": sentence})
    return "not now"


def _give_back(gate: GateList) -> None:
    GateList.objects.filter(pk=gate.pk, lease_until=gate.lease_until).update(lease_until=None, next_attempt_at=Now())


@transaction.atomic
def _postpone(gate: GateList, sentence: str, *, seconds: float, actor: Actor) -> None:
    """Give the row back; that it could not be done is told once a change, and to a person each time that they ask."""
    mine = GateList.objects.filter(pk=gate.pk, lease_until=gate.lease_until)
    pause = timedelta(seconds=seconds)
    if not mine.update(lease_until=None, next_attempt_at=Now() + pause, last_error=sentence[:500]):
        return
    if not gate.last_error or actor.kind == "person":
        record(
            "allowlist.push_failed",
            actor=actor,
            connection=gate.mailbox.connection_id,
            details={"mailbox": str(gate.mailbox), "list": gate.kind, "explanation": sentence},
        )


def _iso(moment: datetime | None) -> str | None:
    """As the gate tells it: to the millisecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
