"""Calls MultiMail's API: pending messages, one decision, the account. One fresh connection a call, no hidden retries.

A 2xx is the only success. What is not proved to have had no effect ends in OutcomeUnknown, and the caller must read
before it acts again.
"""

import json
import ssl
import time
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError, SSLError

from upstream import errors
from upstream.texts import storable

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 10.0
TOTAL_TIMEOUT = 20.0
MAX_ANSWER = 64 * 1024 * 1024
MAX_DECISION_ANSWER = 256 * 1024
_BEFORE_THE_WIRE = (NewConnectionError, NameResolutionError, ConnectTimeoutError)


@dataclass(frozen=True)
class Pending:
    """Answer of list_pending. `rows` are as given; `closed` is what became of the one message that was asked for.

    `unreadable` counts rows that name no message: what is absent from such an answer may still be held.
    """

    rows: list[dict[str, Any]]
    closed: dict[str, Any] | None
    is_our_gateway: bool
    unreadable: int = 0


class Client:
    """MultiMail's API with one key. `base_url` has no path; the key is never part of an error."""

    def __init__(self, *, base_url: str, key: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key

    def list_pending(self, *, email_id: str = "") -> Pending:
        """Read what is held: everything, or (our gateway only) one message. Contract section 4.4."""
        params = {"email_id": email_id} if email_id else {}
        body, headers = self._call("GET", "/v1/oversight/pending", params=params, limit=MAX_ANSWER)
        given = next(
            (body[name] for name in ("pending", "emails", "messages") if isinstance(body.get(name), list)), None
        )
        if given is None:
            raise errors.OutcomeUnknown("MultiMail's list of held messages has a form that this version cannot read.")
        if body.get("cursor") and not email_id:
            raise errors.OutcomeUnknown("MultiMail gave only a part of its held messages.")
        rows = [row for row in given if isinstance(row, dict) and row.get("id")]
        closed = body if email_id and not given and body.get("status") else None
        return Pending(
            rows=rows,
            closed=closed,
            is_our_gateway=headers.get("X-Countersign-Gateway") == "1",
            unreadable=len(given) - len(rows),
        )

    def decide_email(
        self, *, email_id: str, action: str, reason: str, expected_fingerprint: str | None
    ) -> dict[str, Any]:
        """Approve or reject one held message: not idempotent, an approval sends mail at once. Contract section 4.4."""
        body = {"email_id": email_id, "action": action, "reason": reason}
        if expected_fingerprint:
            body["expected_fingerprint"] = expected_fingerprint
        answer, _ = self._call("POST", "/v1/oversight/decide", body=body, limit=MAX_DECISION_ANSWER)
        return answer

    def account(self) -> dict[str, Any]:
        """Read the account with the scopes and mailboxes of this key. Contract section 4.6."""
        return self._call("GET", "/v1/account", limit=MAX_DECISION_ANSWER)[0]

    def hold_all(self, *, on: bool) -> dict[str, Any]:
        """Stop everything that would leave the account without a new approval, or let it go again (our gateway)."""
        return self._call("PATCH", "/v1/account", body={"hold_all": on}, limit=MAX_DECISION_ANSWER)[0]

    def _call(
        self,
        method: str,
        path: str,
        *,
        limit: int,
        params: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], Any]:
        with requests.Session() as session:
            # Proxies of the environment and .netrc would send the key elsewhere.
            session.trust_env = False
            try:
                with session.request(
                    method,
                    self._base_url + path,
                    params=params,
                    json=body,
                    headers={"Authorization": f"Bearer {self._key}", "Accept": "application/json"},
                    timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    return self._read(response, limit), response.headers
            except requests.RequestException as error:
                raise _classified(error) from None

    def _read(self, response: requests.Response, limit: int) -> dict[str, Any]:
        raw = _read_bounded(response, limit)
        try:
            body: dict[str, Any] | None = storable(json.loads(raw))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            body = None
        if 200 <= response.status_code < 300 and body is not None:
            return body
        raise _error_for(response, body or {})


def _read_bounded(response: requests.Response, limit: int) -> bytes:
    deadline = time.monotonic() + TOTAL_TIMEOUT
    read = bytearray()
    for chunk in response.iter_content(65536):
        read += chunk
        if len(read) > limit:
            raise errors.OutcomeUnknown(
                "MultiMail's answer was larger than any it should give.", status=response.status_code
            )
        if time.monotonic() > deadline:
            raise errors.OutcomeUnknown(
                f"MultiMail's answer took more than {TOTAL_TIMEOUT:.0f} s.", status=response.status_code
            )
    return bytes(read)


def _classified(error: requests.RequestException) -> errors.UpstreamError:
    cause: Any = error.args[0] if error.args else None
    if isinstance(cause, MaxRetryError):
        cause = cause.reason
    if isinstance(cause, _BEFORE_THE_WIRE) or _is_bad_certificate(cause):
        return errors.NotSent("MultiMail could not be reached: the connection was not made.")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return errors.NotSent("MultiMail's address is not a valid one.")
    if isinstance(error, requests.Timeout):
        return errors.OutcomeUnknown("MultiMail did not answer in time.")
    return errors.OutcomeUnknown("The connection to MultiMail broke before its answer was complete.")


def _is_bad_certificate(cause: Any) -> bool:
    # Other TLS errors can come after the request was written; a refused certificate cannot.
    return isinstance(cause, SSLError) and bool(cause.args) and isinstance(cause.args[0], ssl.SSLCertVerificationError)


def _error_for(response: requests.Response, body: dict[str, Any]) -> errors.UpstreamError:
    status = response.status_code
    said = str(body.get("error") or "")[:300]
    sentence = f"MultiMail answered {status}: {said}" if said else f"MultiMail answered {status}."
    if status == 429:
        header = response.headers.get("Retry-After", "")
        return errors.Throttled(sentence, retry_after=min(float(header), 3600) if header.isdecimal() else 30.0)
    if status == 409:
        return errors.Conflict(sentence, body=body)
    kinds = {401: errors.KeyRefused, 403: errors.Forbidden, 404: errors.NotFound}
    kinds |= dict.fromkeys((400, 413, 422), errors.Rejected)
    # 2xx that cannot be read, redirects and 5xx: the call may have taken effect.
    return kinds.get(status, errors.OutcomeUnknown)(sentence, status=status)
