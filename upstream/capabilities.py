"""Learns what the MultiMail at an address can do with these keys, by reads alone:
nothing is changed or sent there.

Only an answer proves something. 403, 404, 405, 501 and a 422 say "not here, or not with
this key"; after every other failure the question stays open. Reads that would mark
received mail as read are not made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from common.exchange import Deadline
from upstream import errors
from upstream.client import Client, Json, path

# Seconds for all reads together.
WITHIN = 30.0
_LIMIT = 64 * 1024 * 1024
_IS_MISSING = (403, 404, 405, 422, 501)
# No message has this id.
_NO_ID = "00000000000000000000000000"

# What each capability is called on pages, and the key that it is asked with.
WORDS = {
    "gateway": ("a gateway of this product", "oversight"),
    "one_pending": ("questions for one held message", "oversight"),
    "pending_cc": ("Cc of held messages", "oversight"),
    "pending_bcc": ("Bcc of held messages", "oversight"),
    "pending_attachments": ("attachments of held messages", "oversight"),
    "pending_sender": ("which API key sent a held message", "oversight"),
    "scopes": ("scopes of keys", "admin"),
    "single_read": ("reading one message by its id", "read"),
    "read_cc": ("Cc of a message that is read by its id", "read"),
    "thread_bodies": ("threads with the words of their messages", "read"),
    "contacts": ("contacts", "read"),
    "suppression": ("suppressed addresses", "admin"),
    "webhooks": ("webhooks", "admin"),
    "deliveries": ("deliveries of webhooks", "admin"),
    "domains": ("domains", "admin"),
    "upgrade_requests": ("requests for looser modes, with their codes", "admin"),
    "audit_log": ("the audit log", "admin"),
    "allowlists": ("allowlists", "admin"),
    "whole_allowlists": ("allowlists that are replaced as a whole", "admin"),
    "hold_all": ("holding all mail", "admin"),
    "minimum_mode": ("a minimum oversight mode", "admin"),
    "require_fingerprint": ("requiring the fingerprint of decisions", "admin"),
}
_LISTS = {
    "contacts": "/v1/contacts",
    "suppression": "/v1/suppression",
    "webhooks": "/v1/webhooks",
    "deliveries": "/v1/webhook-deliveries",
    "domains": "/v1/domains",
    "upgrade_requests": "/v1/upgrade-requests",
    "audit_log": "/v1/audit-log",
}
_ROW_FIELDS = {
    "pending_cc": "cc",
    "pending_bcc": "bcc",
    "pending_attachments": "attachments",
    "pending_sender": "sent_by_key",
}
_ACCOUNT_FIELDS = {
    "scopes": "scopes",
    "hold_all": "hold_all",
    "minimum_mode": "minimum_oversight_mode",
    "require_fingerprint": "require_fingerprint",
}
_BODIES = ("body_markdown", "markdown", "text_body", "body", "text")


@dataclass(frozen=True)
class Capability:
    """Whether one thing is there: None where no answer showed it. `because` says why
    not, or why it is not known.
    """

    name: str
    is_there: bool | None
    because: str = ""

    @property
    def words(self) -> str:
        """Return what pages call it."""
        return WORDS[self.name][0]

    @property
    def slot(self) -> str:
        """Return the slot of the key that it is asked with."""
        return WORDS[self.name][1]


def read_capabilities(
    *, api_url: str, keys: Mapping[str, str], within: float = WITHIN
) -> list[Capability]:
    """Return what this MultiMail can do with these keys by slot: oversight, read,
    admin, agent. It never raises.
    """
    return _Survey(api_url, keys, Deadline.after(within)).capabilities()


@dataclass(frozen=True)
class _Read:
    """One read: its JSON object, which is empty where none came, and what that means."""

    body: Json
    is_there: bool | None
    because: str = ""


@dataclass
class _Survey:
    api_url: str
    keys: Mapping[str, str]
    deadline: Deadline
    # Why nothing more is asked: MultiMail asked to wait, or cannot be reached.
    stopped: str = ""
    is_gateway: bool | None = None
    found: dict[str, Capability] = field(default_factory=dict)

    def capabilities(self) -> list[Capability]:
        read = self._read("oversight", "/v1/oversight/pending")
        self._note("gateway", replace(read, is_there=self.is_gateway))
        rows = _rows(read.body, "pending", "emails", "messages")
        outgoing = [row for row in rows if row.get("direction") != "inbound"]
        nothing = _Read({}, None, read.because or "Nothing is held.")
        for name, shown in _ROW_FIELDS.items():
            has_field = _Read({}, any(shown in row for row in outgoing))
            self._note(name, has_field if outgoing else nothing)
        one = nothing
        if rows:
            one = self._read("oversight", "/v1/oversight/pending", email_id=_NO_ID)
            if one.is_there:
                listed = _rows(one.body, "pending", "emails", "messages")
                one = replace(one, is_there=not listed)
            elif one.is_there is False:
                # Our gateway says 404 of a message that it does not know.
                one = replace(one, is_there=self.is_gateway)
        self._note("one_pending", one)
        self._note_one_message(outgoing)
        for name, target in _LISTS.items():
            self._note(name, self._read(WORDS[name][1], target))
        read = self._read("admin", "/v1/account")
        for name, shown in _ACCOUNT_FIELDS.items():
            self._note(name, read, shown)
        boxes = _rows(self._read("admin", "/v1/mailboxes").body, "mailboxes")
        read = _Read({}, None, "No mailbox is known.")
        if boxes:
            template = "/v1/mailboxes/{}/allowlist"
            box = str(boxes[0]["id"])
            read = self._read("admin", template, box, kind="restriction")
            if read.is_there is False:
                # A strict host does not know the question for one kind.
                read = self._read("admin", template, box)
        self._note("allowlists", read)
        if read.body:
            read = replace(read, is_there=isinstance(read.body.get("version"), int))
        self._note("whole_allowlists", read)
        return [self.found[name] for name in WORDS]

    def _note(self, name: str, read: _Read, shown: str = "") -> None:
        """Note whether a read is there; with `shown`, whether its answer has that field."""
        is_there = shown in read.body if shown and read.body else read.is_there
        self.found[name] = Capability(name, is_there, read.because)

    def _read(self, slot: str, template: str, *parts: str, **params: str) -> _Read:
        key = self.keys.get(slot)
        if not key:
            return _Read({}, None, f"There is no {slot} key.")
        if self.stopped:
            return _Read({}, None, self.stopped)
        client = Client(base_url=self.api_url, key=key)
        try:
            body, is_gateway = client.read(
                path(template, *parts), params, limit=_LIMIT, deadline=self.deadline
            )
        except (errors.NotSent, errors.Throttled) as error:
            self.stopped = error.sentence
            return _Read({}, None, error.sentence)
        except errors.UpstreamError as error:
            is_missing = error.status in _IS_MISSING
            return _Read({}, False if is_missing else None, error.sentence)
        self.is_gateway = is_gateway
        return _Read(body, True)

    def _note_one_message(self, rows: list[Json]) -> None:
        row = next((one for one in rows if one.get("mailbox_id")), None)
        if row is None:
            for name in ("single_read", "read_cc", "thread_bodies"):
                self._note(name, _Read({}, None, "No outgoing message is held."))
            return
        mailbox = str(row["mailbox_id"])
        email = str(row["id"])
        read = self._read("read", "/v1/mailboxes/{}/emails/{}", mailbox, email)
        self._note("single_read", read)
        self._note("read_cc", read, "cc")
        thread = str(row.get("thread_id") or read.body.get("thread_id") or "")
        read = _Read({}, None, "The message names no thread.")
        if thread:
            template = "/v1/mailboxes/{}/threads/{}"
            # A strict host does not know the question for bodies.
            read = self._read("read", template, mailbox, thread, bodies="true")
        if read.is_there:
            emails = _rows(read.body, "emails")
            has_bodies = any(one.get(name) for one in emails for name in _BODIES)
            read = replace(read, is_there=has_bodies if emails else None)
        self._note("thread_bodies", read)


def _rows(body: Json, *names: str) -> list[Json]:
    for name in names:
        listed = body.get(name)
        if isinstance(listed, list):
            return [row for row in listed if isinstance(row, dict) and row.get("id")]
    return []
