"""Calls MultiMail's API: pending messages, one decision, the account. One fresh connection a call, no hidden retries.

A 2xx is the only success. What is not proved to have had no effect ends in OutcomeUnknown, and the caller must read
before it acts again.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from common.exchange import Deadline
from upstream import errors
from upstream.texts import storable
from upstream.wire import TOTAL_TIMEOUT, Answer, exchange

# All pages of one list together.
WHOLE_TIMEOUT = 25.0
MAX_ANSWER = 64 * 1024 * 1024
MAX_DECISION_ANSWER = 256 * 1024
MAX_THREAD = 32 * 1024 * 1024
_KEY = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Pending:
    """Answer of list_pending. `rows` are as given; `closed` is what became of the one message that was asked for.

    `unreadable` counts rows that name no message: what is absent from such an answer may still be held. Of an answer of
    several `pages` the same is true: a row can slip from one page to another between the calls.
    """

    rows: list[dict[str, Any]]
    closed: dict[str, Any] | None
    is_our_gateway: bool
    unreadable: int = 0
    pages: int = 1


class Client:
    """MultiMail's API with one key. `base_url` has no path; the key is never part of an error."""

    def __init__(self, *, base_url: str, key: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key

    def list_pending(self, *, email_id: str = "") -> Pending:
        """Read what is held: everything, or (our gateway only) one message. Contract section 4.4.

        Everything is all pages of it, or an error. Our gateway is asked for the list once: MultiMail gives it under
        three names, and of thousands of messages that is a hundred megabytes on both sides.
        """
        deadline = Deadline.after(TOTAL_TIMEOUT if email_id else WHOLE_TIMEOUT)
        asked = {"email_id": email_id} if email_id else {"only": "pending"}
        rows: dict[str, dict[str, Any]] = {}
        cursor, seen, unreadable, size = "", {""}, 0, 0
        while True:
            body, answer = self._call(
                "GET",
                "/v1/oversight/pending",
                params=asked | ({"cursor": cursor} if cursor else {}),
                limit=MAX_ANSWER - size,
                deadline=deadline,
            )
            given = _rows_in(body)
            named = [row for row in given if isinstance(row, dict) and row.get("id")]
            unreadable += len(given) - len(named)
            # Of a row that slipped from one page to the next the later reading is the newer one.
            rows |= {str(row["id"]): row for row in named if not email_id or str(row["id"]) == email_id}
            size += len(answer.body)
            cursor = "" if email_id else str(body.get("cursor") or "")
            if not cursor:
                break
            if cursor in seen:
                raise errors.OutcomeUnknown("MultiMail's list of held messages came back to a page it had given.")
            seen.add(cursor)
        return Pending(
            rows=list(rows.values()),
            closed=body if email_id and not given and body.get("status") else None,
            is_our_gateway=answer.headers.get("X-Countersign-Gateway") == "1",
            unreadable=unreadable,
            pages=len(seen),
        )

    def read_email(self, *, email_id: str, mailbox_id: str) -> dict[str, Any]:
        """Read one message with all that is known of it. It marks received mail as read! Contract section 4.2."""
        place = f"/v1/mailboxes/{quote(mailbox_id, safe='')}/emails" if mailbox_id else "/v1/emails"
        return self._call("GET", f"{place}/{quote(email_id, safe='')}", limit=MAX_ANSWER)[0]

    def read_thread(self, *, thread_id: str, mailbox_id: str) -> dict[str, Any]:
        """Read the letters of one thread, where MultiMail gives that with what they say. Nothing is marked as read.

        Only our gateway knows the question for the bodies; others leave it out of account. Contract section 4.2.
        """
        path = f"/v1/mailboxes/{quote(mailbox_id, safe='')}/threads/{quote(thread_id, safe='')}"
        return self._call("GET", path, params={"bodies": "true"}, limit=MAX_THREAD)[0]

    def download(self, *, email_id: str, mailbox_id: str, name: str, limit: int) -> bytes:
        """Fetch one attached file with a read key. Contract section 4.2. Raises TooLarge beyond `limit` bytes."""
        email = f"/v1/mailboxes/{quote(mailbox_id, safe='')}/emails/{quote(email_id, safe='')}"
        return self._bytes(f"{email}/attachments/{quote(name, safe='')}", limit=limit)

    def download_held(self, *, email_id: str, name: str, limit: int) -> bytes:
        """Fetch one file of a held message with an oversight key, which only our gateway gives."""
        return self._bytes(
            f"/v1/oversight/pending/{quote(email_id, safe='')}/attachments/{quote(name, safe='')}", limit=limit
        )

    def decide_email(
        self,
        *,
        email_id: str,
        action: str,
        reason: str,
        decided_by: str,
        expected_fingerprint: str | None,
        before_write: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Approve or reject one held message: not idempotent, an approval sends mail at once. Contract section 4.4.

        `before_write` runs when MultiMail is reached and not told anything yet: the last moment to stop it, by raising.
        """
        body = {"email_id": email_id, "action": action, "reason": reason, "decided_by": decided_by}
        if expected_fingerprint:
            body["expected_fingerprint"] = expected_fingerprint
        answer, _ = self._call(
            "POST", "/v1/oversight/decide", body=body, limit=MAX_DECISION_ANSWER, before_write=before_write
        )
        return answer

    def account(self, *, within: float = TOTAL_TIMEOUT) -> dict[str, Any]:
        """Read the account with the scopes and mailboxes of this key, in so many seconds. Contract section 4.6."""
        return self._call("GET", "/v1/account", limit=MAX_DECISION_ANSWER, deadline=Deadline.after(within))[0]

    def hold_all(self, *, on: bool, within: float = TOTAL_TIMEOUT) -> dict[str, Any]:
        """Stop everything that would leave the account without a new approval, or let it go again (our gateway)."""
        body, deadline = {"hold_all": on}, Deadline.after(within)
        return self._call("PATCH", "/v1/account", body=body, limit=MAX_DECISION_ANSWER, deadline=deadline)[0]

    def list_suppressed(self, *, most: int) -> list[dict[str, Any]]:
        """Read who gets nothing any more, the newest first, about so many at most. Contract section 4.6."""
        return self._pages("/v1/suppression", "suppressions", "list of suppressed addresses", most=most)

    def list_contacts(self, *, most: int) -> list[dict[str, Any]]:
        """Read the contacts of the account with a read key, the newest first, about so many at most."""
        return self._pages("/v1/contacts", "contacts", "list of contacts", most=most)

    def _pages(self, path: str, name: str, what: str, *, most: int) -> list[dict[str, Any]]:
        deadline = Deadline.after(WHOLE_TIMEOUT)
        rows: list[dict[str, Any]] = []
        cursor, seen = "", {""}
        while len(rows) < most:
            params = {"limit": "500"} | ({"cursor": cursor} if cursor else {})
            body, _ = self._call("GET", path, limit=MAX_ANSWER, params=params, deadline=deadline)
            found, cursor = body.get(name), str(body.get("cursor") or "")
            if not isinstance(found, list):
                raise errors.OutcomeUnknown(f"MultiMail's {what} cannot be read.")
            rows += [row for row in found if isinstance(row, dict)]
            if cursor in seen:
                break
            seen.add(cursor)
        return rows[:most]

    def _call(
        self,
        method: str,
        path: str,
        *,
        limit: int,
        params: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        deadline: Deadline | None = None,
        before_write: Callable[[], None] | None = None,
    ) -> tuple[dict[str, Any], Answer]:
        answer = self._exchange(
            method,
            path + (f"?{urlencode(params)}" if params else ""),
            body=None if body is None else json.dumps(body).encode(),
            limit=limit,
            deadline=deadline,
            before_write=before_write,
        )
        return _object_in(answer), answer

    def _bytes(self, path: str, *, limit: int) -> bytes:
        answer = self._exchange("GET", path, limit=limit, accept="*/*")
        if 200 <= answer.status < 300:
            return answer.body
        raise _error_for(answer, _parsed(answer))

    def _exchange(
        self,
        method: str,
        target: str,
        *,
        limit: int,
        accept: str = "application/json",
        body: bytes | None = None,
        deadline: Deadline | None = None,
        before_write: Callable[[], None] | None = None,
    ) -> Answer:
        if not _KEY.fullmatch(self._key):
            raise errors.KeyRefused("The key holds characters that no key of MultiMail has.")
        return exchange(
            method,
            self._base_url + target,
            headers={"Authorization": f"Bearer {self._key}", "Accept": accept},
            body=body,
            limit=limit,
            deadline=deadline or Deadline.after(TOTAL_TIMEOUT),
            before_write=before_write,
        )


def _rows_in(body: dict[str, Any]) -> list[Any]:
    for name in ("pending", "emails", "messages"):
        if isinstance(body.get(name), list):
            return list(body[name])
    raise errors.OutcomeUnknown("MultiMail's list of held messages has a form that this version cannot read.")


def _object_in(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of a 2xx. Raises the error that any other answer stands for."""
    found = _parsed(answer)
    if 200 <= answer.status < 300 and found is not None:
        return found
    raise _error_for(answer, found)


def _parsed(answer: Answer) -> dict[str, Any] | None:
    try:
        body = storable(json.loads(answer.body))
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _error_for(answer: Answer, found: dict[str, Any] | None) -> errors.UpstreamError:
    status, body = answer.status, found or {}
    said = str(body.get("error") or "")[:300]
    sentence = f"MultiMail answered {status}: {said}" if said else f"MultiMail answered {status}."
    if status == 429:
        header = answer.headers.get("Retry-After", "")
        return errors.Throttled(sentence, retry_after=min(float(header), 3600) if header.isdecimal() else 30.0)
    if found is None and status != 401:
        # MultiMail's errors are JSON: this one is of something in between, which knows nothing of what the call did.
        return errors.OutcomeUnknown(sentence, status=status)
    kinds = {401: errors.KeyRefused, 403: errors.Forbidden, 404: errors.NotFound}
    kinds |= dict.fromkeys((400, 413, 422), errors.Rejected)
    if status == 409:
        return errors.Conflict(sentence, body=body)
    # 2xx that cannot be read, redirects and 5xx: the call may have taken effect.
    return kinds.get(status, errors.OutcomeUnknown)(sentence, status=status)
