"""Keeps the mirror complete by reading from MultiMail. It fetches the content of single
messages, compares the mirror with the whole list of held messages (a "whole read"), and
finds out what became of messages that are no longer held. It decides nothing.

Functions that tasks call return a short text for the log.
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from approvals.decisions import settle
from approvals.held_rows import OPEN, UNREADABLE, mirror_row
from approvals.models import Decision
from approvals.reconcile import closing
from audit.models import Entry
from audit.recording import record
from common.fingerprint import fingerprint
from common.logs import given_id, traced
from common.postgres import clock
from mirror import store
from mirror.models import Connection, Message, Revision
from mirror.states import (
    DONE,
    FETCH_TRIES,
    DecisionEvent,
    DecisionState,
    MessageState,
)
from mirror.sync import health, reads
from mirror.sync.health import ACTOR
from upstream import errors
from upstream.client import Pending
from upstream.events import read_time

log = logging.getLogger(__name__)

# How long a worker holds a connection for a whole read: longer than reading the list
# takes. While the rows are stored, the lease is renewed.
READ_LEASE = timedelta(seconds=35)
# Seconds after which the remaining rows are left to the next whole read.
WORK_TIME = 45.0
# Seconds after which the lease is renewed.
_RENEW_AFTER = 5.0
# Up to so many messages are asked about one by one; for more, the whole list is read.
FEW = 3
# If so many messages were decided elsewhere within this time, they get one common entry
# in the ledger, and another one if more follow.
BURST = 5
BURST_MINUTES = 10
# Expiries that differ less are equal: a gateway stores them only to the millisecond.
_SAME_EXPIRY = timedelta(seconds=1)


def hydrate(message_id: int, now: datetime) -> str:
    """Fetch the content of one held message. Hosted MultiMail shows contents only in
    its whole list, so there everything is read.
    """
    message = (
        Message.objects.not_hydrated()
        .select_related("connection")
        .filter(pk=message_id)
        .first()
    )
    if message is None or message.is_given_up or message.is_put_off(now):
        return "nothing to fetch"
    if message.connection.removed_at:
        # Its webhook came while the connection was being removed.
        return closing.leave_behind(message, now)
    with traced(message.trace):
        if not message.connection.is_our_gateway:
            return read_everything(message.connection_id, now)
        pending = reads.ask(message.connection, email_id=message.upstream_id)
        if pending is None:
            return "unreachable"
        if pending.rows:
            if not mirror_row(message.connection, pending.rows[0], now):
                return "unreadable"
            log.info("content fetched", extra={"email": message.upstream_id})
            return "fetched"
        if pending.closed is None:
            # MultiMail does not know the message, perhaps only for this key: a whole
            # read shows whether it is held.
            return read_everything(message.connection_id, now)
        status = reads.status_in(pending.closed, message)
        return closing.close(message, status, now, began=now)


def ask_about(message_id: int, now: datetime) -> str:
    """Ask MultiMail for the status of one message, for instance because its next event
    is late, and bring the mirror and its decision up to date.
    """
    message = (
        Message.objects.select_related("connection", "mailbox")
        .filter(pk=message_id)
        .first()
    )
    if message is None or message.connection.removed_at:
        return "gone"
    # Of several callers at once only one succeeds with this update. The next question
    # is due by the same clock, the database's.
    unasked = Message.objects.filter(pk=message.pk, asked_at=message.asked_at)
    if not unasked.update(asked_at=Now()):
        return "being asked"
    began = clock()
    with traced(message.trace):
        upstream = reads.ask_status(message)
        if upstream is None:
            return "not known"
        if not upstream.held:
            if message.is_held:
                if upstream.reported or upstream.later_events:
                    return closing.close(message, upstream, now, began)
                # MultiMail does not know the message, perhaps only for this key: a
                # whole read shows whether it is held.
                return read_everything(message.connection_id, now)
            return closing.catch_up(message, upstream, now, began)
        if not message.is_held:
            closing.reopen(message.connection, message.upstream_id, began, now)
        is_mirrored = upstream.row is None or mirror_row(
            message.connection, upstream.row, now
        )
        closing.refute_reports(message, began)
        if upstream.row is None:
            return "held"
        return "held again" if is_mirrored else "unreadable"


def check_reports(connection_id: int, now: datetime) -> str:
    """Find out whether what webhooks reported about the end of messages is true. Up to
    FEW messages are asked about one by one; if more held ones are reported, the whole
    list is read.

    Messages that are not held can only be asked about one by one; those beyond FEW are
    left to the sweep.

    Return "again" if one more whole read is needed, because being absent from one list
    proves nothing.
    """
    began = clock()
    reported = (
        Message.objects.reported_unconfirmed()
        .filter(connection=connection_id)
        .select_related("connection")
    )
    to_ask_about = [
        message
        for message in reported.reported_and_ended()
        if closing.apply_reports(message)
    ]
    outcomes = ", ".join(ask_about(message.pk, now) for message in to_ask_about[:FEW])
    reported = reported.filter(state=MessageState.HELD)
    held = list(reported[: FEW + 1])
    if not held:
        return outcomes or "nothing to check"
    if len(held) <= FEW and all(map(reads.can_ask, held)):
        outcome = ", ".join(ask_about(message.pk, now) for message in held)
    else:
        outcome = read_everything(connection_id, now)
    is_first = reported.filter(missing_since__gte=began).exists()
    return "again" if outcome == "not now" or is_first else outcome


def read_everything(connection_id: int, now: datetime) -> str:
    """Compare the mirror with everything that MultiMail holds for one connection, and
    bring it up to date. If the read fails or is incomplete, no message is closed.

    Rows that have not changed take no write and no query each.
    """
    # Times are the database's. A lease that ends too far in the future was taken before
    # that clock was set back, and counts as free.
    free = (
        Q(reading_until=None)
        | Q(reading_until__lt=Now())
        | Q(reading_until__gt=Now() + READ_LEASE * 2)
    )
    this_connection = Connection.objects.at_work().filter(pk=connection_id)
    if not this_connection.filter(free).update(reading_until=Now() + READ_LEASE):
        return "not now"
    connection = this_connection.annotate(began=Now()).get()
    claimed_at = time.monotonic()
    try:
        pending = reads.ask(connection)
        if pending is None:
            return "unreachable"
        began = connection.began  # type: ignore[attr-defined]
        return _Reading(connection, pending, now, began, claimed_at).reconcile()
    finally:
        connection.row.filter(reading_until=connection.reading_until).update(
            reading_until=None
        )


@dataclass
class _Reading:
    """A whole read whose list was fetched, and is now stored in the mirror."""

    connection: Connection
    pending: Pending
    now: datetime
    # When the read began, by the database's clock.
    began: datetime
    # When the lease was renewed last, by this process's monotonic clock.
    renewed: float
    # Whether rows are left to the next read.
    is_unfinished: bool = False
    # Whether another worker has begun to read this connection.
    is_overtaken: bool = False
    # Whether MultiMail did not answer about a single message.
    has_failed: bool = False

    def __post_init__(self) -> None:
        self.messages = Message.objects.filter(connection=self.connection)
        # The listed rows, by their ids at MultiMail.
        self.rows = {str(row["id"]): row for row in self.pending.rows}
        self.ends = time.monotonic() + WORK_TIME
        self.unreadable = self.pending.unreadable

    def reconcile(self) -> str:
        """Store new and changed messages, close those that are no longer listed, and
        record until when the queue is complete. Return a text for the log.
        """
        if self.connection.is_our_gateway != self.pending.is_our_gateway:
            # The address now belongs to our gateway instead of another MultiMail, or
            # the reverse. What was learnt about the previous one counts no more.
            self.connection.row.update(
                is_our_gateway=self.pending.is_our_gateway,
                refused_fields=[],
                surveyed_at=None,
            )
            self.connection.is_our_gateway = self.pending.is_our_gateway
        # The fields of each held message to compare rows with, by its id at MultiMail.
        fields = self.messages.filter(state=MessageState.HELD).values_list(
            "pk", "upstream_id", "revision__fingerprint", "revision", "hydrated_at", "fetch_tries", "seen_at",
            "missing_since", "gate_expires_at", "reported", "revision__coverage", "review__rules", "read_after",
            named=True,
        )  # fmt: skip
        held: dict[str, Any] = {one.upstream_id: one for one in fields}
        changed_ids = self._changed_ids(held)
        # Which of the listed messages the mirror shows as ended.
        shown_as_ended = self.messages.exclude(state__in=OPEN).filter(
            upstream_id__in=set(changed_ids) - set(held)
        )
        ended_ids = set(shown_as_ended.values_list("upstream_id", flat=True))
        for upstream_id in changed_ids:
            if self._must_stop():
                break
            row: Mapping[str, Any] = self.rows[upstream_id]
            with traced(given_id(row.get("request_id")) or uuid.uuid4().hex[:16]):
                if upstream_id in ended_ids:
                    closing.reopen(self.connection, upstream_id, self.began, self.now)
                try:
                    if not self.has_failed:
                        row = reads.completed(self.connection, row)
                except errors.UpstreamError as error:
                    # Told to wait, the desk asks about no other message.
                    self.has_failed |= isinstance(error, errors.Throttled)
                    health.wait(self.connection, error)
                    # The next read tries again.
                    log.warning(
                        "recipients not read",
                        extra={"email": upstream_id, "reason": error.sentence},
                    )
                self.unreadable += not mirror_row(self.connection, row, self.now)
        self._restore_listed(
            [one for one in held.values() if one.upstream_id in self.rows]
        )
        self._compare_expiries(held)
        if not self.pending.unreadable:
            for one in held.values():
                # A message that was mirrored after this read began may be missing in
                # its list, and must not be closed.
                if (
                    one.upstream_id not in self.rows
                    and one.seen_at < self.began
                    and not self.has_failed
                    and not self._must_stop()
                ):
                    self._close(one)
        self._record_burst()
        return self._record_result()

    def _changed_ids(self, held: dict[str, Any]) -> list[str]:
        """Return the ids of the listed messages that the mirror lacks, or has with
        other content. Messages that were stored or closed after this read began are
        left out, because the mirror is newer than the list.
        """
        # By id, the revision to compare the row with; None if it is to be stored
        # anyway.
        candidates: dict[str, int | None] = {}
        closed = self.messages.filter(state__in=DONE, changed_at__gte=self.began)
        closed_since = set(closed.values_list("upstream_id", flat=True))
        connection = self.connection
        reads_cc = connection.read_key and connection.capabilities.get("read_cc")
        put_off = ""
        for upstream_id, row in self.rows.items():
            mirrored = held.get(upstream_id)
            if mirrored is None:
                if upstream_id not in closed_since:
                    candidates[upstream_id] = None
            elif mirrored.fetch_tries > FETCH_TRIES:
                # Its content was given up.
                continue
            elif mirrored.read_after:
                # The parser had no time for it. Of these, each read tries one, after
                # all others.
                if mirrored.read_after <= self.began:
                    put_off = upstream_id
            elif mirrored.hydrated_at is None or (
                # The read key can show a cc that was not read: the message came before
                # the key was entered, or reading with it failed then.
                reads_cc
                and row.get("direction") == "outbound"
                and "cc" not in row
                and "cc" not in mirrored.revision__coverage
            ):
                candidates[upstream_id] = None
            elif row.get("fate_unknown") and "restored" not in mirrored.review__rules:
                # The gateway was restored without the desk.
                candidates[upstream_id] = None
            elif mirrored.seen_at < self.began and not _has_fingerprint(
                row, mirrored.revision__fingerprint
            ):
                candidates[upstream_id] = mirrored.revision
        if put_off:
            candidates[put_off] = None
        revisions = Revision.objects.in_bulk(
            [revision for revision in candidates.values() if revision]
        )
        # The sources take turns, because the rows of one may take long.
        turns = Counter[str]()
        turn_of = {}
        for upstream_id, revision in candidates.items():
            row = self.rows[upstream_id]
            if revision is None or _has_other_content(row, revisions[revision]):
                source = str(row.get("sent_by_key") or row.get("mailbox_id"))
                turns[source] += 1
                turn_of[upstream_id] = turns[source]
        if put_off in turn_of:
            turn_of[put_off] = len(turn_of)
        return sorted(turn_of, key=turn_of.__getitem__)

    def _restore_listed(self, listed: list[Any]) -> None:
        """For held messages that are listed, undo what was concluded because they were
        missing from a list, or reported only by webhooks.
        """
        for one in listed:
            if one.reported and not self._must_stop():
                closing.refute_reports(
                    Message.objects.select_related("connection").get(pk=one.pk),
                    self.began,
                )
        if no_longer_missing := [one.pk for one in listed if one.missing_since]:
            Message.objects.filter(pk__in=no_longer_missing).update(missing_since=None)
        # MultiMail answered, longer than a settle time ago, that it carried out these
        # decisions; but the messages are still held.
        without_effect = Decision.objects.filter(
            state=DecisionState.APPLIED,
            changed_at__lt=self.began - closing.SETTLE_TIME,
            changed_at__gte=F("message__changed_at"),
            message__connection=self.connection,
            message__state=MessageState.HELD,
        ).values_list("message__upstream_id", flat=True)
        for upstream_id in self.rows.keys() & set(without_effect):
            closing.hold_again(self.connection, upstream_id, self.began, self.now)
        # Decisions about which only absence was known are in doubt again.
        unattributed = Decision.objects.filter(
            state=DecisionState.UNATTRIBUTED,
            message__connection=self.connection,
            message__state=MessageState.HELD,
            changed_at__lt=self.began,
        )
        ids = unattributed.values_list("message__upstream_id", flat=True)
        if listed_again := self.rows.keys() & set(ids):
            with transaction.atomic():
                for decision in unattributed.filter(
                    message__upstream_id__in=listed_again
                ).under_lock():
                    settle.advance(
                        decision, DecisionEvent.FOUND, ACTOR, seen_held=0, seen_absent=0
                    )

    def _compare_expiries(self, held: dict[str, Any]) -> None:
        """Have expiries told to our gateway again that it was told but no longer knows,
        because it was restored from a backup.
        """
        if not self.connection.is_our_gateway:
            return
        with_lost_expiry = []
        for one in held.values():
            row = self.rows.get(one.upstream_id, {})
            if one.gate_expires_at and "expires_at" in row:
                expiry_there = read_time(row["expires_at"])
                if (
                    expiry_there is None
                    or abs(expiry_there - one.gate_expires_at) > _SAME_EXPIRY
                ):
                    with_lost_expiry.append(one.pk)
        if with_lost_expiry:
            log.warning(
                "expiries are told again",
                extra={
                    "number": len(with_lost_expiry),
                    "connection": self.connection.slug,
                },
            )
            Message.objects.filter(pk__in=with_lost_expiry).update(gate_expires_at=None)

    def _close(self, mirrored: Any) -> None:
        # Closes a held message that is not listed, if MultiMail's answer about it, or a
        # second list without it, proves that it is no longer held.
        message = Message.objects.select_related("connection", "mailbox").get(
            pk=mirrored.pk
        )
        upstream = reads.ask_status(message)
        if upstream is not None and upstream.held:
            return
        if upstream is None and reads.can_ask(message):
            # MultiMail can be asked about a message but did not answer. Then being
            # absent closes nothing, and asking about the next would fail too.
            self.has_failed = self.connection.is_our_gateway
            return
        if upstream is None or not (upstream.reported or upstream.later_events):
            # A message may be missing because it moved between two pages of the list,
            # or a forged webhook may have reported its end. Then a second list is
            # needed. Hosted MultiMail also answers 404 where a key may not read.
            is_doubtful = self.pending.pages > 1 or (
                mirrored.reported and not self.connection.is_our_gateway
            )
            if is_doubtful and (
                mirrored.missing_since is None or mirrored.missing_since >= self.began
            ):
                Message.objects.filter(pk=mirrored.pk, missing_since=None).update(
                    missing_since=self.began
                )
                return
        upstream = upstream or reads.UpstreamStatus()
        closing.close(message, upstream, self.now, self.began)

    def _record_burst(self) -> None:
        """If many messages were decided elsewhere lately, however the desk learnt of
        each, record in one ledger entry how many, and who decided them.
        """
        elsewhere = self.messages.filter(
            decided_elsewhere_at__gt=clock() - timedelta(minutes=BURST_MINUTES)
        )
        number = elsewhere.count()
        if number < BURST:
            return
        newest = elsewhere.latest("decided_elsewhere_at").decided_elsewhere_at
        recorded = Entry.objects.of_action("connection.decided_elsewhere")
        if recorded.filter(connection=self.connection.pk, at__gte=newest).exists():
            return
        deciders = set(
            elsewhere.exclude(upstream_decided_by="").values_list(
                "upstream_decided_by", flat=True
            )
        )
        ids = set(elsewhere.values_list("upstream_id", flat=True))
        who = sorted(deciders or reads.deciding_keys(self.connection, ids))[:FEW]
        by = f" by {', '.join(who)}" if who else ""
        sentence = f"{number} messages were decided at MultiMail{by} within {BURST_MINUTES} minutes, not at this desk."
        with transaction.atomic():
            record(
                "connection.decided_elsewhere",
                ACTOR,
                connection=self.connection.pk,
                details={"explanation": sentence},
            )

    def _must_stop(self) -> bool:
        """Return whether to stop and leave the remaining rows to the next read. If not,
        renew the lease when that is due.
        """
        now = time.monotonic()
        if now > self.ends:
            self.is_unfinished = True
        elif now > self.renewed + _RENEW_AFTER:
            own_lease = self.connection.row.filter(
                reading_until=self.connection.reading_until
            )
            if own_lease.update(reading_until=Now() + READ_LEASE):
                self.connection.refresh_from_db(fields=["reading_until"])
                self.renewed = now
            else:
                # This worker was suspended for so long that another one reads now.
                self.is_unfinished = True
                self.is_overtaken = True
        return self.is_unfinished

    def _record_result(self) -> str:
        if self.unreadable:
            health.note_failure(
                self.connection,
                f"{self.unreadable} of the held messages could not be read; the others are here.",
            )
            return f"{self.unreadable} unreadable"
        if self.has_failed:
            return "unreachable"
        if self.is_overtaken:
            return "overtaken"
        if not self.is_unfinished:
            # Never set `complete_as_of` to an earlier time: a read that began later may
            # have ended first.
            older = self.connection.row.filter(
                Q(complete_as_of=None) | Q(complete_as_of__lt=self.began)
            )
            older.filter(reading_until=self.connection.reading_until).update(
                complete_as_of=self.began, reading_until=None
            )
        # The list was read, so the connection is healthy, even if some rows are not
        # stored yet.
        health.note_recovery(self.connection, began=self.began)
        return "to be continued" if self.is_unfinished else f"{len(self.rows)} held"


def _has_fingerprint(row: dict[str, Any], known: str | None) -> bool:
    # Whether the content of a row has the known fingerprint.
    try:
        return fingerprint(store.content_of(row)) == known
    except UNREADABLE:
        return False


def _has_other_content(row: dict[str, Any], revision: Revision) -> bool:
    """Whether a row has other content than a revision. True if it cannot be compared:
    then storing it reports the error.
    """
    try:
        return store.changed_content(revision, store.content_of(row)) is not None
    except UNREADABLE:
        return True
