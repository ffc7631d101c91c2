"""Keeps the mirror complete: fetches content, reads everything that is held, and finds
out what became of the rest.
"""

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from approvals import examination
from approvals.decisions import settle
from approvals.models import Decision
from approvals.reconcile import closing
from audit.recording import record
from common.fingerprint import fingerprint
from common.logs import traced
from common.postgres import clock
from mirror import store
from mirror.models import Connection, Message, Revision
from mirror.states import DecisionEvent, DecisionState, MessageState
from mirror.sync import health, reads
from mirror.sync.health import ACTOR
from mirror.sync.rows import UNREADABLE, mirror_row
from mirror.terms import FETCH_TRIES
from upstream import errors
from upstream.client import Pending
from upstream.events import read_time

log = logging.getLogger(__name__)

# Longer than reading the list takes; processing the rows renews it.
READ_LEASE = timedelta(seconds=35)
# Seconds after which the remaining rows are left to the next read.
WORK_TIME = 45.0
_RENEW_AFTER = 5.0
_WAITS = (MessageState.HELD, MessageState.SCHEDULED)
_DECIDED = set(MessageState) - {*_WAITS, MessageState.CANCELLED}
# Up to so many messages are asked about one by one.
FEW = 3
# From so many on, messages that were decided elsewhere are named together.
BURST = 5
# A gateway stores an expiry by the millisecond.
_SAME_EXPIRY = timedelta(seconds=1)


def hydrate(message_id: int, now: datetime) -> str:
    """Fetch the content of one held message."""
    message = (
        Message.objects.not_hydrated()
        .select_related("connection")
        .filter(pk=message_id)
        .first()
    )
    if message is None or message.fetch_tries >= FETCH_TRIES:
        return "nothing to fetch"
    if message.connection.removed_at:
        # Its webhook arrived while the connection was being removed.
        return closing.leave_behind(message, now)
    with traced(message.trace):
        if not message.connection.is_our_gateway:
            return read_everything(message.connection_id, now)
        pending = reads.ask(message.connection, email_id=message.upstream_id)
        if pending is None:
            return "unreachable"
        if pending.rows:
            if not mirror_row(message.connection, pending.rows[0], now, examination):
                return "unreadable"
            log.info("content fetched", extra={"email": message.upstream_id})
            return "fetched"
        if pending.closed is None:
            # Not known there: a whole read shows what that means.
            return read_everything(message.connection_id, now)
        return closing.close(message, reads.status_in(pending.closed, message), now)


def ask_about(message_id: int, now: datetime) -> str:
    """Ask what became of a message whose next event is late, and move the mirror and
    its decision by the answer.
    """
    message = (
        Message.objects.select_related("connection", "mailbox")
        .filter(pk=message_id)
        .first()
    )
    if message is None or message.connection.removed_at:
        return "gone"
    if message.is_local:
        return "local"
    # Only one caller wins this update; by the database's clock, as the next time is.
    mine = Message.objects.filter(pk=message.pk, asked_at=message.asked_at)
    if not mine.update(asked_at=Now()):
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
                # Not known there, maybe only to this key: a whole read shows whether it
                # is held.
                return read_everything(message.connection_id, now)
            return closing.catch_up(message, upstream, now, began)
        if not message.is_held:
            closing.reopen(message.connection, message.upstream_id, began, now)
        is_mirrored = upstream.row is None or mirror_row(
            message.connection, upstream.row, now, examination
        )
        closing.refute_reports(message, began)
        if upstream.row is None:
            return "held"
        return "held again" if is_mirrored else "unreadable"


def check_reports(connection_id: int, now: datetime) -> str:
    """Find out whether what webhooks reported is true: a few are asked about, many held
    messages are read at once.

    What is not held can only be asked about one by one; the sweep asks about the rest.

    "again" asks for one more read: absence from one list alone proves nothing where no
    message can be asked about.
    """
    began = clock()
    reported = (
        Message.objects.reported_unconfirmed()
        .filter(connection=connection_id)
        .select_related("connection")
    )
    rest = [
        message
        for message in reported.reported_and_ended()
        if closing.apply_reports(message)
    ]
    asked = ", ".join(ask_about(message.pk, now) for message in rest[:FEW])
    reported = reported.filter(state=MessageState.HELD)
    few = list(reported[: FEW + 1])
    if not few:
        return asked or "nothing to check"
    if len(few) <= FEW and all(map(reads.can_ask, few)):
        return ", ".join(ask_about(message.pk, now) for message in few)
    outcome = read_everything(connection_id, now)
    is_first = reported.filter(missing_since__gte=began).exists()
    return "again" if outcome == "not now" or is_first else outcome


def read_everything(connection_id: int, now: datetime) -> str:
    """Reconcile one connection with everything that MultiMail holds. A failed or
    partial read closes nothing.

    Unchanged rows cost no write and no query of their own.
    """
    # By the database's clock, which is the row's `began`. A lease that ends too far in
    # the future is left from before the clock was set back.
    free = (
        Q(reading_until=None)
        | Q(reading_until__lt=Now())
        | Q(reading_until__gt=Now() + READ_LEASE * 2)
    )
    mine = Connection.objects.at_work().filter(pk=connection_id)
    if not mine.filter(free).update(reading_until=Now() + READ_LEASE):
        return "not now"
    connection = mine.annotate(began=Now()).get()
    claimed_at = time.monotonic()
    try:
        pending = reads.ask(connection)
        if pending is None:
            return "unreachable"
        began: datetime = connection.began  # type: ignore[attr-defined]
        return _Reading(connection, pending, now, began, claimed_at).reconcile()
    finally:
        Connection.objects.filter(
            pk=connection.pk, reading_until=connection.reading_until
        ).update(reading_until=None)


@dataclass
class _Reading:
    """One whole read, being stored in the mirror."""

    connection: Connection
    pending: Pending
    now: datetime
    # By the database's clock.
    began: datetime
    # When the lease was renewed last.
    renewed: float
    is_unfinished: bool = False
    is_overtaken: bool = False
    has_failed: bool = False
    closed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.row = Connection.objects.filter(pk=self.connection.pk)
        self.messages = Message.objects.filter(connection=self.connection)
        # The listed rows, by their ids at MultiMail.
        self.rows = {str(row["id"]): row for row in self.pending.rows}
        self.ends = time.monotonic() + WORK_TIME
        self.unreadable = self.pending.unreadable

    def reconcile(self) -> str:
        """Mirror what is new or changed, close what is gone, and record how complete
        the queue is.
        """
        if self.connection.is_our_gateway != self.pending.is_our_gateway:
            # Our gateway can be asked about each message; what answers here may have
            # been another one before.
            self.row.update(
                is_our_gateway=self.pending.is_our_gateway,
                refused_fields=[],
                surveyed_at=None,
            )
            self.connection.is_our_gateway = self.pending.is_our_gateway
        # The fields of each held message to compare rows with, by its id at MultiMail.
        fields = self.messages.real().filter(state=MessageState.HELD).values_list(
            "pk", "upstream_id", "revision__fingerprint", "revision", "hydrated_at", "fetch_tries", "seen_at",
            "missing_since", "gate_expires_at", "reported", "revision__coverage", named=True,
        )  # fmt: skip
        held: dict[str, Any] = {one.upstream_id: one for one in fields}
        news = self._news(held)
        # Which of these the mirror shows as ended.
        shown_as_ended = self.messages.exclude(state__in=closing.AS_LISTED).filter(
            upstream_id__in=set(news) - set(held)
        )
        ended = set(shown_as_ended.values_list("upstream_id", flat=True))
        for upstream_id in news:
            if self._is_over():
                break
            with traced(uuid.uuid4().hex[:16]):
                if upstream_id in ended:
                    closing.reopen(self.connection, upstream_id, self.began, self.now)
                row: Mapping[str, Any] = self.rows[upstream_id]
                try:
                    row = reads.completed(self.connection, row)
                except errors.UpstreamError as error:
                    health.wait(self.connection, error)
                    # The next read tries again.
                    log.warning(
                        "recipients not read",
                        extra={"email": upstream_id, "reason": error.sentence},
                    )
                self.unreadable += not mirror_row(
                    self.connection, row, self.now, examination
                )
        self._undo_what_absence_meant(
            [one for one in held.values() if one.upstream_id in self.rows]
        )
        self._compare_expiries(held)
        if not self.pending.unreadable:
            for one in held.values():
                # Messages seen after this read began must not be closed by it.
                is_older = one.seen_at < self.began
                if (
                    one.upstream_id not in self.rows
                    and is_older
                    and not self.has_failed
                    and not self._is_over()
                ):
                    self._close(one)
        self._record_burst()
        return self._record_result()

    def _news(self, held: dict[str, Any]) -> list[str]:
        """Return the ids of the rows that the mirror does not show yet. What others
        read since this began is newer than these.
        """
        # By id, with the version to compare with; None where the row is news anyway.
        others: dict[str, int | None] = {}
        closed = self.messages.exclude(state__in=_WAITS).filter(
            changed_at__gte=self.began
        )
        since_closed = set(closed.values_list("upstream_id", flat=True))
        connection = self.connection
        reads_cc = connection.read_key and connection.capabilities.get("read_cc")
        for upstream_id, row in self.rows.items():
            known = held.get(upstream_id)
            if known is None:
                if upstream_id not in since_closed:
                    others[upstream_id] = None
            elif known.fetch_tries > FETCH_TRIES:
                # Given up.
                continue
            elif known.hydrated_at is None or (
                # The read key can show more than was read: the message came before the
                # key, or it failed then.
                reads_cc
                and row.get("direction") == "outbound"
                and "cc" not in row
                and "cc" not in known.revision__coverage
            ):
                others[upstream_id] = None
            elif known.seen_at < self.began and not _is_read_as(
                row, known.revision__fingerprint
            ):
                others[upstream_id] = known.revision
        revisions = Revision.objects.in_bulk(
            [revision for revision in others.values() if revision]
        )
        return [
            upstream_id
            for upstream_id, revision in others.items()
            if revision is None
            or _has_news(self.rows[upstream_id], revisions[revision])
        ]

    def _undo_what_absence_meant(self, listed: list[Any]) -> None:
        """Undo what was concluded from absence, or reported by webhooks alone, for held
        messages that are listed.
        """
        for one in listed:
            if one.reported and not self._is_over():
                closing.refute_reports(
                    Message.objects.select_related("connection").get(pk=one.pk),
                    self.began,
                )
        if back := [one.pk for one in listed if one.missing_since]:
            Message.objects.filter(pk__in=back).update(missing_since=None)
        # MultiMail said a settle time ago that it had carried these out.
        without_effect = Decision.objects.filter(
            state=DecisionState.APPLIED,
            changed_at__lt=self.began - closing.SETTLE_TIME,
            changed_at__gte=F("message__changed_at"),
            message__connection=self.connection,
            message__state=MessageState.HELD,
        ).values_list("message__upstream_id", flat=True)
        for upstream_id in self.rows.keys() & set(without_effect):
            closing.hold_again(self.connection, upstream_id, self.began, self.now)
        # Those that only absence had settled are open again.
        unattributed = Decision.objects.filter(
            state=DecisionState.UNATTRIBUTED,
            message__connection=self.connection,
            message__state=MessageState.HELD,
            changed_at__lt=self.began,
        )
        ids = unattributed.values_list("message__upstream_id", flat=True)
        if again := self.rows.keys() & set(ids):
            with transaction.atomic():
                for decision in unattributed.filter(
                    message__upstream_id__in=again
                ).under_lock():
                    settle.advance(
                        decision, DecisionEvent.FOUND, ACTOR, seen_held=0, seen_absent=0
                    )

    def _compare_expiries(self, held: dict[str, Any]) -> None:
        """Have an expiry told again that our gateway was told and does not know: it was
        restored from a backup.
        """
        if not self.connection.is_our_gateway:
            return
        lost = []
        for one in held.values():
            row = self.rows.get(one.upstream_id, {})
            if one.gate_expires_at and "expires_at" in row:
                shown = read_time(row["expires_at"])
                if shown is None or abs(shown - one.gate_expires_at) > _SAME_EXPIRY:
                    lost.append(one.pk)
        if lost:
            log.warning(
                "expiries are told again",
                extra={"number": len(lost), "connection": self.connection.slug},
            )
            Message.objects.filter(pk__in=lost).update(gate_expires_at=None)

    def _close(self, one: Any) -> None:
        message = Message.objects.select_related("connection", "mailbox").get(pk=one.pk)
        upstream = reads.ask_status(message)
        if upstream is not None and upstream.held:
            return
        if upstream is None:
            if reads.can_ask(message):
                # It can be asked but did not answer: absence alone closes nothing, and
                # the next message would fail too.
                self.has_failed = self.connection.is_our_gateway
                return
            # One list is no proof where a message can move between pages, or where
            # somebody may want it closed.
            is_doubtful = self.pending.pages > 1 or one.reported
            if is_doubtful and (
                one.missing_since is None or one.missing_since >= self.began
            ):
                Message.objects.filter(pk=one.pk, missing_since=None).update(
                    missing_since=self.began
                )
                return
            upstream = reads.UpstreamStatus()
        closing.close(message, upstream, self.now, self.began)
        self.closed.append(message.pk)

    def _record_burst(self) -> None:
        """Record in one entry that several messages were decided elsewhere at once, and
        by whom.
        """
        if len(self.closed) < BURST:
            return
        ours = Decision.objects.filter(message=OuterRef("pk"), may_have_left=True)
        elsewhere = Message.objects.filter(
            pk__in=self.closed, state__in=_DECIDED
        ).exclude(Exists(ours))
        number = elsewhere.count()
        if number < BURST:
            return
        named = set(
            elsewhere.exclude(upstream_decided_by="").values_list(
                "upstream_decided_by", flat=True
            )
        )
        ids = set(elsewhere.values_list("upstream_id", flat=True))
        who = sorted(named or reads.deciding_keys(self.connection, ids))[:FEW]
        by = f" by {', '.join(who)}" if who else ""
        sentence = f"{number} messages were decided at MultiMail{by}, not at this desk."
        with transaction.atomic():
            record(
                "connection.decided_elsewhere",
                actor=ACTOR,
                connection=self.connection.pk,
                details={"explanation": sentence},
            )

    def _is_over(self) -> bool:
        """Whether the rest is left to the next read; otherwise renew the lease when
        due.
        """
        now = time.monotonic()
        if now > self.ends:
            self.is_unfinished = True
        elif now > self.renewed + _RENEW_AFTER:
            mine = self.row.filter(reading_until=self.connection.reading_until)
            if mine.update(reading_until=Now() + READ_LEASE):
                self.connection.refresh_from_db(fields=["reading_until"])
                self.renewed = now
            else:
                # This worker was paused, and another one is reading now.
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
        if self.is_unfinished:
            # The list was read, so MultiMail is healthy; only some rows are not stored
            # yet.
            health.note_recovery(self.connection, began=self.began)
            return "to be continued"
        # Never move it backwards: a newer read may have ended first.
        older = self.row.filter(
            Q(complete_as_of=None) | Q(complete_as_of__lt=self.began)
        )
        older.filter(reading_until=self.connection.reading_until).update(
            complete_as_of=self.began, reading_until=None
        )
        health.note_recovery(self.connection, began=self.began)
        return f"{len(self.rows)} held"


def _is_read_as(row: dict[str, Any], known: str | None) -> bool:
    try:
        return fingerprint(store.content_of(row)) == known
    except UNREADABLE:
        return False


def _has_news(row: dict[str, Any], revision: Revision) -> bool:
    """Whether a row has news for its message; one that cannot be compared has, so
    mirroring it reports the error.
    """
    try:
        return store.changed_content(revision, store.content_of(row)) is not None
    except UNREADABLE:
        return True
