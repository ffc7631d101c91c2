"""Whether a MultiMail behaves as docs/multimail.md says: the facts that the desk relies
on and that lists show, by section, with the function that checks each by reads.

Such a function returns what differs, without content, or an empty text.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from common.exchange import Deadline
from upstream import errors
from upstream.client import Client, Json, path
from upstream.wire import TOTAL_TIMEOUT

# No answer of MultiMail to one read is larger.
MAX_READ = 8 * 1024 * 1024
_NAME = re.compile(r"[a-z][a-z_]{0,39}")
_HELD = ("pending_send_approval", "pending_inbound_approval")
_STATUSES = (
    *_HELD,
    "unread",
    "read",
    "archived",
    "deleted",
    "spam_flagged",
    "spam_quarantined",
    "pending_scan",
    "scheduled",
    "sent",
    "send_failed",
    "rejected",
    "cancelled",
)
_MODES = ("read_only", "gated_all", "gated_send", "monitored", "autonomous")
_TEXTS = ("markdown", "body_markdown", "text_body", "html_body", "body", "text")


class NotSeen(Exception):
    """Why a fact could not be checked, as a phrase without content."""


class Host:
    """One MultiMail, with keys by slot. Each read is made once."""

    def __init__(self, address: str, keys: dict[str, str]) -> None:
        self._address = address
        self._keys = keys
        self._reads: dict[str, Json] = {}

    def object(self, slot: str, template: str, *parts: str) -> Json:
        """Return the JSON object of a read. Raises NotSeen where it fails."""
        target = path(template, *parts)
        if not self._keys.get(slot):
            raise NotSeen(f"no {slot} key was given")
        if target not in self._reads:
            client = Client(base_url=self._address, key=self._keys[slot])
            deadline = Deadline.after(TOTAL_TIMEOUT)
            try:
                found, _ = client.read(target, {}, limit=MAX_READ, deadline=deadline)
            except errors.UpstreamError as error:
                failure = error.status or type(error).__name__
                raise NotSeen(f"GET {template}: {failure}") from None
            self._reads[target] = found
        return self._reads[target]

    def rows(self, slot: str, template: str) -> list[Json]:
        """Return the rows of a list, of the first mailbox if the template asks for one.
        Raises NotSeen where it is empty.
        """
        parts = [self.mailbox()] if "{}" in template else []
        lists = self.object(slot, template, *parts).values()
        rows = next((value for value in lists if isinstance(value, list)), [])
        if not rows:
            raise NotSeen(f"GET {template} lists nothing")
        return rows

    def mailbox(self) -> str:
        """Return the id of the first mailbox that the read key sees."""
        return str(self.rows("read", "/v1/mailboxes")[0].get("id"))


Rows = Callable[[Host], list[Json]]
Check = Callable[[Host], str]


def _rows(slot: str, template: str) -> Rows:
    return lambda host: host.rows(slot, template)


_PENDING = ("oversight", "/v1/oversight/pending")
_WEBHOOKS = ("admin", "/v1/webhooks")
_pending = _rows(*_PENDING)
_emails = _rows("read", "/v1/mailboxes/{}/emails")
_mailboxes = _rows("read", "/v1/mailboxes")
_webhooks = _rows(*_WEBHOOKS)
_keys = _rows("admin", "/v1/api-keys")


def _email(host: Host) -> list[Json]:
    """Read one message that this does not mark as read: outgoing, or read before."""
    for row in _emails(host):
        if row.get("direction") == "outbound" or row.get("status") == "read":
            template = "/v1/mailboxes/{}/emails/{}"
            return [host.object("read", template, host.mailbox(), str(row.get("id")))]
    raise NotSeen("every message listed is unread")


def _have(rows: Rows, *wanted: str) -> Check:
    def check(host: Host) -> str:
        missing = [name for name in wanted if name not in rows(host)[0]]
        return f"without {', '.join(missing)}" if missing else ""

    return check


def _hide(rows: Rows, *unwanted: str) -> Check:
    def check(host: Host) -> str:
        shown = _names(name for row in rows(host) for name in unwanted if row.get(name))
        return shown and f"shows {shown}"

    return check


def _say(rows: Rows, name: str, *known: str) -> Check:
    return lambda host: _names({row.get(name) for row in rows(host)} - {*known})


def _lists(read: tuple[str, str], *arrays: str) -> Check:
    def check(host: Host) -> str:
        answer = host.object(*read)
        found = {name for name, value in answer.items() if isinstance(value, list)}
        return "" if found & {*arrays} else f"arrays: {_names(found) or 'none'}"

    return check


def _names(words: Iterable[Any]) -> str:
    """Return names of fields and words of states. What does not look like one could be
    content, and stays unnamed.
    """
    found = {
        word if isinstance(word, str) and _NAME.fullmatch(word) else "(no name)"
        for word in words
    }
    return ", ".join(sorted(found)[:20])


FACTS: dict[str, dict[str, Check]] = {
    "Accounts and keys": {
        "API keys have id, prefix and scopes.": _have(_keys, "id", "prefix", "scopes"),
        "A list of API keys shows no whole key.": _hide(_keys, "api_key", "key"),
    },
    "Messages": {
        "Listed messages have from, to and subject.": _have(
            _emails, "from", "to", "subject"
        ),
        "Lists of messages carry no bodies.": _hide(_emails, *_TEXTS),
        "A single read has markdown and attachments.": _have(
            _email, "markdown", "attachments"
        ),
    },
    "Statuses": {
        "Listed messages have known statuses.": _say(_emails, "status", *_STATUSES)
    },
    "The pending list": {
        "What is held stands under pending, emails or messages.": _lists(
            _PENDING, "pending", "emails", "messages"
        ),
        "Held messages have id, mailbox_id and body_markdown.": _have(
            _pending, "id", "mailbox_id", "body_markdown"
        ),
        "Held messages have one of two statuses.": _say(_pending, "status", *_HELD),
    },
    "Mailboxes and oversight modes": {
        "Mailboxes have id and address.": _have(_mailboxes, "id", "address"),
        "Mailboxes have one of the five modes.": _say(
            _mailboxes, "oversight_mode", *_MODES
        ),
    },
    "Registering a webhook": {
        "Webhooks stand under webhooks or subscriptions.": _lists(
            _WEBHOOKS, "webhooks", "subscriptions"
        ),
        "Webhooks have id, url and events.": _have(_webhooks, "id", "url", "events"),
        "A list of webhooks shows no secrets.": _hide(
            _webhooks, "signing_secret", "secret"
        ),
    },
    "Allowlists at the gate": {
        "Entries of allowlists have id and pattern.": _have(
            _rows("admin", "/v1/mailboxes/{}/allowlist"), "id", "pattern"
        )
    },
    "Account lists": {
        "Contacts have email.": _have(_rows("read", "/v1/contacts"), "email"),
        "Suppressed addresses have email_address and reason.": _have(
            _rows("admin", "/v1/suppression"), "email_address", "reason"
        ),
        "Entries of the audit log have action, resource_id and actor_key_id.": _have(
            _rows("admin", "/v1/audit-log"), "action", "resource_id", "actor_key_id"
        ),
        "Deliveries have id, event_type and status.": _have(
            _rows("admin", "/v1/webhook-deliveries"), "id", "event_type", "status"
        ),
    },
}
