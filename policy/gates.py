"""Brings to the gates (MultiMail or our gateway) what the policy asks of them: to the gate
of each mailbox, which recipients it allows, so that it refuses others before they are
queued; to each of our own gateways the minimum oversight, the loosest mode that
mailboxes may have. Also reads which mail the gates refused, and records each refusal
once in the ledger; a webhook about a refusal only triggers the read.

The policy is the source of truth. Each attempt works out what is wanted again, and reads
the gate before it writes. After a crash or a lost answer there is another attempt.

A gateway has one minimum for its account, so it gets the one that holds for all
mailboxes of the connection. It is only ever made stricter there; the gateway's operator
can lower it.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet, Subquery
from django.db.models.functions import Now

from audit.recording import record
from common.actors import Actor, webhook, worker
from common.grace import STUCK_AFTER
from common.mail_addresses import is_pattern, patterns_for
from common.postgres import clock
from common.unique_keys import text_in
from mirror.models import Connection, Mailbox
from mirror.models.connections import takes_policy
from mirror.oversight_modes import NAMES, is_below, is_minimum_lower
from mirror.recording import trigger_details
from mirror.sync import health
from policy.errors import RuleError
from policy.models import ENDLESS, AllowEntry, GateList, PolicyVersion
from policy.rules.conditions import MessageFacts
from policy.rules.facts import active_policy
from policy.rules.rules import PolicyRule, merged
from upstream import errors
from upstream.admin import AdminClient, ListAtGate
from upstream.events import read_time, written_time

ACTOR = worker("sync")
# Time limit of one call, in seconds. An attempt makes two, which end before its lease.
WITHIN = 30.0
NO_LISTS = (
    "This MultiMail has no allowlists of this form, or no longer knows this mailbox."
)
NOT_OURS = "MultiMail has a list that the desk did not make. Switch that off first."
# Of an entry without an end: later than all times, as gates write them.
NEVER = "~"


def rules_at(mailbox: Mailbox, active: Sequence[PolicyRule]) -> list[PolicyRule]:
    """Return those of the active rules that the gate of a mailbox can apply by itself:
    that reject whatever goes to somebody on none of some lists, or whatever there is.
    """
    facts = MessageFacts(connection=mailbox.connection_id, mailbox=mailbox.pk)
    rules = []
    for rule in active:
        scope = replace(rule.when, lists_except=frozenset(), contacts_count=False)
        # Beside lists, gates know no other conditions.
        is_about_it = scope.are_of_mailboxes and scope.apply_to(facts)
        if rule.then.reject and is_about_it:
            rules.append(rule)
    return rules


def ensure() -> None:
    """Make the missing rows of mailboxes whose gate can apply rules."""
    active = active_policy().rules
    without = Mailbox.objects.at_work().filter(gate_list=None)
    missing = [GateList(mailbox=one) for one in without if rules_at(one, active)]
    GateList.objects.bulk_create(missing, ignore_conflicts=True)


def content_for(
    rules: Sequence[PolicyRule], *, now: datetime
) -> tuple[str, dict[str, str]]:
    """Return the list that the gate of a mailbox with these rules should have: its mode,
    and by pattern when the entry ends, as gates write times, or `NEVER`. The entries
    name only recipients whom every rule allows, until the first of the rules does not.
    """
    if not rules:
        return "off", {}
    # For each rule, until when it allows each pattern.
    until: list[dict[str, datetime]] = []
    for rule in rules:
        rows = AllowEntry.objects.live(now).filter(allowlist__in=rule.when.lists_except)
        allowed: dict[str, datetime] = {}
        for pattern, ends in rows.values_list("pattern", "expires_at"):
            # What was stored under older rules for patterns allows nobody, and because
            # of it a gate would refuse the whole list.
            if is_pattern(pattern):
                allowed[pattern] = max(allowed.get(pattern, now), ends or ENDLESS)
        until.append(allowed)
    entries: dict[str, str] = {}
    for pattern in sorted(set[str]().union(*until)):
        wider = _patterns_over(pattern)
        end = min(max(by.get(one, now) for one in wider) for by in until)
        if end > now:
            entries[pattern] = NEVER if end == ENDLESS else written_time(end)
    counts_contacts = all(one.when.contacts_count for one in rules)
    return "contacts" if counts_contacts else "enforce", entries


def _patterns_over(pattern: str) -> list[str]:
    """Return the patterns that name everybody whom this one names; itself is one."""
    if "@" in pattern:
        return patterns_for(pattern)
    above = patterns_for(f"x@{pattern.removeprefix('*.')}")[2:]
    return [pattern, *above]


def push_list(*, gate_list_id: int) -> str:
    """Push one list to its gate if the gate lacks it, and return the result in a few
    words. This takes two transactions, with calls to the gate between them.
    """
    gate = GateList.objects.claim(gate_list_id)
    if gate is None:
        return "not due"
    mailbox = gate.mailbox
    rules = rules_at(mailbox, active_policy().rules)
    mode, entries = content_for(rules, now=clock())
    client = _admin_client(mailbox.connection)
    done = "there already"
    explanation = ""
    try:
        at_gate = client.read_allowlist(
            mailbox_id=mailbox.upstream_id, kind="restriction"
        )
        theirs = {
            str(one.get("pattern")): one.get("expires_at") or NEVER
            for one in at_gate.entries
            # Expired ones do not matter.
            if not one.get("expired")
        }
        # An earlier attempt may have arrived although its answer was lost.
        is_as_left = at_gate.version == gate.gate_version or (
            gate.put == _hash(at_gate.mode, theirs)
        )
        # If it is there already, nothing changed for this gate, or an earlier attempt
        # arrived and its answer was lost.
        if (at_gate.mode, theirs) != (mode, entries):
            # Nobody alone replaces a narrower list of somebody else by a rule.
            if not is_as_left and _widens(at_gate.mode, theirs, mode, entries):
                return _fail(gate, NOT_OURS)
            if gate.pushed_at and not gate.last_error and not is_as_left:
                explanation = "It replaced what somebody else had changed there."
            wanted = {
                "kind": "restriction",
                "mode": mode,
                "entries": [
                    {"pattern": one, "expires_at": None if end == NEVER else end}
                    for one, end in entries.items()
                ],
                "version": at_gate.version,
            }
            GateList.objects.filter(pk=gate.pk).update(put=_hash(mode, entries))
            at_gate = client.replace_allowlist(mailbox.upstream_id, wanted)
            done = "pushed"
    except errors.UpstreamError as error:
        health.wait(mailbox.connection, error)
        has_none = isinstance(error, errors.NotFound | errors.FieldsRefused)
        return _fail(gate, NO_LISTS if has_none else error.sentence)
    _succeed(gate, at_gate, explanation)
    return done


def _admin_client(connection: Connection) -> AdminClient:
    key = connection.admin_key
    return AdminClient(base_url=connection.api_url, key=key, within=WITHIN)


def _hash(mode: str, entries: Mapping[str, str]) -> str:
    listed = json.dumps([mode, sorted(entries.items())])
    return hashlib.sha256(listed.encode()).hexdigest()


@transaction.atomic
def _succeed(gate: GateList, at_gate: ListAtGate, explanation: str) -> None:
    """Store that the gate has the list, and record it if it is a new one."""
    row = GateList.objects.filter(pk=gate.pk)
    row.update(gate_version=at_gate.version, pushed_at=Now(), attempts=0, last_error="")
    # What changed since the row was claimed is pushed again.
    row.filter(due_at=gate.due_at).update(due_at=None)
    if at_gate.version != gate.gate_version:
        name = (
            f"{at_gate.mode}, {len(at_gate.entries)} entries, version {at_gate.version}"
        )
        _record("allowlist.pushed", gate, list=name, explanation=explanation)


@transaction.atomic
def _fail(gate: GateList, sentence: str) -> str:
    """Store why an attempt failed, and when the next one is due. It is recorded if it is
    the first failure since the last push.
    """
    # Two seconds at first, then each time twice as long, up to nine minutes.
    pause = timedelta(seconds=2 ** min(gate.attempts, 9))
    # Unless another attempt succeeded meanwhile, or is due already.
    is_stored = GateList.objects.filter(pk=gate.pk, due_at=gate.due_at).update(
        due_at=Now() + pause, last_error=sentence[:500]
    )
    if is_stored and not gate.last_error:
        _record("allowlist.push_failed", gate, explanation=sentence)
    return "not now"


def _record(action: str, gate: GateList, **details: str) -> None:
    record(
        action,
        actor=ACTOR,
        connection=gate.mailbox.connection_id,
        details={"mailbox": str(gate.mailbox), **details},
    )


def _widens(
    mode_there: str, theirs: Mapping[str, str], mode: str, entries: Mapping[str, str]
) -> bool:
    """Whether a list would let out more, or longer, than the one that a gate has. Both
    are patterns with their ends, which sort as they follow one another.
    """
    if mode_there in ("off", "monitor"):
        return False
    is_looser = mode == "off" or (mode, mode_there) == ("contacts", "enforce")
    return is_looser or any(
        max(theirs.get(over, "") for over in _patterns_over(one)) < end
        for one, end in entries.items()
    )


# So many pages of refusals are read, newest first. Older ones are then never read; that
# happens only if the desk was down for very long.
MOST_PAGES = 20
# Of so many the ids are kept: more than a page has.
_KEPT = 200


def read_refusals(*, connection_id: int) -> str:
    """Record which mail the gate of one connection refused since the last time. Return
    the result in a few words.
    """
    connection = Connection.objects.get(pk=connection_id)
    key = connection.admin_key or connection.oversight_key
    if not connection.is_our_gateway or not key or connection.removed_at:
        return "cannot be asked"
    client = AdminClient(base_url=connection.api_url, key=key, within=20.0)
    rows: dict[str, Mapping[str, Any]] = {}
    cursor = ""
    # Pages are read up to a refusal that was read before. If reading one page fails,
    # none is recorded: a newer one would hide the missing ones.
    try:
        for _ in range(MOST_PAGES):
            page, cursor = client.list_refusals(cursor=cursor)
            by_id = {str(row["id"])[:200]: row for row in page if row.get("id")}
            known = by_id.keys() & set(connection.refusals_read)
            rows |= {name: row for name, row in by_id.items() if name not in known}
            if known or not cursor:
                break
    except errors.UpstreamError as error:
        health.note_unread(connection, "refusals", error)
        return "not now"
    _record_refusals(connection, rows)
    return f"{len(rows)} read"


@transaction.atomic
def _record_refusals(connection: Connection, rows: dict[str, Any]) -> None:
    """Record these refusals in the ledger, and their ids with the connection."""
    mailboxes = dict(connection.mailboxes.values_list("upstream_id", "address"))
    for row in reversed(rows.values()):
        metadata = row.get("metadata")
        at = read_time(row.get("created_at")) or clock()
        text = defaultdict[str, str](str)
        text |= {name: str(value or "")[:300] for name, value in row.items()}
        record(
            "message.refused_at_gate",
            # The gate refused it; a worker of the desk read that.
            actor=webhook(connection.slug, surface="worker"),
            connection=connection.pk,
            details={
                "mailbox": mailboxes.get(text["mailbox_id"]) or text["mailbox"],
                "recipients": _addresses(row.get("recipients")),
                "refused": _addresses(row.get("refused_recipients")),
                "rule": text["rule"],
                "key": text["key_name"] or text["key_id"],
                "at the gate": f"{at:%Y-%m-%d %H:%M:%S} UTC",
                **trigger_details(metadata if isinstance(metadata, dict) else {}),
            },
        )
    if rows:
        read = [*rows, *connection.refusals_read][:_KEPT]
        connection.row.update(refusals_read=read)


def _addresses(value: Any) -> str:
    listed = value[:500] if isinstance(value, list) else []
    return ", ".join(str(one)[:320] for one in listed)


# A gateway's minimum in its account.
FIELD = "minimum_oversight_mode"
# How often a gateway is compared; also the wait after a failure.
EVERY = timedelta(minutes=5)


def minimum_rules() -> list[PolicyRule]:
    """Return the active rules that ask for the oversight of mailboxes. Raises RuleError
    if the policy cannot be read.
    """
    return [one for one in active_policy().rules if one.then.least_mode]


def minimum_of(rules: Iterable[PolicyRule], connection: int, mailbox: int) -> str:
    """Return the loosest oversight mode that these rules let a mailbox have; empty: any.
    A `mailbox` of 0 is one that is added to the connection.
    """
    facts = MessageFacts(connection=connection, mailbox=mailbox)
    return merged(one.then for one in rules if one.when.apply_to(facts)).least_mode


def minimum_of_all(rules: Iterable[PolicyRule], connection: int) -> str:
    """Return the minimum that holds for all mailboxes of a connection, also for those
    that are added to it: the loosest of theirs.
    """
    mailboxes = Mailbox.objects.filter(connection=connection, is_active=True)
    keys = (0, *mailboxes.values_list("pk", flat=True))
    minimums = (minimum_of(rules, connection, key) for key in keys)
    return max(minimums, key=(*NAMES, "").index)


def mailboxes_below(rules: Iterable[PolicyRule], actor: Actor) -> dict[int, str]:
    """Return by their keys the minimum of those visible mailboxes that are looser."""
    below = {}
    if rules:
        for one in Mailbox.objects.visible_to(actor).at_work().active():
            minimum = minimum_of(rules, one.connection_id, one.pk)
            per_call = one.allow_looser_per_call
            if is_below(one.oversight_mode, per_call=per_call, minimum=minimum):
                below[one.pk] = minimum
    return below


def gateways_below(rules: Iterable[PolicyRule]) -> list[int]:
    """Return the keys of the connections whose gateway could have the minimum of these
    rules by now, and allows more.
    """
    active = PolicyVersion.objects.active()
    if not rules or not active.filter(activated_at__lt=Now() - STUCK_AFTER).exists():
        return []
    return [
        one.pk
        for one in _gateways()
        if is_minimum_lower(one.gate_minimum, than=minimum_of_all(rules, one.pk))
    ]


def _gateways() -> QuerySet[Connection]:
    # The desk can set the minimum at these.
    ours = Connection.objects.at_work().filter(is_our_gateway=True)
    return ours.exclude(admin_key="")


def to_compare() -> QuerySet[Connection]:
    """Return the gateways whose minimum is due to be compared with that of the policy:
    every few minutes, and when a version of the policy becomes active.
    """
    active = PolicyVersion.objects.active().values("activated_at")[:1]
    due = (
        Q(gate_minimum_checked_at=None)
        | Q(gate_minimum_checked_at__lt=Now() - EVERY)
        | Q(gate_minimum_checked_at__lt=Subquery(active))
    )
    return _gateways().filter(takes_policy(), due, failing_since=None)


def bring_minimum(*, connection_id: int) -> str:
    """Compare one gateway with the minimum that the policy asks of all its mailboxes,
    and set it there if the gateway allows more. Store the gateway's minimum, and return
    the result in a few words.
    """
    connection = to_compare().filter(pk=connection_id).first()
    if connection is None:
        return "not due"
    client = _admin_client(connection)
    try:
        wanted = minimum_of_all(minimum_rules(), connection.pk)
        if not wanted:
            _store(connection)
            return "no minimum"
        account = client.ask("GET", "/v1/account")
        before = text_in(account, FIELD)
        if is_minimum_lower(before, than=wanted):
            account = client.ask("PATCH", "/v1/account", body={FIELD: wanted})
    except (RuleError, errors.UpstreamError) as error:
        if isinstance(error, errors.UpstreamError):
            health.note_unread(connection, "minimum", error)
        _store(connection, gate_minimum_error=error.sentence[:500])
        return "not now"
    after = text_in(account, FIELD)
    with transaction.atomic():
        _store(connection, gate_minimum=after, gate_minimum_error="")
        if after == before:
            return "there already"
        record(
            "oversight_minimum.brought",
            actor=ACTOR,
            connection=connection.pk,
            details={
                "connection": str(connection),
                "before": before or "any mode",
                "after": after,
            },
        )
    return "brought"


def _store(connection: Connection, **fields: str) -> None:
    connection.row.update(gate_minimum_checked_at=Now(), **fields)
