"""The facts of docs/multimail.md that can be checked with reads alone, by section, each
with the function that checks it. The command `hosted_check` runs them for an operator
who tries a MultiMail account.

Such a function gets the MultiMail to check (`Host`). It returns an empty text if the
fact is true, otherwise what is different, without content of messages. It raises
NotSeen if the fact cannot be checked.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from connections.hosted.probe import (
    Facts,
    Host,
    Look,
    NotSeen,
    names,
    parsed,
    rows_in,
    without,
)

# A function that returns the rows of one list of MultiMail.
Rows = Callable[[Host], list[dict[str, Any]]]
_HELD = ("pending_send_approval", "pending_inbound_approval")
_STATUSES = (
    *_HELD,
    *"""
unread read archived deleted spam_flagged spam_quarantined pending_scan scheduled sent
send_failed rejected cancelled
""".split(),
)
_MODES = ("read_only", "gated_all", "gated_send", "monitored", "autonomous")
# The fields that can have the text of a message.
_TEXTS = ("markdown", "body_markdown", "text_body", "html_body", "body", "text")
# The desk's columns for ids have so many characters.
_MAX_ID = 200
# No message has this id.
_UNKNOWN_ID = "01JNOBODYHASTHISID00000000"


# Returns a function that reads the list at this path with this kind of key.
def _rows(kind: str, template: str) -> Rows:
    return lambda host: host.rows(kind, template)


_PENDING = ("oversight", "/v1/oversight/pending")
_WEBHOOKS = ("admin", "/v1/webhooks")
_pending = _rows(*_PENDING)
_mailboxes = _rows("read", "/v1/mailboxes")
_webhooks = _rows(*_WEBHOOKS)
_keys = _rows("admin", "/v1/api-keys")


def _emails(host: Host) -> list[dict[str, Any]]:
    return host.rows("read", "/v1/mailboxes/{}/emails", host.mailbox())


# Returns held and listed messages. Raises NotSeen if there are none.
def _messages(host: Host) -> list[dict[str, Any]]:
    return _either(host, _pending) + _either(host, _emails) or _emails(host)


# Returns the rows of a list; none if it is empty or cannot be read.
def _either(host: Host, rows: Rows) -> list[dict[str, Any]]:
    try:
        return rows(host)
    except NotSeen:
        return []


# Returns the messages of the first thread that a listed message names.
def _thread(host: Host) -> list[dict[str, Any]]:
    for row in _emails(host):
        if thread := row.get("thread_id"):
            path = "/v1/mailboxes/{}/threads/{}"
            answer = host.object("read", path, host.mailbox(), str(thread))
            return [row for row in answer.get("emails") or [] if isinstance(row, dict)]
    raise NotSeen("no message listed has a thread")


def _email(host: Host) -> list[dict[str, Any]]:
    """Read one message and return it in a list. Only a message that this cannot mark as
    read: outgoing, or read before. If there is one with attachments, it is taken.
    """
    safe = [
        row
        for row in _emails(host)
        if row.get("direction") == "outbound" or row.get("status") == "read"
    ]
    if not safe:
        raise NotSeen("every message listed is unread")
    row = min(safe, key=lambda one: not one.get("has_attachments"))
    path = "/v1/mailboxes/{}/emails/{}"
    return [host.object("read", path, host.mailbox(), str(row.get("id")))]


# --- functions that return the check of a fact, for these rows or this call -----------


# The first row has all these fields.
def _have_fields(rows: Rows, *wanted: str) -> Look:
    return lambda host: without(rows(host)[0], *wanted)


# No row has a value in one of these fields.
def _lack_fields(rows: Rows, *unwanted: str) -> Look:
    def look(host: Host) -> str:
        shown = names(name for row in rows(host) for name in unwanted if row.get(name))
        return shown and f"shows {shown}"

    return look


# In every row, this field has one of the known values.
def _have_values(rows: Rows, name: str, *known: str) -> Look:
    return lambda host: names({row.get(name) for row in rows(host)} - {*known})


# The rows are in the order of their times.
def _are_ordered(rows: Rows, *, newest_first: bool) -> Look:
    def look(host: Host) -> str:
        times = [str(row.get("received_at")) for row in rows(host)]
        if len(times) < 2:
            raise NotSeen("fewer than two messages are listed")
        is_ordered = times == sorted(times, reverse=newest_first)
        return "" if is_ordered else "they are not in this order"

    return look


# The answer has an array under one of these names.
def _has_list(call: tuple[str, str], *arrays: str) -> Look:
    def look(host: Host) -> str:
        answer = host.object(*call)
        lists = {name for name, value in answer.items() if isinstance(value, list)}
        return "" if lists & {*arrays} else f"arrays: {names(lists) or 'none'}"

    return look


# A GET with this kind of key is answered with this status.
def _answers_status(status: int, kind: str, template: str) -> Look:
    def look(host: Host) -> str:
        parts = (host.mailbox(), _UNKNOWN_ID) if "{}" in template else ()
        answered = host.read(kind, template, *parts).status
        return "" if answered == status else f"answered {answered}"

    return look


# --- checks of single facts -----------------------------------------------------------


def check_header(host: Host) -> str:
    if "X-Countersign-Gateway" in host.read(*_PENDING).headers:
        return "the header is there: this is our gateway"
    return ""


def check_ids(host: Host) -> str:
    for row in (*_messages(host), *_mailboxes(host)):
        value = row.get("id")
        if not isinstance(value, str):
            return f"an id is a JSON {type(value).__name__}"
        if not 0 < len(value) <= _MAX_ID:
            return f"an id has {len(value)} characters"
    return ""


def check_times(host: Host) -> str:
    for row in _messages(host):
        try:
            if datetime.fromisoformat(row["received_at"]).utcoffset() != timedelta(0):
                return "a time that is not in UTC"
        except (KeyError, TypeError, ValueError):
            return f"a JSON {type(row.get('received_at')).__name__} that is no ISO time"
    return ""


def check_epochs(host: Host) -> str:
    value = _mailboxes(host)[0].get("created_at")
    is_epoch = isinstance(value, int) and value > 1e11
    return "" if is_epoch else f"a JSON {type(value).__name__}"


def check_pages(host: Host) -> str:
    if len(_emails(host)) < 2:
        raise NotSeen("fewer than two messages are listed")

    def page(**params: str) -> dict[str, Any]:
        path = "/v1/mailboxes/{}/emails"
        answer = host.call("read", "GET", path, host.mailbox(), limit="1", **params)
        if answer.status != 200:
            raise NotSeen(f"a page of the list answered {answer.status}")
        return parsed(answer) or {}

    first = page()
    if not first.get("cursor"):
        return "one row of several, without a cursor"
    second = page(cursor=str(first["cursor"]))
    if not rows_in(second):
        raise NotSeen("the second page has no row")
    is_same = rows_in(first)[0].get("id") == rows_in(second)[0].get("id")
    return "the second page repeats the first" if is_same else ""


def check_file(host: Host) -> str:
    email = _email(host)[0]
    for file in email.get("attachments") or []:
        if isinstance(file, dict) and file.get("name"):
            break
    else:
        raise NotSeen("no message that may be read has an attachment")
    path = "/v1/mailboxes/{}/emails/{}/attachments/{}"
    parts = (host.mailbox(), str(email.get("id")), str(file["name"]))
    answer = host.read("read", path, *parts)
    if answer.status == 200 and len(answer.body) == file.get("size"):
        return ""
    return f"answered {answer.status}, fields: {names(parsed(answer) or ()) or 'none'}"


def check_secret(host: Host) -> str:
    webhook = str(_webhooks(host)[0].get("id"))
    secret = host.object("admin", "/v1/webhooks/{}", webhook).get("signing_secret")
    return "" if str(secret).startswith("whsec_") else "missing, or of another form"


def check_errors(host: Host) -> str:
    refused = [one for one in host.answers.items() if one[1].status >= 400]
    if not refused:
        raise NotSeen("no call was refused")
    return ", ".join(
        call
        for call, answer in refused
        if not isinstance((parsed(answer) or {}).get("error"), str)
    )


def check_objects(host: Host) -> str:
    done = [
        (call, answer)
        for call, answer in host.answers.items()
        if answer.status < 300 and "/attachments/" not in call
    ]
    if not done:
        raise NotSeen("no call succeeded")
    return ", ".join(call for call, answer in done if parsed(answer) is None)


def check_retry_after(host: Host) -> str:
    waits = [
        answer.headers.get("Retry-After", "")
        for answer in host.answers.values()
        if answer.status == 429
    ]
    if not waits:
        raise NotSeen("no call was throttled")
    return "" if all(text.isdecimal() for text in waits) else "no number"


FACTS: Facts = {
    "Hosted MultiMail or our gateway": {
        "Hosted MultiMail sends no header X-Countersign-Gateway.": check_header
    },
    "Accounts and keys": {
        "The account has id, name and plan.": lambda host: without(
            host.object("read", "/v1/account"), "id", "name", "plan"
        ),
        "An unknown key is 401.": _answers_status(401, "unknown", "/v1/account"),
        "A missing scope is 403.": _answers_status(403, "oversight", "/v1/api-keys"),
        "An unknown id is 404.": _answers_status(
            404, "read", "/v1/mailboxes/{}/emails/{}"
        ),
        "API keys have id, prefix and scopes.": _have_fields(
            _keys, "id", "prefix", "scopes"
        ),
        "A list of API keys shows no whole key.": _lack_fields(_keys, "api_key", "key"),
    },
    "Messages": {
        "Ids are text of at most 200 characters.": check_ids,
        "received_at is ISO 8601 in UTC.": check_times,
        "created_at of a mailbox is a number, epoch milliseconds.": check_epochs,
        "Listed messages have from and subject.": _have_fields(
            _messages, "from", "subject"
        ),
        "Listed messages have an array in to.": lambda host: (
            "" if isinstance(_messages(host)[0].get("to"), list) else "no array"
        ),
        "Lists of messages carry no bodies.": _lack_fields(_emails, *_TEXTS),
        "A single read has markdown and attachments.": _have_fields(
            _email, "markdown", "attachments"
        ),
    },
    "Statuses": {
        "Listed messages have known statuses.": _have_values(
            _messages, "status", *_STATUSES
        )
    },
    "Reading": {
        "Lists of messages have the newest first.": _are_ordered(
            _emails, newest_first=True
        ),
        "A list goes on at its cursor.": check_pages,
    },
    "Threads": {"A thread carries no bodies.": _lack_fields(_thread, *_TEXTS)},
    "Attachments": {"An attachment comes as its raw bytes.": check_file},
    "The pending list": {
        "What is held stands under pending, emails or messages.": _has_list(
            _PENDING, "pending", "emails", "messages"
        ),
        "Held messages have id, mailbox_id and body_markdown.": _have_fields(
            _pending, "id", "mailbox_id", "body_markdown"
        ),
        "Held messages have one of two statuses.": _have_values(
            _pending, "status", *_HELD
        ),
        "The oldest held message comes first.": _are_ordered(
            _pending, newest_first=False
        ),
    },
    "Mailboxes and oversight modes": {
        "Mailboxes have id and address.": _have_fields(_mailboxes, "id", "address"),
        "Mailboxes have one of the five modes.": _have_values(
            _mailboxes, "oversight_mode", *_MODES
        ),
    },
    "Registering a webhook": {
        "Webhooks stand under webhooks or subscriptions.": _has_list(
            _WEBHOOKS, "webhooks", "subscriptions"
        ),
        "Webhooks have id, url and events.": _have_fields(
            _webhooks, "id", "url", "events"
        ),
        "A list of webhooks shows no secrets.": _lack_fields(
            _webhooks, "signing_secret", "secret"
        ),
        "A single webhook shows a signing_secret that begins with whsec_.": check_secret,
    },
    "Allowlists at the gate": {
        "Entries of allowlists have id and pattern.": _have_fields(
            lambda host: host.rows(
                "admin", "/v1/mailboxes/{}/allowlist", host.mailbox("admin")
            ),
            "id",
            "pattern",
        )
    },
    "Account lists": {
        "Contacts have email.": _have_fields(_rows("read", "/v1/contacts"), "email"),
        "Suppressed addresses have email_address and reason.": _have_fields(
            _rows("admin", "/v1/suppression"), "email_address", "reason"
        ),
        "Entries of the audit log have action, resource_id and actor_key_id.": _have_fields(
            _rows("admin", "/v1/audit-log"), "action", "resource_id", "actor_key_id"
        ),
        "Deliveries have id, event_type and status.": _have_fields(
            _rows("admin", "/v1/webhook-deliveries"), "id", "event_type", "status"
        ),
    },
}
# Checked after all others: they are about the answers to all calls.
ANSWER_FACTS: Facts = {
    "Errors and limits": {
        "Errors are JSON objects with a sentence in error.": check_errors,
        "A success is a JSON object, except for an attachment.": check_objects,
        "Retry-After of a 429 is a plain number of seconds.": check_retry_after,
    }
}
