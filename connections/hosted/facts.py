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

from common.tables import table_rows
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

# The desk's columns for ids have so many characters.
_MAX_ID = 200
# No message has this id.
_UNKNOWN_ID = "01JNOBODYHASTHISID00000000"
# The lists of MultiMail: a kind of key that can read it, and its path.
_LISTS = {
    name: (kind, template)
    for name, kind, template in table_rows("""
pending    | oversight | /v1/oversight/pending
mailboxes  | read      | /v1/mailboxes
emails     | read      | /v1/mailboxes/{}/emails
contacts   | read      | /v1/contacts
webhooks   | admin     | /v1/webhooks
keys       | admin     | /v1/api-keys
allowlist  | admin     | /v1/mailboxes/{}/allowlist
suppressed | admin     | /v1/suppression
audit_log  | admin     | /v1/audit-log
deliveries | admin     | /v1/webhook-deliveries
""")
}


def _rows(host: Host, name: str) -> list[dict[str, Any]]:
    """Return the rows of a list; or as rows the account, one email, the emails of one
    thread, or held and listed messages. Raises NotSeen if there are none.
    """
    if name == "account":
        return [host.object("read", "/v1/account")]
    if name == "email":
        return _email(host)
    if name == "thread":
        return _thread(host)
    if name == "messages":
        return _either(host, "pending") + _either(host, "emails") or _rows(
            host, "emails"
        )
    kind, template = _LISTS[name]
    parts = [host.mailbox(kind)] if "{}" in template else []
    return host.rows(kind, template, *parts)


# Returns the rows of a list; none if it is empty or cannot be read.
def _either(host: Host, name: str) -> list[dict[str, Any]]:
    try:
        return _rows(host, name)
    except NotSeen:
        return []


# Returns the messages of the first thread that a listed message names.
def _thread(host: Host) -> list[dict[str, Any]]:
    for row in _rows(host, "emails"):
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
        for row in _rows(host, "emails")
        if row.get("direction") == "outbound" or row.get("status") == "read"
    ]
    if not safe:
        raise NotSeen("every message listed is unread")
    row = min(safe, key=lambda one: not one.get("has_attachments"))
    path = "/v1/mailboxes/{}/emails/{}"
    return [host.object("read", path, host.mailbox(), str(row.get("id")))]


# --- checks of the rows of a list, or of one call -------------------------------------


# The first row has all these fields.
def has(host: Host, name: str, *wanted: str) -> str:
    return without(_rows(host, name)[0], *wanted)


# No row has a value in one of these fields.
def lacks(host: Host, name: str, *unwanted: str) -> str:
    rows = _rows(host, name)
    shown = names(field for row in rows for field in unwanted if row.get(field))
    return shown and f"shows {shown}"


# In every row, this field has one of the known values.
def has_value(host: Host, name: str, field: str, *known: str) -> str:
    return names({row.get(field) for row in _rows(host, name)} - {*known})


# The rows are in the order of their times.
def is_ordered(host: Host, name: str, first: str) -> str:
    times = [str(row.get("received_at")) for row in _rows(host, name)]
    if len(times) < 2:
        raise NotSeen("fewer than two messages are listed")
    in_order = sorted(times, reverse=first == "newest_first")
    return "" if times == in_order else "they are not in this order"


# The answer has an array under one of these names.
def has_array(host: Host, name: str, *arrays: str) -> str:
    answer = host.object(*_LISTS[name])
    lists = {field for field, value in answer.items() if isinstance(value, list)}
    return "" if lists & {*arrays} else f"arrays: {names(lists) or 'none'}"


# A GET with this kind of key is answered with this status.
def is_answered(host: Host, status: str, kind: str, template: str) -> str:
    parts = (host.mailbox(), _UNKNOWN_ID) if "{}" in template else ()
    answered = host.read(kind, template, *parts).status
    return "" if answered == int(status) else f"answered {answered}"


# --- checks of single facts -----------------------------------------------------------


def check_recipients(host: Host) -> str:
    is_array = isinstance(_rows(host, "messages")[0].get("to"), list)
    return "" if is_array else "no array"


def check_header(host: Host) -> str:
    if "X-Countersign-Gateway" in host.read(*_LISTS["pending"]).headers:
        return "the header is there: this is our gateway"
    return ""


def check_ids(host: Host) -> str:
    for row in (*_rows(host, "messages"), *_rows(host, "mailboxes")):
        value = row.get("id")
        if not isinstance(value, str):
            return f"an id is a JSON {type(value).__name__}"
        if not 0 < len(value) <= _MAX_ID:
            return f"an id has {len(value)} characters"
    return ""


def check_times(host: Host) -> str:
    for row in _rows(host, "messages"):
        try:
            if datetime.fromisoformat(row["received_at"]).utcoffset() != timedelta(0):
                return "a time that is not in UTC"
        except (KeyError, TypeError, ValueError):
            return f"a JSON {type(row.get('received_at')).__name__} that is no ISO time"
    return ""


def check_epochs(host: Host) -> str:
    value = _rows(host, "mailboxes")[0].get("created_at")
    is_epoch = isinstance(value, int) and value > 1e11
    return "" if is_epoch else f"a JSON {type(value).__name__}"


def check_pages(host: Host) -> str:
    if len(_rows(host, "emails")) < 2:
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
    webhook = str(_rows(host, "webhooks")[0].get("id"))
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


_CHECKS: dict[str, Callable[..., str]] = {
    check.__name__: check
    for check in (
        has,
        lacks,
        has_value,
        is_ordered,
        has_array,
        is_answered,
        check_header,
        check_ids,
        check_times,
        check_epochs,
        check_recipients,
        check_pages,
        check_file,
        check_secret,
    )
}


def _look(check: str, *words: str) -> Look:
    return lambda host: _CHECKS[check](host, *words)


# The facts by section, each with the name of its check and the words for that.
_LOOKS = {
    "Hosted MultiMail or our gateway": {
        "Hosted MultiMail sends no header X-Countersign-Gateway.": "check_header"
    },
    "Accounts and keys": {
        "The account has id, name and plan.": "has account id name plan",
        "The account names its oversight_email.": "has account oversight_email",
        "An unknown key is 401.": "is_answered 401 unknown /v1/account",
        "A missing scope is 403.": "is_answered 403 oversight /v1/api-keys",
        "An unknown id is 404.": "is_answered 404 read /v1/mailboxes/{}/emails/{}",
        "API keys have id, prefix and scopes.": "has keys id prefix scopes",
        "A list of API keys shows no whole key.": "lacks keys api_key key",
    },
    "Messages": {
        "Ids are text of at most 200 characters.": "check_ids",
        "received_at is ISO 8601 in UTC.": "check_times",
        "created_at of a mailbox is a number, epoch milliseconds.": "check_epochs",
        "Listed messages have from and subject.": "has messages from subject",
        "Listed messages have an array in to.": "check_recipients",
        "Lists of messages carry no bodies.": "lacks emails markdown body_markdown text_body html_body body text",
        "A single read has markdown and attachments.": "has email markdown attachments",
    },
    "Statuses": {
        "Listed messages have known statuses.": (
            "has_value messages status pending_send_approval pending_inbound_approval unread read archived deleted "
            "spam_flagged spam_quarantined pending_scan scheduled sent send_failed rejected cancelled"
        ),
    },
    "Reading": {
        "Lists of messages have the newest first.": "is_ordered emails newest_first",
        "A list goes on at its cursor.": "check_pages",
    },
    "Threads": {
        "A thread carries no bodies.": "lacks thread markdown body_markdown text_body html_body body text"
    },
    "Attachments": {"An attachment comes as its raw bytes.": "check_file"},
    "The pending list": {
        "What is held stands under pending, emails or messages.": "has_array pending pending emails messages",
        "Held messages have id, mailbox_id and body_markdown.": "has pending id mailbox_id body_markdown",
        "Held messages have one of two statuses.": (
            "has_value pending status pending_send_approval pending_inbound_approval"
        ),
        "The oldest held message comes first.": "is_ordered pending oldest_first",
    },
    "Mailboxes and oversight modes": {
        "Mailboxes have id and address.": "has mailboxes id address",
        "Mailboxes have one of the five modes.": (
            "has_value mailboxes oversight_mode read_only gated_all gated_send monitored autonomous"
        ),
    },
    "Registering a webhook": {
        "Webhooks stand under webhooks or subscriptions.": "has_array webhooks webhooks subscriptions",
        "Webhooks have id, url and events.": "has webhooks id url events",
        "A list of webhooks shows no secrets.": "lacks webhooks signing_secret secret",
        "A single webhook shows a signing_secret that begins with whsec_.": "check_secret",
    },
    "Allowlists at the gate": {
        "Entries of allowlists have id and pattern.": "has allowlist id pattern"
    },
    "Account lists": {
        "Contacts have email.": "has contacts email",
        "Suppressed addresses have email_address and reason.": "has suppressed email_address reason",
        "Entries of the audit log have action, resource_id and actor_key_id.": (
            "has audit_log action resource_id actor_key_id"
        ),
        "Deliveries have id, event_type and status.": "has deliveries id event_type status",
    },
}
FACTS: Facts = {
    section: {fact: _look(*how.split()) for fact, how in looks.items()}
    for section, looks in _LOOKS.items()
}
# Checked after all others: they are about the answers to all calls.
ANSWER_FACTS: Facts = {
    "Errors and limits": {
        "Errors are JSON objects with a sentence in error.": check_errors,
        "A success is a JSON object, except for an attachment.": check_objects,
        "Retry-After of a 429 is a plain number of seconds.": check_retry_after,
    }
}
