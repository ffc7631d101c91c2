"""Asks MultiMail which messages it holds, and what became of one message. Failures are
recorded on the connection.

Everything is read with the oversight key, except what only a read key may see. The list
of held messages is read page by page, and no page stays in memory. The threads of a
process share the read of a page, if they ask for it at about the same time
(`SharedRead`).
"""

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from django.db.models import DurationField, ExpressionWrapper, F, Q
from django.db.models.functions import Now

from common.endings import known_ending
from common.postgres import clock
from common.references import with_reported
from common.unique_keys import Json, text_in
from mirror.models import Connection, Message, PendingPage
from mirror.states import UNREPORTED, MessageEvent, reported_of
from mirror.sync import health
from mirror.sync.account import without_refused
from upstream import errors
from upstream.admin import AdminClient
from upstream.client import PAGE, Client, Listed, Pending
from upstream.events import read_time
from upstream.wire import TOTAL_TIMEOUT


class SharedRead:
    """Reads a page of an account's list for several threads: callers who ask before a
    read begins share its result.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._newest: tuple[float, Listed | Exception] | None = None
        # How many callers there are.
        self.callers = 0

    def run(self, read: Callable[[], Listed], *, patience: float) -> Listed:
        """Return the result of a read that begins after this call.

        The first caller does the read, when the one under way has ended; later callers
        wait for its result. Raises what `read` raises, for each of them, and NotSent
        after `patience` seconds.
        """
        asked = time.monotonic()
        if not self._turn.acquire(timeout=patience):
            raise errors.NotSent(
                "MultiMail's list of held messages is still being read."
            )
        try:
            if not self._newest or self._newest[0] <= asked:
                began = time.monotonic()
                try:
                    self._newest = (began, read())
                except Exception as error:  # noqa: BLE001 - raised again in each thread
                    self._newest = (began, error)
            _, result = self._newest
        finally:
            self._turn.release()
        if isinstance(result, Exception):
            raise result
        return result


# MultiMail asks clients to begin its list at most once a second.
READ_PAUSE = timedelta(seconds=1)
# In seconds: how long a caller waits for a read. With the call that follows, this is
# shorter than the lease of a decision.
PATIENCE = TOTAL_TIMEOUT + 5
# The time limit for reading the audit log.
AUDIT_SECONDS = 10.0
# MultiMail's documentation has several words for held messages, and for sent ones; and
# these for received ones that the agent can read.
_AWAITING = """
pending_send_approval pending_inbound_approval pending_approval pending
""".split()
_SENT = ("sent", "delivered", "approved_and_sent")
_READABLE = ("unread", "read", "archived")
# The statuses of answers that refuse a cursor.
_CURSOR_REFUSED = (400, 404, 410, 414, 422)
# The pages that are being read, by connection, key and cursor.
_reads: dict[tuple[int, str, str], SharedRead] = {}


@dataclass(frozen=True)
class UpstreamStatus:
    """What MultiMail says about one message."""

    # Whether it is held, and the pending row if that was read.
    held: bool = False
    row: Json | None = None
    # How it was decided: approved, rejected, cancelled, or empty if that is not said.
    reported: str = ""
    status: str = ""
    reason: str = ""
    decided_by: str = ""
    # A code of `EndedBy`, or empty.
    ended_by: str = ""
    # The events that have happened to an approved message since.
    later_events: tuple[str, ...] = ()
    # The whole answer.
    answer: Json = field(default_factory=dict)


def ask_page(
    connection: Connection, cursor: str, number: int, limit: int
) -> Listed | None:
    """Read one page of the list of held messages, which has this number. Return None if
    MultiMail could not be read, which is recorded on the connection.
    """
    try:
        return read_page(connection, cursor, limit)
    except errors.UpstreamError as error:
        if cursor and error.status in _CURSOR_REFUSED:
            # The place is not valid any more.
            if connection.whole_read_began is None:
                # It was that of an earlier read, and is no failure.
                connection.pending_pages.filter(number__gte=number).delete()
                return None
            # The next read begins at the first page.
            forget_pages(connection)
        if error.status:
            # Pages before it do not count as a recovery next time.
            connection.row.update(failed_page=number)
        elif isinstance(error, errors.OutcomeUnknown):
            # It may take too long for the time limit.
            connection.row.update(page_limit=max(limit // 4, 1))
        _note_unreadable(connection, error)
        return None


def ask_for(connection: Connection, upstream_id: str) -> Pending | None:
    """Ask our gateway for one message. Return None if it could not be asked, which is
    recorded on the connection.
    """
    try:
        client = oversight_client(connection, for_reading=True)
        pending = client.read_pending(email_id=upstream_id)
    except errors.NotFound:
        # That a message is not known is no failure of the connection.
        return Pending(row=None, closed=None, is_our_gateway=True)
    except errors.UpstreamError as error:
        _note_unreadable(connection, error)
        return None
    if pending.is_our_gateway:
        return pending
    # The address does not lead to our gateway any more. Another MultiMail does not know
    # the question for one message, so its answer means nothing.
    connection.row.update(is_our_gateway=False, surveyed_at=None)
    return None


def _note_unreadable(connection: Connection, error: errors.UpstreamError) -> None:
    health.wait(connection, error)
    if isinstance(error, errors.KeyRefused | errors.Forbidden):
        # A key that may not read makes the connection useless, so it is paused.
        health.pause(connection, error.sentence)
    health.note_failure(connection, error.sentence)


def read_page(connection: Connection, cursor: str = "", limit: int = PAGE) -> Listed:
    """Read one page of the list of held messages. The list is begun at most once a
    second in all processes.

    A caller that asks while the page is being read gets the result of the next read, so
    that it begins after the caller asked. Raises UpstreamError.
    """
    key = (connection.pk, _key_hash(connection), cursor)

    def list_pending() -> Listed:
        if cursor:
            connection.row.update(read_at=Now())
        else:
            _rest(connection)
        client = oversight_client(connection, for_reading=True)
        ask = partial(client.list_pending, cursor=cursor, limit=limit)
        return without_refused(connection, ask)

    shared = _reads.setdefault(key, SharedRead())
    shared.callers += 1
    try:
        return shared.run(list_pending, patience=PATIENCE)
    finally:
        shared.callers -= 1
        if not shared.callers:
            # A page may be large, so it is kept only while somebody may share it.
            _reads.pop(key, None)


def _rest(connection: Connection) -> None:
    """Wait until the list may be begun again."""
    rested = connection.row.filter(Q(read_at=None) | Q(read_at__lte=Now() - READ_PAUSE))
    rest = ExpressionWrapper(
        F("read_at") + READ_PAUSE - Now(), output_field=DurationField()
    )
    # After a few tries it reads anyway: a clock that was set back must not block
    # reading.
    for _ in range(5):
        if rested.update(read_at=Now()):
            break
        waits = connection.row.annotate(rest=rest).values_list("rest", flat=True)
        pause = min(waits.first() or timedelta(0), READ_PAUSE).total_seconds()
        time.sleep(max(pause, 0.01))


def find_listed(message: Message) -> tuple[Json | None, bool]:
    """Look for a message on those pages of the list on which it is likely to be.

    Return its row, or None, and whether that proves that it is not held: the list has
    only one page, and all its rows can be told apart. Raises UpstreamError.
    """
    connection = message.connection
    is_whole = False
    for cursor in PendingPage.objects.likely_cursors(connection, message.upstream_id):
        try:
            page = read_page(connection, cursor)
        except errors.UpstreamError as error:
            if cursor and error.status in _CURSOR_REFUSED:
                continue
            raise
        if row := page.row(message.upstream_id):
            return row, False
        is_whole = not (cursor or page.cursor or page.nameless)
    return None, is_whole


def look_for(message: Message) -> tuple[Json | None, bool]:
    """Do as `find_listed`, but return that nothing was found if MultiMail cannot be
    read.
    """
    try:
        return find_listed(message)
    except errors.UpstreamError as error:
        health.note_unread(message.connection, "list of held messages", error)
        return None, False


def forget_pages(connection: Connection) -> None:
    """Have the next whole read begin at the first page."""
    connection.pending_pages.all().delete()
    connection.row.update(whole_read_began=None, rest_until=None)


def oversight_client(connection: Connection, *, for_reading: bool = False) -> Client:
    """Return the client with the oversight key, the only key that decides.

    A key that may also send mail is refused, because with it one program could both
    write and approve. Each key is checked once; as long as this fails, the client is
    returned only `for_reading`. Raises KeyRefused, NotSent and Throttled.
    """
    client = Client(base_url=connection.api_url, key=connection.oversight_key)
    if connection.checked_key == _key_hash(connection):
        return client
    try:
        account = client.account()
    except (errors.Forbidden, errors.NotFound, errors.Rejected):
        # MultiMail does not report this key's scopes.
        account = {}
    except errors.UpstreamError as error:
        if isinstance(error, errors.Throttled):
            raise
        if for_reading and error.status:
            # The list of held messages may work, although the account cannot be read.
            return client
        if isinstance(error, errors.KeyRefused):
            raise
        raise errors.NotSent(error.sentence, status=error.status) from error
    scopes = account.get("scopes")
    if isinstance(scopes, list) and "send" in scopes:
        sentence = "The oversight key may also send mail, so one key could write and approve. Replace it."
        health.pause(connection, sentence)
        raise errors.KeyRefused(sentence)
    connection.checked_key = _key_hash(connection)
    # The account's id is stored to notice if somebody connects the same account twice.
    connection.account_id = connection.account_id or text_in(account, "id", most=200)
    connection.row.update(
        checked_key=connection.checked_key, account_id=connection.account_id
    )
    # Cursors of another address or account mean nothing here.
    connection.pending_pages.all().delete()
    return client


def read_client(connection: Connection) -> Client | None:
    """Return the client with the read key, which reads threads and attached files; None
    if the connection has no read key.
    """
    if not connection.read_key:
        return None
    return Client(base_url=connection.api_url, key=connection.read_key)


@dataclass(frozen=True)
class Original:
    """The HTML of a message before our gateway simplified it, and in sentences what
    that changed; or the error if it could not be read.
    """

    html: str = ""
    changes: tuple[str, ...] = ()
    error: str = ""


def original_of(message: Message) -> Original | None:
    """Read the original HTML of a message from our gateway; None if the gateway changed
    nothing when the message was handed in.
    """
    if not message.revision or not message.revision.simplified:
        return None
    connection = message.connection
    client = Client(base_url=connection.api_url, key=connection.oversight_key)
    try:
        answer = client.read_original(email_id=message.upstream_id)
    except errors.UpstreamError as error:
        return Original(error=error.sentence)
    changes = answer.get("changes")
    return Original(
        text_in(answer, "html"),
        tuple(map(str, changes)) if isinstance(changes, list) else (),
    )


def deciding_keys(connection: Connection, upstream_ids: Collection[str]) -> set[str]:
    """Return the names of the API keys that decided these messages, by the newest
    entries of MultiMail's audit log; empty if it cannot be read.
    """
    if not connection.admin_key or connection.capabilities.get("audit_log") is False:
        return set()
    client = AdminClient(
        base_url=connection.api_url, key=connection.admin_key, within=AUDIT_SECONDS
    )
    try:
        entries = client.list_audit_log()
    except errors.UpstreamError as error:
        health.note_unread(connection, "audit log", error)
        return set()
    keys = set()
    for one in entries:
        is_decision = str(one.get("action")).startswith(("approve", "reject"))
        key = text_in(one, "actor_key_id")
        if key and is_decision and str(one.get("resource_id")) in upstream_ids:
            keys.add(f"API key {key[:64]}")
    return keys


def _key_hash(connection: Connection) -> str:
    # Of the oversight key with its address: another address needs another check.
    return hashlib.sha256(
        f"{connection.api_url} {connection.oversight_key}".encode()
    ).hexdigest()[:16]


def can_ask(message: Message) -> bool:
    """Whether MultiMail can be asked about this message.

    A received message is not read with the read key, because this would mark it as read
    for the agent, which looks for unread mail.
    """
    connection = message.connection
    return connection.is_our_gateway or bool(
        connection.read_key and not message.is_inbound
    )


def ask_status(message: Message) -> UpstreamStatus | None:
    """Ask MultiMail what became of one message; None if it cannot be asked, or did not
    answer.
    """
    connection = message.connection
    reader = None if message.is_inbound else read_client(connection)
    if not connection.is_our_gateway:
        return _read_email(message, reader) if reader else None
    # Of a decided message, our gateway's list has only the outcome. The subject can be
    # read only with the read key.
    is_past = message.state not in UNREPORTED
    if reader and message.is_unnamed and is_past:
        upstream = _read_email(message, reader)
        if upstream and upstream.status:
            return upstream
    pending = ask_for(connection, message.upstream_id)
    if not pending:
        return None
    if pending.row:
        return UpstreamStatus(held=True, row=pending.row)
    return status_in(pending.closed or {}, message)


def _read_email(message: Message, client: Client) -> UpstreamStatus | None:
    """Read one message with the read key, and return its status; None if MultiMail did
    not answer.
    """
    mailbox = message.mailbox.upstream_id if message.mailbox else ""
    try:
        return status_in(
            client.read_email(email_id=message.upstream_id, mailbox_id=mailbox), message
        )
    except errors.NotFound:
        return UpstreamStatus()
    except errors.UpstreamError as error:
        health.note_unread(message.connection, "message", error)
        return None


# Fields that hosted MultiMail may leave out of its lists, but returns for one message.
_HIDDEN = ("cc", "bcc", "attachments")


def completed(connection: Connection, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a pending row with the recipients and files that only the read key can
    see; unchanged if there is no read key.

    Nothing is read for a received message, because this would mark it as read. Raises
    UpstreamError if MultiMail did not answer.
    """
    missing = [name for name in _HIDDEN if name not in row]
    is_sent = row.get("direction") == "outbound"
    client = read_client(connection)
    if not missing or connection.is_our_gateway or not client or not is_sent:
        return row
    try:
        answer = client.read_email(
            email_id=str(row["id"]), mailbox_id=text_in(row, "mailbox_id")
        )
    except (errors.Forbidden, errors.KeyRefused, errors.NotFound, errors.Rejected):
        return row
    added = {name: answer[name] for name in missing if name in answer}
    return {**row, **added}


def _waits(answer: Json, message: Message) -> bool:
    """Whether an approved message waits for a time of sending that is still to come. At
    our gateway `scheduled` is also what is sent in a moment.
    """
    content = message.revision.content if message.revision else {}
    send_at = read_time(answer.get("send_at") or content.get("send_at"))
    if not send_at:
        return not message.connection.is_our_gateway
    return send_at > clock()


def status_in(answer: Json, message: Message) -> UpstreamStatus:
    """Return the status of a message that was held once, from MultiMail's answer about
    it.
    """
    status = text_in(answer, "status")
    reported = reported_of(text_in(answer, "decision"), status)
    if not reported and (
        answer.get("approved_at") or status in (*_SENT, "send_failed", *_READABLE)
    ):
        # It was held and is sent or readable now, so somebody approved it.
        reported = "approved"
    reason = text_in(answer, "reason", "decision_reason")
    decided_by = text_in(answer, "decided_by", "approved_by")
    later: list[str] = []
    # The fate is unknown if the gateway's connection to the mail server broke when the
    # server may have accepted the message. Then the gateway's operator decides whether
    # it counts as sent.
    is_known = not answer.get("fate_unknown")
    if reported == "approved" and not message.is_inbound and is_known:
        happened = {
            MessageEvent.SCHEDULED: status == "scheduled" and _waits(answer, message),
            MessageEvent.CANCELLED: status == "cancelled",
            MessageEvent.FAILED: status == "send_failed",
            MessageEvent.SENT: status in _SENT or answer.get("delivered_at"),
            MessageEvent.DELIVERED: answer.get("delivered_at"),
            MessageEvent.BOUNCED: answer.get("bounced_at"),
        }
        later = [event for event, is_so in happened.items() if is_so]
    return UpstreamStatus(
        held=status in _AWAITING,
        reported=reported,
        status=status,
        reason=with_reported(reason, answer.get("decision_reference"), decided_by),
        decided_by=decided_by,
        ended_by=known_ending(answer.get("ended_by")),
        later_events=tuple(later),
        answer=answer,
    )
