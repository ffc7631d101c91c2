"""Compares the mirror with MultiMail's whole list of held messages (a "whole read"), and
brings it up to date: page by page, each of which is stored before the next one is asked
for. A read that ends early goes on at the same place, also in another worker. It
decides nothing.

A message counts as not listed only after a read of all pages in which no message moved.
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Greatest, Now

from approvals.decisions import settle
from approvals.held_rows import OPEN, UNREADABLE, mirror_row
from approvals.models import Decision
from approvals.reconcile import closing
from audit.models import Entry
from common.fingerprint import fingerprint
from common.logs import given_id, traced
from common.postgres import clock
from mirror import store
from mirror.models import Connection, Message, PendingPage, Revision
from mirror.models.connections import ROUND, SHARE
from mirror.recording import record_of_connection
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
from upstream.client import Listed
from upstream.events import read_time

log = logging.getLogger(__name__)

# How long a worker holds a connection for a whole read: longer than reading a page
# takes. While rows are stored, the lease is renewed.
READ_LEASE = timedelta(seconds=35)
# Seconds after which the rest is left to the next run.
WORK_TIME = 45.0
# Seconds after which the lease is renewed.
_RENEW_AFTER = 5.0
# A place in the list that is older than this is not gone on from.
_PLACE_KEPT = timedelta(minutes=10)
# If so many pages in a row are empty, the list is taken for endless.
_MOST_EMPTY = 20
# How many messages are named, or asked about one by one.
FEW = 3
# If so many messages were decided elsewhere within this time, they get one common entry
# in the ledger, and another one if more follow.
BURST = 5
BURST_MINUTES = 10
# Expiries that differ less are equal: a gateway stores them only to the millisecond.
_SAME_EXPIRY = timedelta(seconds=1)


def read_everything(connection_id: int, now: datetime) -> str:
    """Compare the mirror with everything that MultiMail holds for one connection, and
    bring it up to date, for WORK_TIME at most; return "to be continued" if pages are
    left. If a page cannot be read, no message is closed.

    A list that takes long to read is read whole only now and then (`rest_until`). In
    between only its first and last pages are read, where new messages are.

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
    if this_connection.filter(wait_until__gt=Now()).exists():
        return "told to wait"
    if not this_connection.filter(free).update(reading_until=Now() + READ_LEASE):
        return "not now"
    connection = this_connection.get()
    whole_read = _WholeRead(connection, now)
    try:
        return whole_read.run()
    finally:
        connection.row.filter(reading_until=connection.reading_until).update(
            reading_until=None, whole_read_spent=whole_read.spent()
        )


@dataclass
class _WholeRead:
    """One run of a whole read: it stores page after page in the mirror, and after the
    last one closes what was not listed.
    """

    connection: Connection
    now: datetime
    # When the page that is being stored was asked for, by the database's clock, and its
    # rows by their ids at MultiMail.
    began: datetime = field(init=False)
    rows: dict[str, Any] = field(default_factory=dict)
    # How many rows of the page could not be stored, and how many contents could not be
    # fetched.
    unreadable: int = 0
    unfetched: int = 0
    # Whether something is left to the next run.
    is_unfinished: bool = False
    # Whether another worker has begun to read this connection.
    is_overtaken: bool = False
    # Whether MultiMail did not answer.
    has_failed: bool = False

    def __post_init__(self) -> None:
        self.messages = Message.objects.filter(connection=self.connection)
        # When it began, and when the lease was renewed last, by this process's
        # monotonic clock.
        self.started = self.renewed = time.monotonic()

    def run(self) -> str:
        """Go on with the read under way, or begin one. Return a text for the log."""
        connection = self.connection
        now = self._database_time()
        page = None
        if connection.whole_read_began is not None:
            page = PendingPage.objects.of_read(connection).last()
        elif connection.rest_until and connection.rest_until > now:
            return self._read_ends()
        if page is not None:
            # The time for which MultiMail told the desk to wait does not count.
            left_at = max(page.read_at, connection.wait_until or page.read_at)
            if left_at < now - _PLACE_KEPT:
                page = None
        if page is None:
            beginning = {
                "whole_read_began": now,
                "whole_read_count": 0,
                "whole_read_spent": timedelta(0),
            }
            vars(connection).update(beginning)
            connection.row.update(**beginning)
        while page is None or page.following:
            page = None if self._must_stop() else self._read_page(page)
            if page is None:
                return self._outcome()
        return self._finish(page)

    def spent(self) -> timedelta:
        """Return for how long this whole read was worked on, in all its runs."""
        so_far = timedelta(seconds=time.monotonic() - self.started)
        return self.connection.whole_read_spent + so_far

    def _database_time(self) -> datetime:
        # Compared with other times that the database wrote in its statements.
        row = self.connection.row.annotate(at=Now())
        return row.values_list("at", flat=True).get()

    def _read_ends(self) -> str:
        """Read the first page of a long list and the last one, and what follows it."""
        pages = self.connection.pending_pages.order_by("-number")
        before_last = pages.exclude(following="").first()
        page = self._read_page(None)
        if page is not None and before_last is not None:
            page = before_last
            while page is not None and page.following and not self._must_stop():
                page = self._read_page(page)
        return self._outcome() if page is None else "ends read"

    def _outcome(self) -> str:
        if self.has_failed:
            return "unreachable"
        return "overtaken" if self.is_overtaken else "to be continued"

    def _read_page(self, before: PendingPage | None) -> PendingPage | None:
        """Read and store the page that follows another one, or the first page. Return
        it; None if it was not stored whole.
        """
        connection = self.connection
        cursor = before.following if before else ""
        number = before.number + 1 if before else 0
        self.began = self._database_time()
        listed = reads.ask_page(connection, cursor, number, connection.page_limit)
        if listed is None:
            self.has_failed = True
            return None
        connection.page_limit = listed.limit
        if connection.is_our_gateway != listed.is_our_gateway:
            # The address now belongs to our gateway instead of another MultiMail, or
            # the reverse. What was learnt about the previous one counts no more.
            connection.row.update(
                is_our_gateway=listed.is_our_gateway,
                refused_fields=[],
                surveyed_at=None,
            )
            connection.is_our_gateway = listed.is_our_gateway
        self.unreadable = 0
        self._store(listed)
        if before and self._is_repeated(before, listed):
            self.has_failed = True
            if connection.whole_read_began is not None:
                reads.forget_pages(connection)
                connection.row.update(failed_page=number)
                sentence = "MultiMail's list of held messages repeated a page."
                health.note_failure(connection, sentence)
        self._keep_lease()
        if self.is_unfinished or self.has_failed:
            return None
        page, _ = PendingPage.objects.update_or_create(
            connection=connection,
            number=number,
            defaults={
                "cursor": cursor,
                "following": listed.cursor,
                "ids": list(self.rows),
                "nameless": listed.nameless,
                "unreadable": self.unreadable,
                "read_at": self.began,
            },
        )
        if connection.whole_read_began is not None:
            connection.whole_read_count += len(self.rows)
            connection.row.update(
                page_limit=connection.page_limit,
                whole_read_count=connection.whole_read_count,
                whole_read_total=Greatest(
                    "whole_read_total", connection.whole_read_count, listed.total
                ),
            )
        is_past_failure = number >= (connection.failed_page or 0)
        if is_past_failure and not connection.pending_pages.incomplete().exists():
            # The list can be read, so the connection is healthy, even if pages are left.
            health.note_recovery(connection, began=self.began)
        return page

    def _is_repeated(self, before: PendingPage, listed: Listed) -> bool:
        """Whether the list does not end: it leads back to a page that was read, or to
        one empty page after the other.
        """
        pages = self.connection.pending_pages.filter(number__lte=before.number)
        leads_back = Q(cursor=listed.cursor) | Q(following=listed.cursor)
        if listed.cursor and pages.filter(leads_back).exists():
            return True
        if self.connection.whole_read_began is None:
            # The other pages are those of an earlier read.
            return False
        if listed.rows:
            return pages.filter(ids__0=str(listed.rows[0]["id"])).exists()
        latest = pages.filter(number__gt=before.number - _MOST_EMPTY)
        return bool(listed.cursor) and latest.filter(ids=[]).count() == _MOST_EMPTY

    def _store(self, listed: Listed) -> None:
        """Store the new and changed messages of a page."""
        self.rows = {str(row["id"]): row for row in listed.rows}
        # The fields of each held message to compare rows with, by its id at MultiMail.
        fields = self.messages.filter(
            state=MessageState.HELD, upstream_id__in=self.rows
        ).values_list(
            "pk", "upstream_id", "revision__fingerprint", "revision", "hydrated_at", "fetch_tries", "seen_at",
            "missing_since", "gate_expires_at", "reported", "revision__coverage", "review__rules", "read_after",
            named=True,
        )  # fmt: skip
        held: dict[str, Any] = {mirrored.upstream_id: mirrored for mirrored in fields}
        changed_ids = self._changed_ids(held, listed)
        # Which of the listed messages the mirror shows as ended.
        shown_as_ended = self.messages.exclude(state__in=OPEN).filter(
            upstream_id__in=set(changed_ids) - set(held)
        )
        ended_ids = set(shown_as_ended.values_list("upstream_id", flat=True))
        for upstream_id in changed_ids:
            if self._must_stop():
                return
            row: Mapping[str, Any] = self.rows[upstream_id]
            with traced(given_id(row.get("request_id")) or uuid.uuid4().hex[:16]):
                if upstream_id in ended_ids:
                    closing.reopen(self.connection, upstream_id, self.began, self.now)
                whole_row = self._with_contents(row, listed)
                if whole_row is not None:
                    is_stored = mirror_row(self.connection, whole_row, self.now)
                    self.unreadable += not is_stored
            if self.unfetched > FEW:
                self.has_failed = True
                return
        self._restore_listed(held.values())
        self._compare_expiries(held)

    def _with_contents(
        self, row: Mapping[str, Any], listed: Listed
    ) -> Mapping[str, Any] | None:
        """Return a row with all that MultiMail shows of the message; None if it is not
        held any more, or its content could not be fetched.
        """
        if not listed.has_contents:
            pending = reads.ask_for(self.connection, str(row["id"]))
            if pending is None:
                self.unreadable += 1
                self.unfetched += 1
                return None
            return pending.row
        try:
            if not self.has_failed:
                return reads.completed(self.connection, row)
        except errors.UpstreamError as error:
            # Told to wait, the desk asks about no other message.
            self.has_failed |= isinstance(error, errors.Throttled)
            health.wait(self.connection, error)
            # The next read tries again.
            log.warning(
                "recipients not read",
                extra={"email": str(row["id"]), "reason": error.sentence},
            )
        return row

    def _finish(self, last: PendingPage) -> str:
        """After the last page, close the messages that are not listed any more, and
        record until when the queue is complete.
        """
        connection = self.connection
        pages = PendingPage.objects.of_read(connection)
        counts = pages.aggregate(
            pages=Count("pk"), nameless=Sum("nameless"), unreadable=Sum("unreadable")
        )
        if counts["pages"] <= last.number:
            # Pages were forgotten meanwhile, for instance because the key is another.
            reads.forget_pages(connection)
            return "to be continued"
        ids = pages.ids_listed()
        listed = set(ids)
        is_long = counts["pages"] > 1
        if not counts["nameless"]:
            has_moved = is_long and (len(listed) < len(ids) or self._has_left())
            # A message that was mirrored after this read began may be missing in its
            # list, and must not be closed.
            held = self.messages.filter(
                state=MessageState.HELD, seen_at__lt=connection.whole_read_began
            )
            for pk, upstream_id in held.values_list("pk", "upstream_id"):
                if self.has_failed or self._must_stop():
                    break
                if upstream_id not in listed:
                    self._close(pk, is_long=is_long, has_moved=has_moved)
            if is_long and not has_moved and not connection.is_our_gateway:
                closing.resolve_unlisted(
                    connection, listed, lambda: self.has_failed or self._must_stop()
                )
        self._record_burst()
        return self._record_result(counts, len(listed))

    def _has_left(self) -> bool:
        """Whether a message is known to have left the list since this read began: then
        others may have moved to a page that was read before.
        """
        began = self.connection.whole_read_began
        decided = Decision.objects.filter(
            state=DecisionState.APPLIED,
            changed_at__gte=began,
            message__connection=self.connection,
        )
        ended = self.messages.exclude(state__in=OPEN).filter(changed_at__gte=began)
        return decided.exists() or ended.exists()

    def _changed_ids(self, held: dict[str, Any], listed: Listed) -> list[str]:
        """Return the ids of the listed messages that the mirror lacks, or has with
        other content. Messages that were stored or closed after the page was asked for
        are left out, because the mirror is newer than the list.
        """
        # By id, the revision to compare the row with; None if it is to be stored
        # anyway.
        candidates: dict[str, int | None] = {}
        closed = self.messages.filter(
            state__in=DONE, changed_at__gte=self.began, upstream_id__in=self.rows
        )
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
                and listed.has_contents
                and row.get("direction") == "outbound"
                and "cc" not in row
                and "cc" not in mirrored.revision__coverage
            ):
                candidates[upstream_id] = None
            elif row.get("fate_unknown") and "restored" not in mirrored.review__rules:
                # The gateway was restored without the desk.
                candidates[upstream_id] = None
            elif mirrored.seen_at < self.began:
                known = mirrored.revision__fingerprint
                if not listed.has_contents:
                    if row.get("fingerprint") != known:
                        candidates[upstream_id] = None
                elif not _has_fingerprint(row, known):
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

    def _restore_listed(self, listed: Collection[Any]) -> None:
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

    def _close(self, pk: int, *, is_long: bool, has_moved: bool) -> None:
        # Closes a held message that is not listed, if MultiMail's answer about it, or a
        # second list without it, proves that it is no longer held.
        began = self.connection.whole_read_began
        assert began is not None, "a whole read is under way"
        message = Message.objects.select_related("connection", "mailbox").get(pk=pk)
        upstream = reads.ask_status(message)
        if upstream is not None and upstream.held:
            return
        if upstream is None and reads.can_ask(message):
            # MultiMail can be asked about a message but did not answer. Then being
            # absent closes nothing, and asking our gateway about the next would fail
            # too; so it is where the desk was told to wait.
            is_rested = self.connection.row.rested().exists()
            self.has_failed = self.connection.is_our_gateway or not is_rested
            return
        if upstream is None or not (upstream.reported or upstream.later_events):
            # A message may be missing because it moved between two pages of the list,
            # or a forged webhook may have reported its end. Then a second list is
            # needed. Hosted MultiMail also answers 404 where a key may not read.
            is_doubtful = is_long or (
                message.reported and not self.connection.is_our_gateway
            )
            missing_since = message.missing_since
            if is_doubtful and (missing_since is None or missing_since >= began):
                if not has_moved:
                    message.row.filter(missing_since=None).update(missing_since=began)
                return
            if has_moved:
                return
        upstream = upstream or reads.UpstreamStatus()
        closing.close(message, upstream, self.now, began)

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
            record_of_connection(
                "connection.decided_elsewhere",
                self.connection,
                ACTOR,
                explanation=sentence,
            )

    def _must_stop(self) -> bool:
        """Return whether to stop and leave the remaining rows to the next read. If not,
        renew the lease when that is due.
        """
        if time.monotonic() > self.started + WORK_TIME:
            self.is_unfinished = True
        else:
            self._keep_lease()
        return self.is_unfinished

    def _keep_lease(self) -> None:
        now = time.monotonic()
        if now > self.renewed + _RENEW_AFTER:
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

    def _record_result(self, counts: Mapping[str, int], number: int) -> str:
        if self.has_failed or self.is_unfinished:
            return self._outcome()
        connection = self.connection
        spent = self.spent()
        rest = spent * (SHARE - 1)
        own_lease = connection.row.filter(reading_until=connection.reading_until)
        own_lease.update(
            whole_read_began=None,
            failed_page=None,
            whole_read_total=number,
            whole_read_took=spent,
            rest_until=Now() + rest if rest > ROUND else None,
        )
        # Pages beyond the end are of an earlier, longer list.
        connection.pending_pages.filter(number__gte=counts["pages"]).delete()
        if unreadable := counts["nameless"] + counts["unreadable"]:
            health.note_failure(
                connection,
                f"{unreadable} of the held messages could not be read; the others are here.",
            )
            return f"{unreadable} unreadable"
        # Never set `complete_as_of` to an earlier time: a read that began later may have
        # ended first.
        older = own_lease.filter(
            Q(complete_as_of=None) | Q(complete_as_of__lt=connection.whole_read_began)
        )
        older.update(complete_as_of=connection.whole_read_began, reading_until=None)
        return f"{number} held"


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
