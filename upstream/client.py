"""Calls MultiMail's API: held messages, threads and attachments, decisions, the
account. Each call has a connection of its own, and is not repeated.

Only a 2xx is a success. If it is not certain that a failed call had no effect, it
raises OutcomeUnknown, and the caller must read the state before it acts again.
"""

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from common.exchange import Answer, Deadline, seconds_asked
from common.logs import trace_id
from common.unique_keys import Json, text_in
from upstream import errors
from upstream.events import storable, written_time
from upstream.refused_fields import OF_A_DECISION, refused_fields
from upstream.wire import TOTAL_TIMEOUT, exchange

# How many held messages a page has at most; hosted MultiMail documents no more.
PAGE = 100
# Rows of all pages of a list whose reader names no number.
MOST_ROWS = 100_000
# The longest answers, in bytes.
MAX_ANSWER = 64 * 1024 * 1024
MAX_PAGE = 16 * 1024 * 1024
MAX_DECISION_ANSWER = 256 * 1024
MAX_THREAD = 32 * 1024 * 1024
# The error for each status of an answer; some more are in _error_for.
_KINDS: dict[int, type[errors.UpstreamError]] = {
    **dict.fromkeys((400, 413, 422), errors.Rejected),
    401: errors.KeyRefused,
    403: errors.Forbidden,
    404: errors.NotFound,
    503: errors.Unavailable,
}


@dataclass(frozen=True)
class Listed:
    """One page of the list of held messages. `rows` are as MultiMail gave them, those
    without a message id left out (`nameless` is their number); `cursor` is that of the
    next page, empty if none follows.

    If the rows have no contents (our gateway only), each has the fingerprint of its
    content instead. `total` is the length of the whole list, 0 if MultiMail does not
    tell; `limit` is how many rows to ask for next: fewer if this page was too large,
    more if it was small and came fast.
    """

    rows: list[Json]
    cursor: str
    is_our_gateway: bool
    has_contents: bool = True
    nameless: int = 0
    total: int = 0
    limit: int = PAGE

    def row(self, upstream_id: str) -> Json | None:
        """Return the row of the message with this id; None if it is not on the page."""
        return next((row for row in self.rows if str(row["id"]) == upstream_id), None)


@dataclass(frozen=True)
class Pending:
    """The answer about one message: its row if it is held, else what became of it
    (`closed`). Both are None if MultiMail does not know it.
    """

    row: Json | None
    closed: Json | None
    is_our_gateway: bool


class Client:
    """MultiMail's API with one key. `base_url` has no path. No error contains the key."""

    def __init__(self, *, base_url: str, key: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key

    def list_pending(
        self,
        *,
        cursor: str = "",
        limit: int = PAGE,
        without: Collection[str] = (),
        deadline: Deadline | None = None,
    ) -> Listed:
        """Read one page of the list of held messages: the first one, or that of a
        cursor. If it has more than MAX_PAGE bytes, fewer rows are asked for, within the
        same time.

        MultiMail repeats the list under three names; our gateway is asked to give it
        once (`only`), and without the contents (`contents`). `without` is as in
        `decide_email`.
        """
        query = {"only": "pending", "contents": "false", "limit": str(limit)}
        optional = tuple(query)
        query = {name: query[name] for name in query if name not in without}
        if cursor:
            query["cursor"] = cursor
        deadline = deadline or Deadline.after(TOTAL_TIMEOUT)
        try:
            answer = self._exchange(
                "GET",
                "/v1/oversight/pending",
                params=query,
                deadline=deadline,
                # Where fewer rows are of no use, a page may be longer.
                limit=MAX_PAGE if limit > 1 and "limit" in query else MAX_ANSWER,
            )
        except errors.TooLarge:
            if limit == 1 or "limit" not in query:
                raise
            return self.list_pending(
                cursor=cursor,
                limit=max(limit // 4, 1),
                without=without,
                deadline=deadline,
            )
        body = _object_in(answer, sent=query, optional=optional)
        listed = rows_in(
            body, "pending", "emails", "messages", what="list of held messages"
        )
        # If a row stands twice, the later copy is the newer one.
        rows = {str(row["id"]): row for row in listed if row.get("id")}
        total = body.get("total")
        following = text_in(body, "cursor")
        # Some servers end their lists with an empty page that has the same cursor.
        is_end = not listed and following == cursor
        was_fast = deadline.ends - time.monotonic() > TOTAL_TIMEOUT * 3 / 4
        if was_fast and len(answer.body) * 2 < MAX_PAGE:
            limit = min(limit * 2, PAGE)
        return Listed(
            rows=list(rows.values()),
            cursor="" if is_end else following,
            is_our_gateway=_is_of_our_gateway(answer),
            has_contents=body.get("contents") is not False,
            nameless=sum(not row.get("id") for row in listed),
            total=total if isinstance(total, int) and 0 < total < 2**31 else 0,
            limit=limit,
        )

    def read_pending(self, *, email_id: str) -> Pending:
        """Ask our gateway for one message, held or not. Other MultiMails do not know
        the question, so their answer means nothing.
        """
        answer = self._exchange(
            "GET", "/v1/oversight/pending", params={"email_id": email_id}
        )
        body = _object_in(answer)
        rows = rows_in(
            body, "pending", "emails", "messages", what="answer about a held message"
        )
        if not all(row.get("id") for row in rows):
            raise errors.OutcomeUnknown(
                "MultiMail's answer about a held message lacks its id."
            )
        row = next((row for row in rows if str(row["id"]) == email_id), None)
        return Pending(
            row=row,
            closed=body if not rows and body.get("status") else None,
            is_our_gateway=_is_of_our_gateway(answer),
        )

    def read_email(self, *, email_id: str, mailbox_id: str) -> Json:
        """Read one message with all its fields. Careful: MultiMail then marks received
        mail as read (docs/multimail.md, Reading).
        """
        target = path("/v1/emails/{}", email_id)
        if mailbox_id:
            target = path("/v1/mailboxes/{}/emails/{}", mailbox_id, email_id)
        return self._call("GET", target)

    def read_thread(
        self, *, thread_id: str, mailbox_id: str, without: Collection[str] = ()
    ) -> Json:
        """Read the messages of one thread. Nothing is marked as read.

        The parameter `bodies` asks for the messages' text. Only our gateway knows it;
        hosted MultiMail ignores or refuses it. `without` is as in `decide_email`.
        """
        return self._call(
            "GET",
            path("/v1/mailboxes/{}/threads/{}", mailbox_id, thread_id),
            params={"bodies": "true"},
            optional=("bodies",),
            without=without,
            limit=MAX_THREAD,
        )

    def read_original(self, *, email_id: str) -> Json:
        """Read the HTML that a message had before our gateway simplified it, and what
        was changed (our gateway only).
        """
        return self._call("GET", path("/v1/oversight/pending/{}/original", email_id))

    def download(
        self, *, email_id: str, mailbox_id: str, name: str, limit: int
    ) -> bytes:
        """Fetch one attachment with a read key. Raises TooLarge beyond `limit` bytes."""
        return self._bytes(
            path(
                "/v1/mailboxes/{}/emails/{}/attachments/{}", mailbox_id, email_id, name
            ),
            limit,
        )

    def download_held(self, *, email_id: str, name: str, limit: int) -> bytes:
        """Fetch one attachment of a held message with an oversight key (our gateway
        only). Raises TooLarge beyond `limit` bytes.
        """
        return self._bytes(
            path("/v1/oversight/pending/{}/attachments/{}", email_id, name), limit
        )

    def decide_email(
        self,
        *,
        email_id: str,
        action: str,
        reason: str,
        decided_by: str,
        ended_by: str,
        expected_fingerprint: str | None,
        feedback: Json | None = None,
        without: Collection[str] = (),
        before_write: Callable[[], None] | None = None,
    ) -> Json:
        """Approve or reject one held message. Not idempotent: an approval sends the
        mail at once.

        `feedback` has further fields for our gateway only, such as `suggested_markdown`
        for the agent and `leave_by`. `without` names fields to leave out,
        because this MultiMail has refused them. Raises FieldsRefused if it refuses
        more.

        `before_write` is called when the connection is made and nothing has been sent:
        the last moment to stop the call, by raising an exception.
        """
        body = {
            "email_id": email_id,
            "action": action,
            "reason": reason,
            "decided_by": decided_by,
            "ended_by": ended_by,
            **(feedback or {}),
        }
        if expected_fingerprint:
            body["expected_fingerprint"] = expected_fingerprint
        return self._call(
            "POST",
            "/v1/oversight/decide",
            body=body,
            optional=OF_A_DECISION,
            without=without,
            limit=MAX_DECISION_ANSWER,
            before_write=before_write,
        )

    def set_expiry(self, *, email_id: str, expires_at: datetime) -> None:
        """Set until when a held message may be approved (our gateway only). Idempotent."""
        body = {"email_id": email_id, "expires_at": written_time(expires_at)}
        self._call("POST", "/v1/oversight/expiry", body=body, limit=MAX_DECISION_ANSWER)

    def stop_mailboxes(self, mailboxes: Collection[str], *, within: float) -> None:
        """Have approved mail of these mailboxes wait, and that of no others (our gateway
        only). Idempotent. `within`: seconds.
        """
        self._call(
            "PUT",
            "/v1/oversight/stopped",
            body={"mailboxes": list(mailboxes)},
            deadline=Deadline.after(within),
        )

    def account(self, *, within: float = TOTAL_TIMEOUT) -> Json:
        """Read the account, with the scopes and mailboxes of this key. `within`:
        seconds.
        """
        return self._call(
            "GET",
            "/v1/account",
            limit=MAX_DECISION_ANSWER,
            deadline=Deadline.after(within),
        )

    def hold_all(self, *, on: bool, within: float = TOTAL_TIMEOUT) -> Json:
        """Switch "hold all" on or off (our gateway only). While it is on, no message
        leaves the account without a new approval.
        """
        return self._call(
            "PATCH",
            "/v1/account",
            body={"hold_all": on},
            limit=MAX_DECISION_ANSWER,
            deadline=Deadline.after(within),
        )

    def list_suppressed(self, *, most: int, page: int) -> list[Json]:
        """Read the newest suppressed addresses, at most `most`. Each call asks for
        `page` rows; if that is 0, MultiMail chooses how many it returns.
        """
        return self._pages(
            "/v1/suppression",
            ("suppressions",),
            "list of suppressed addresses",
            most,
            page,
        )

    def list_contacts(self, *, most: int, page: int) -> list[Json]:
        """Read the newest contacts of the account with a read key; the arguments are as
        in `list_suppressed`.
        """
        return self._pages(
            "/v1/contacts", ("contacts",), "list of contacts", most, page
        )

    def read(
        self, target: str, params: dict[str, str], *, limit: int, deadline: Deadline
    ) -> tuple[Json, bool]:
        """Make one GET call. Return its JSON object, and whether our gateway answered."""
        answer = self._exchange(
            "GET", target, params=params, limit=limit, deadline=deadline
        )
        return _object_in(answer), _is_of_our_gateway(answer)

    # Returns the rows of all pages of a list, at most `most`. `within` are the seconds
    # for all pages together; 0: each has as long as any call.
    def _pages(
        self,
        target: str,
        names: Collection[str],
        what: str,
        most: int = MOST_ROWS,
        page: int = 0,
        within: float = 0,
    ) -> list[Json]:
        deadline = Deadline.after(within) if within else None
        rows: list[Json] = []
        cursor = ""
        cursors = {""}
        while len(rows) < most:
            params = {}
            if page:
                params["limit"] = str(page)
            if cursor:
                params["cursor"] = cursor
            body = self._call("GET", target, params=params, deadline=deadline)
            rows += rows_in(body, *names, what=what)
            cursor = text_in(body, "cursor")
            if cursor in cursors:
                break
            cursors.add(cursor)
        return rows[:most]

    def _call(
        self,
        method: str,
        target: str,
        *,
        optional: Collection[str] = (),
        without: Collection[str] = (),
        **options: Any,
    ) -> Json:
        """Make one call and return the JSON object of its answer. `options` are further
        arguments of `_exchange`.

        `optional` names fields and parameters that the call can do without. Those that
        this MultiMail has refused before (`without`) are left out. Raises FieldsRefused
        if it refuses more of the optional ones.
        """
        left_out = {*optional} & {*without}
        sent: Json = {}
        for part in ("params", "body"):
            if fields := options.get(part):
                options[part] = {
                    name: value
                    for name, value in fields.items()
                    if name not in left_out
                }
                sent |= options[part]
        return _object_in(
            self._exchange(method, target, **options), sent=sent, optional=optional
        )

    # Returns the body of a 2xx as it is. Raises the error that any other answer means.
    def _bytes(self, target: str, limit: int) -> bytes:
        answer = self._exchange("GET", target, limit=limit, accept="*/*")
        if 200 <= answer.status < 300:
            return answer.body
        raise _error_for(answer, _parsed(answer))

    def _exchange(
        self,
        method: str,
        target: str,
        *,
        limit: int = MAX_ANSWER,
        params: dict[str, str] | None = None,
        body: Json | None = None,
        accept: str = "application/json",
        deadline: Deadline | None = None,
        before_write: Callable[[], None] | None = None,
    ) -> Answer:
        # An HTTP header carries no others.
        key = self._key
        if not (key and key.isascii() and key.isprintable() and " " not in key):
            raise errors.KeyRefused(
                "The key contains characters that are not allowed in MultiMail keys."
            )
        return exchange(
            method,
            self._base_url + target + (f"?{urlencode(params)}" if params else ""),
            headers={
                "Authorization": f"Bearer {self._key}",
                "Accept": accept,
                "X-Request-Id": trace_id.get(),
            },
            body=None if body is None else json.dumps(body).encode(),
            limit=limit,
            deadline=deadline or Deadline.after(TOTAL_TIMEOUT),
            before_write=before_write,
        )


def path(template: str, *parts: str) -> str:
    """Return the path of a call: the template with its parts. A part may come from
    outside, so it is escaped and cannot be more than one segment of the path.
    """
    return template.format(*(quote(part, safe="") for part in parts))


def rows_in(body: Json, *names: str, what: str) -> list[Json]:
    """Return the list under the first of these names that has one; what in it is no
    object becomes an empty one. Raises OutcomeUnknown if none has.
    """
    for name in names:
        if isinstance(body.get(name), list):
            return [row if isinstance(row, dict) else {} for row in body[name]]
    raise errors.OutcomeUnknown(
        f"MultiMail's {what} has a form that this version cannot read."
    )


def _is_of_our_gateway(answer: Answer) -> bool:
    return answer.headers.get("X-Countersign-Gateway") == "1"


def _object_in(
    answer: Answer, *, sent: Json | None = None, optional: Collection[str] = ()
) -> Json:
    """Return the JSON object of a 2xx. Raises the error that any other answer means:
    for a 422 that names fields of `sent` which are `optional`, FieldsRefused.
    """
    parsed = _parsed(answer)
    if 200 <= answer.status < 300 and parsed is not None:
        return parsed
    if (
        answer.status == 422
        and parsed
        and sent
        and (fields := refused_fields(sent, parsed, optional))
    ):
        raise errors.FieldsRefused(_error_for(answer, parsed).sentence, fields=fields)
    raise _error_for(answer, parsed)


# Returns the JSON object in the body, or None if it is none.
def _parsed(answer: Answer) -> Json | None:
    try:
        body = storable(json.loads(answer.body))
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


# Returns the error that an answer other than a success means.
def _error_for(answer: Answer, parsed: Json | None) -> errors.UpstreamError:
    status = answer.status
    body = parsed or {}
    sentence = f"MultiMail answered {status}."
    if message := text_in(body, "error", most=300):
        sentence = f"MultiMail answered {status}: {message}"
    if status == 429:
        seconds = seconds_asked(answer.headers.get("Retry-After"))
        return errors.Throttled(sentence, retry_after=seconds)
    if parsed is None and status != 401:
        # MultiMail's errors are JSON. This one comes from a proxy, which does not know
        # what the call did.
        return errors.OutcomeUnknown(sentence, status=status)
    if status == 409:
        return errors.Conflict(sentence, body=body)
    # 2xx that cannot be read, redirects and 5xx: the call may have taken effect.
    return _KINDS.get(status, errors.OutcomeUnknown)(sentence, status=status)
