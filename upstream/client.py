"""Calls MultiMail's API: pending messages, one decision, the account. One fresh
connection a call, no hidden retries.

A 2xx is the only success. What is not proved to have had no effect ends in
OutcomeUnknown, and the caller must read before it acts again.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from common.exchange import Deadline
from upstream import errors
from upstream.events import storable
from upstream.refused_fields import OF_A_DECISION, refused_fields
from upstream.wire import TOTAL_TIMEOUT, Answer, exchange

# The limit for all pages of one list.
WHOLE_TIMEOUT = 25.0
MAX_ANSWER = 64 * 1024 * 1024
MAX_DECISION_ANSWER = 256 * 1024
MAX_THREAD = 32 * 1024 * 1024
# An object as MultiMail writes and reads it.
Json = dict[str, Any]
_KEY = re.compile(r"[\x21-\x7e]+")
_KINDS: dict[int, type[errors.UpstreamError]] = {
    **dict.fromkeys((400, 413, 422), errors.Rejected),
    401: errors.KeyRefused,
    403: errors.Forbidden,
    404: errors.NotFound,
}


@dataclass(frozen=True)
class Pending:
    """Answer of list_pending. `rows` are as given; `closed` is what became of the one
    message that was asked for.

    `unreadable` counts rows that name no message: what is absent from such an answer
    may still be held. Of an answer of several `pages` the same is true: a row can slip
    from one page to another between the calls.
    """

    rows: list[Json]
    closed: Json | None
    is_our_gateway: bool
    unreadable: int = 0
    pages: int = 1


class Client:
    """MultiMail's API with one key. `base_url` has no path; the key is never part of an
    error.
    """

    def __init__(self, *, base_url: str, key: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key

    def list_pending(
        self, *, email_id: str = "", without: Collection[str] = ()
    ) -> Pending:
        """Read what is held: everything, or (our gateway only) one message.

        Everything is all pages of it, or an error. Our gateway is asked for the list
        once: MultiMail gives it under three names, and of thousands of messages that is
        a hundred megabytes on both sides. `without` is as in `decide_email`.
        """
        deadline = Deadline.after(TOTAL_TIMEOUT if email_id else WHOLE_TIMEOUT)
        asked = {}
        if email_id:
            asked["email_id"] = email_id
        elif "only" not in without:
            asked["only"] = "pending"
        rows: dict[str, Json] = {}
        cursor = ""
        seen = {""}
        unreadable = 0
        size = 0
        while True:
            answer = self._exchange(
                "GET",
                "/v1/oversight/pending",
                params=asked | ({"cursor": cursor} if cursor else {}),
                limit=MAX_ANSWER - size,
                deadline=deadline,
            )
            body = _object_in(answer, sent=asked, optional=("only",))
            listed = rows_in(
                body, "pending", "emails", "messages", what="list of held messages"
            )
            named = [row for row in listed if isinstance(row, dict) and row.get("id")]
            unreadable += len(listed) - len(named)
            # If a row moved from one page to the next, the later copy is the newer one.
            before = len(rows)
            rows |= {
                str(row["id"]): row
                for row in named
                if not email_id or str(row["id"]) == email_id
            }
            size += len(answer.body)
            cursor = "" if email_id else str(body.get("cursor") or "")
            if not cursor:
                break
            if cursor in seen or len(rows) == before:
                raise errors.OutcomeUnknown(
                    "MultiMail's list of held messages repeated a page."
                )
            seen.add(cursor)
        return Pending(
            rows=list(rows.values()),
            closed=body if email_id and not listed and body.get("status") else None,
            is_our_gateway=_is_of_our_gateway(answer),
            unreadable=unreadable,
            pages=len(seen),
        )

    def read_email(self, *, email_id: str, mailbox_id: str) -> Json:
        """Read one message with all that is known of it. It marks received mail as
        read! docs/multimail.md, Reading.
        """
        target = path("/v1/emails/{}", email_id)
        if mailbox_id:
            target = path("/v1/mailboxes/{}/emails/{}", mailbox_id, email_id)
        return self._call("GET", target)

    def read_thread(
        self, *, thread_id: str, mailbox_id: str, without: Collection[str] = ()
    ) -> Json:
        """Read the messages of one thread, where MultiMail gives that with their
        bodies. Nothing is marked as read.

        Only our gateway supports `bodies`; others ignore or refuse it. `without` is as
        in `decide_email`.
        """
        thread_path = path("/v1/mailboxes/{}/threads/{}", mailbox_id, thread_id)
        asked = {"bodies": "true"} if "bodies" not in without else {}
        return self._call(
            "GET", thread_path, params=asked, optional=("bodies",), limit=MAX_THREAD
        )

    def read_original(self, *, email_id: str) -> Json:
        """Read the HTML of a message before our gateway simplified it, and what that
        changed.
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
        """Fetch one attachment of a held message with an oversight key, which only our
        gateway gives.
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
        expected_fingerprint: str | None,
        feedback: Mapping[str, Any] | None = None,
        without: Collection[str] = (),
        before_write: Callable[[], None] | None = None,
    ) -> Json:
        """Approve or reject one held message: not idempotent, an approval sends mail at
        once.

        `feedback` is what the agent gets as data beside the reason (our gateway):
        `suggested_markdown` and others. `without` names fields that MultiMail has
        refused here. Raises FieldsRefused for more of those.

        `before_write` runs when MultiMail is reached and not told anything yet: the
        last moment to stop it, by raising.
        """
        body = {
            "email_id": email_id,
            "action": action,
            "reason": reason,
            "decided_by": decided_by,
            **(feedback or {}),
        }
        if expected_fingerprint:
            body["expected_fingerprint"] = expected_fingerprint
        body = {name: value for name, value in body.items() if name not in without}
        answer = self._exchange(
            "POST",
            "/v1/oversight/decide",
            body=body,
            limit=MAX_DECISION_ANSWER,
            before_write=before_write,
        )
        return _object_in(answer, sent=body, optional=OF_A_DECISION)

    def set_expiry(self, *, email_id: str, expires_at: datetime) -> None:
        """Set until when a held message may be approved, which only our gateway knows.
        Idempotent.
        """
        moment = (
            expires_at.astimezone(UTC)
            .replace(tzinfo=None)
            .isoformat(timespec="milliseconds")
            + "Z"
        )
        body = {"email_id": email_id, "expires_at": moment}
        self._call("POST", "/v1/oversight/expiry", body=body, limit=MAX_DECISION_ANSWER)

    def account(self, *, within: float = TOTAL_TIMEOUT) -> Json:
        """Read the account with the scopes and mailboxes of this key, in so many
        seconds.
        """
        return self._call(
            "GET",
            "/v1/account",
            limit=MAX_DECISION_ANSWER,
            deadline=Deadline.after(within),
        )

    def hold_all(self, *, on: bool, within: float = TOTAL_TIMEOUT) -> Json:
        """Stop everything that would leave the account without a new approval, or let
        it go again (our gateway).
        """
        return self._call(
            "PATCH",
            "/v1/account",
            body={"hold_all": on},
            limit=MAX_DECISION_ANSWER,
            deadline=Deadline.after(within),
        )

    def list_suppressed(self, *, most: int, page: int) -> list[Json]:
        """Read the suppressed addresses, the newest first, about so many at most, and
        `page` in one call.
        """
        return self._pages(
            "/v1/suppression",
            "suppressions",
            "list of suppressed addresses",
            most,
            page,
        )

    def list_contacts(self, *, most: int, page: int) -> list[Json]:
        """Read the contacts of the account with a read key, the newest first, about so
        many at most.
        """
        return self._pages("/v1/contacts", "contacts", "list of contacts", most, page)

    def read(
        self, target: str, params: dict[str, str], *, limit: int, deadline: Deadline
    ) -> tuple[Json, bool]:
        """Make one read, and return its JSON object and whether our gateway answered."""
        answer = self._exchange(
            "GET", target, params=params, limit=limit, deadline=deadline
        )
        return _object_in(answer), _is_of_our_gateway(answer)

    def _pages(
        self, target: str, name: str, what: str, most: int, page: int
    ) -> list[Json]:
        deadline = Deadline.after(WHOLE_TIMEOUT)
        rows: list[Json] = []
        cursor = ""
        seen = {""}
        while len(rows) < most:
            params = {}
            if page:
                params["limit"] = str(page)
            if cursor:
                params["cursor"] = cursor
            body = self._call("GET", target, params=params, deadline=deadline)
            rows += [
                row for row in rows_in(body, name, what=what) if isinstance(row, dict)
            ]
            cursor = str(body.get("cursor") or "")
            if cursor in seen:
                break
            seen.add(cursor)
        return rows[:most]

    def _call(
        self,
        method: str,
        target: str,
        *,
        optional: Collection[str] = (),
        **options: Any,
    ) -> Json:
        """Make one call and return the JSON object of its answer; the options are those
        of `_exchange`.

        `optional` names the fields and parameters that it can do without: see
        FieldsRefused.
        """
        sent = {**(options.get("params") or {}), **(options.get("body") or {})}
        return _object_in(
            self._exchange(method, target, **options), sent=sent, optional=optional
        )

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
        if not _KEY.fullmatch(self._key):
            raise errors.KeyRefused(
                "The key contains characters that are not allowed in MultiMail keys."
            )
        return exchange(
            method,
            self._base_url + target + (f"?{urlencode(params)}" if params else ""),
            headers={"Authorization": f"Bearer {self._key}", "Accept": accept},
            body=None if body is None else json.dumps(body).encode(),
            limit=limit,
            deadline=deadline or Deadline.after(TOTAL_TIMEOUT),
            before_write=before_write,
        )


def path(template: str, *parts: str) -> str:
    """Return the path of a call, with each part, which may come from elsewhere, as one
    segment of it.
    """
    return template.format(*(quote(part, safe="") for part in parts))


def rows_in(body: Json, *names: str, what: str) -> list[Any]:
    """Return the list under the first of these names. Raises OutcomeUnknown where there
    is none.
    """
    for name in names:
        if isinstance(body.get(name), list):
            return list(body[name])
    raise errors.OutcomeUnknown(
        f"MultiMail's {what} has a form that this version cannot read."
    )


def _is_of_our_gateway(answer: Answer) -> bool:
    return answer.headers.get("X-Countersign-Gateway") == "1"


def _object_in(
    answer: Answer,
    *,
    sent: Mapping[str, Any] | None = None,
    optional: Collection[str] = (),
) -> Json:
    """Return the JSON object of a 2xx. Raises the error that any other answer stands
    for.

    That is FieldsRefused for a 422 that names fields of `sent` that are `optional`.
    """
    found = _parsed(answer)
    if 200 <= answer.status < 300 and found is not None:
        return found
    if (
        answer.status == 422
        and found
        and sent
        and (fields := refused_fields(sent, found, optional))
    ):
        raise errors.FieldsRefused(_error_for(answer, found).sentence, fields=fields)
    raise _error_for(answer, found)


def _parsed(answer: Answer) -> Json | None:
    try:
        body = storable(json.loads(answer.body))
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _error_for(answer: Answer, found: Json | None) -> errors.UpstreamError:
    status = answer.status
    body = found or {}
    sentence = f"MultiMail answered {status}."
    if message := str(body.get("error") or "")[:300]:
        sentence = f"MultiMail answered {status}: {message}"
    if status == 429:
        header = answer.headers.get("Retry-After", "")
        return errors.Throttled(
            sentence,
            retry_after=min(float(header), 3600) if header.isdecimal() else 30.0,
        )
    if found is None and status != 401:
        # MultiMail's errors are JSON. This one comes from a proxy, which does not know
        # what the call did.
        return errors.OutcomeUnknown(sentence, status=status)
    if status == 409:
        return errors.Conflict(sentence, body=body)
    # 2xx that cannot be read, redirects and 5xx: the call may have taken effect.
    return _KINDS.get(status, errors.OutcomeUnknown)(sentence, status=status)
