"""Learns what the MultiMail at an address can do with these keys, by reads alone:
nothing is changed or sent there.

Only an answer proves something. 403, 404, 405, 501 and a 422 say "not here, or not with
this key"; after every other failure the question stays open. Reads that would mark
received mail as read are not made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    "single_read": ("reading one message by its id", "read"),
    "read_cc": ("Cc of a message that is read by its id", "read"),
    "thread_bodies": ("threads with the words of their messages", "read"),
    "contacts": ("contacts", "read"),
    "audit_log": ("the audit log", "admin"),
    "whole_allowlists": ("allowlists that are replaced as a whole", "admin"),
    "hold_all": ("holding all mail", "admin"),
    "minimum_mode": ("a minimum oversight mode", "admin"),
    "require_fingerprint": ("requiring the fingerprint of decisions", "admin"),
}
_LISTS = {"contacts": "/v1/contacts", "audit_log": "/v1/audit-log"}
_ROW_FIELDS = {
    "pending_cc": "cc",
    "pending_bcc": "bcc",
    "pending_attachments": "attachments",
}
_ACCOUNT_FIELDS = {
    "hold_all": "hold_all",
    "minimum_mode": "minimum_oversight_mode",
    "require_fingerprint": "require_fingerprint",
}
_BODIES = ("body_markdown", "markdown", "text_body", "body", "text")


def read_capabilities(
    *, api_url: str, keys: Mapping[str, str]
) -> dict[str, bool | None]:
    """Return what this MultiMail can do with these keys by slot: oversight, read,
    admin; None where no answer showed it. It never raises.
    """
    return _Survey(api_url, keys, Deadline.after(WITHIN)).capabilities()


@dataclass
class _Survey:
    api_url: str
    keys: Mapping[str, str]
    deadline: Deadline
    # MultiMail asked to wait, or cannot be reached: nothing more is asked.
    is_over: bool = False
    is_gateway: bool | None = None
    found: dict[str, bool | None] = field(default_factory=dict)

    def capabilities(self) -> dict[str, bool | None]:
        found = self.found
        body, _ = self._read("oversight", "/v1/oversight/pending")
        found["gateway"] = self.is_gateway
        rows = _rows(body, "pending", "emails", "messages")
        outgoing = [row for row in rows if row.get("direction") != "inbound"]
        for name, shown in _ROW_FIELDS.items():
            found[name] = any(shown in row for row in outgoing) if outgoing else None
        if rows:
            body, is_there = self._read(
                "oversight", "/v1/oversight/pending", email_id=_NO_ID
            )
            if is_there:
                is_there = not _rows(body, "pending", "emails", "messages")
            elif is_there is False:
                # Our gateway says 404 of a message that it does not know.
                is_there = self.is_gateway
            found["one_pending"] = is_there
        self._learn_one_message(outgoing)
        for name, target in _LISTS.items():
            _, found[name] = self._read(WORDS[name][1], target)
        body, is_there = self._read("admin", "/v1/account")
        for name, shown in _ACCOUNT_FIELDS.items():
            found[name] = shown in body if body else is_there
        boxes = _rows(self._read("admin", "/v1/mailboxes")[0], "mailboxes")
        if boxes:
            template = "/v1/mailboxes/{}/allowlist"
            mailbox = str(boxes[0]["id"])
            body, is_there = self._read("admin", template, mailbox, kind="restriction")
            is_whole = isinstance(body.get("version"), int)
            found["whole_allowlists"] = is_whole if body else is_there
        return {name: found.get(name) for name in WORDS}

    def _read(
        self, slot: str, template: str, *parts: str, **params: str
    ) -> tuple[Json, bool | None]:
        """Return the JSON object of a read, empty where none came, and whether that
        shows that it is there.
        """
        key = self.keys.get(slot)
        if not key or self.is_over:
            return {}, None
        client = Client(base_url=self.api_url, key=key)
        try:
            body, is_gateway = client.read(
                path(template, *parts), params, limit=_LIMIT, deadline=self.deadline
            )
        except (errors.NotSent, errors.Throttled):
            self.is_over = True
            return {}, None
        except errors.UpstreamError as error:
            return {}, False if error.status in _IS_MISSING else None
        self.is_gateway = is_gateway
        return body, True

    def _learn_one_message(self, rows: list[Json]) -> None:
        row = next((one for one in rows if one.get("mailbox_id")), None)
        if row is None:
            return
        mailbox = str(row["mailbox_id"])
        email = str(row["id"])
        body, is_there = self._read(
            "read", "/v1/mailboxes/{}/emails/{}", mailbox, email
        )
        self.found["single_read"] = is_there
        self.found["read_cc"] = "cc" in body if body else is_there
        thread = str(row.get("thread_id") or body.get("thread_id") or "")
        if not thread:
            return
        template = "/v1/mailboxes/{}/threads/{}"
        # A strict host does not know the question for bodies.
        body, is_there = self._read("read", template, mailbox, thread, bodies="true")
        if is_there:
            emails = _rows(body, "emails")
            has_bodies = any(one.get(name) for one in emails for name in _BODIES)
            is_there = has_bodies if emails else None
        self.found["thread_bodies"] = is_there


def _rows(body: Json, *names: str) -> list[Json]:
    for name in names:
        listed = body.get(name)
        if isinstance(listed, list):
            return [row for row in listed if isinstance(row, dict) and row.get("id")]
    return []
