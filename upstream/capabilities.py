"""Finds out what the MultiMail at an address can do with these keys, and which doors
outside this desk are open. It only reads: nothing is changed or sent there.

A successful answer shows that a capability is there. 403, 404, 405, 422 and 501 mean
"not here, or not with this key". After any other failure, the capability is unknown.
Reads that would mark received mail as read are not made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.exchange import Deadline
from common.unique_keys import Json
from upstream import errors
from upstream.client import Client, path

# Seconds for all reads together.
WITHIN = 30.0
# The longest answer, in bytes.
_LIMIT = 64 * 1024 * 1024
# The HTTP statuses that mean "not here, or not with this key".
_IS_MISSING = (403, 404, 405, 422, 501)
_ALLOWLIST = "/v1/mailboxes/{}/allowlist"
# No message has this id.
_NO_ID = "00000000000000000000000000"

# Each capability: its name on pages, and the slot of the key that is needed for it.
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
# The doors outside this desk: ways in which mail is decided or sent without it. By kind
# the words for it, and what it lets happen.
DOORS = {
    "oversight_email": (
        "Oversight address",
        "Its mail has links that decide (hosted MultiMail) or approval codes (our gateway).",
    ),
    "keys": (
        "Other keys that decide",
        "A program or person with such a key decides by API.",
    ),
    "modes": (
        "Mailboxes without review",
        "What they send leaves without a decision, or can ask to.",
    ),
    "bypass": (
        "Bypass lists",
        "What goes only to recipients on them leaves without a decision.",
    ),
}
# Oversight modes in which mail leaves without review.
_UNREVIEWED = ("monitored", "autonomous")
# What shows a capability: a path that answers, a field of held messages, a field of the
# account.
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
# The names under which a message of a thread may have its text.
_BODIES = ("body_markdown", "markdown", "text_body", "body", "text")


def read_capabilities(
    *, api_url: str, keys: Mapping[str, str]
) -> tuple[dict[str, bool | None], dict[str, list[str]]]:
    """Return for each capability of WORDS whether this MultiMail has it, None if no
    answer showed it; and by the kinds of DOORS which are open, without a kind that
    could not be read. `keys` are by slot; the agent's is not used. Never raises.
    """
    survey = _Survey(api_url, keys, Deadline.after(WITHIN))
    return survey.capabilities(), survey.doors


@dataclass
class _Survey:
    api_url: str
    keys: Mapping[str, str]
    deadline: Deadline
    # True when MultiMail asked to wait or cannot be reached: no more calls are made.
    is_over: bool = False
    is_gateway: bool | None = None
    found: dict[str, bool | None] = field(default_factory=dict)
    doors: dict[str, list[str]] = field(default_factory=dict)

    def capabilities(self) -> dict[str, bool | None]:
        found = self.found
        body, _ = self._read("oversight", "/v1/oversight/pending")
        found["gateway"] = self.is_gateway
        rows = _rows(body, "pending", "emails", "messages")
        outgoing = [row for row in rows if row.get("direction") != "inbound"]
        for name, key in _ROW_FIELDS.items():
            found[name] = any(key in row for row in outgoing) if outgoing else None
        if rows:
            body, is_supported = self._read(
                "oversight", "/v1/oversight/pending", email_id=_NO_ID
            )
            if is_supported:
                is_supported = not _rows(body, "pending", "emails", "messages")
            elif is_supported is False:
                # Our gateway can do this, and answers 404 for an unknown message.
                is_supported = self.is_gateway
            found["one_pending"] = is_supported
        self._learn_one_message(outgoing)
        for name, target in _LISTS.items():
            _, found[name] = self._read(WORDS[name][1], target)
        body, is_supported = self._read("admin", "/v1/account")
        for name, key in _ACCOUNT_FIELDS.items():
            found[name] = key in body if body else is_supported
        if "oversight_email" in body:
            address = body["oversight_email"]
            self.doors["oversight_email"] = [str(address)[:320]] if address else []
        mailboxes = _rows(self._read("admin", "/v1/mailboxes")[0], "mailboxes")
        if mailboxes:
            body, is_supported = self._read(
                "admin", _ALLOWLIST, str(mailboxes[0]["id"]), kind="restriction"
            )
            is_whole = isinstance(body.get("version"), int)
            found["whole_allowlists"] = is_whole if body else is_supported
        self._look_for_doors(mailboxes)
        return {name: found.get(name) for name in WORDS}

    def _look_for_doors(self, mailboxes: list[Json]) -> None:
        body, is_read = self._read("admin", "/v1/api-keys")
        if is_read:
            rows = [row for row in _rows(body, "api_keys", "keys") if _decides(row)]
            # Only the beginnings of keys are shown. If several begin like the desk's,
            # nobody can tell which one is its own.
            own = self.keys.get("oversight", "")
            ours = [row for row in rows if own.startswith(_beginning(row))]
            self.doors["keys"] = [
                _name_of(row) for row in rows if row not in ours or len(ours) > 1
            ]
        if not mailboxes:
            return
        self.doors["modes"] = [
            _name_of(row)
            for row in mailboxes
            if row.get("oversight_mode") in _UNREVIEWED
            or row.get("allow_looser_per_call")
        ]
        opened = []
        for row in mailboxes:
            body, is_read = self._read(
                "admin", _ALLOWLIST, str(row["id"]), kind="bypass"
            )
            if not is_read:
                return
            # Hosted MultiMail has no modes of lists that we know of.
            if body.get("entries") and body.get("mode", "enforce") == "enforce":
                opened.append(_name_of(row))
        self.doors["bypass"] = opened

    def _read(
        self, slot: str, template: str, *parts: str, **params: str
    ) -> tuple[Json, bool | None]:
        """Make one read. Return its JSON object, and whether it shows that MultiMail
        supports this read. The object is empty if that is False or unknown (None).
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

    # Reads a held message and its thread by their ids, to learn what such reads give.
    def _learn_one_message(self, rows: list[Json]) -> None:
        row = next((one for one in rows if one.get("mailbox_id")), None)
        if not row:
            return
        mailbox = str(row["mailbox_id"])
        body, is_supported = self._read(
            "read", "/v1/mailboxes/{}/emails/{}", mailbox, str(row["id"])
        )
        self.found["single_read"] = is_supported
        self.found["read_cc"] = "cc" in body if body else is_supported
        thread = str(row.get("thread_id") or body.get("thread_id") or "")
        if not thread:
            return
        # A host that does not know `bodies` refuses it, or ignores it and returns none.
        body, is_supported = self._read(
            "read", "/v1/mailboxes/{}/threads/{}", mailbox, thread, bodies="true"
        )
        if is_supported:
            emails = _rows(body, "emails")
            has_bodies = any(one.get(name) for one in emails for name in _BODIES)
            is_supported = has_bodies if emails else None
        self.found["thread_bodies"] = is_supported


# Returns the objects with an id in the list under the first of these names.
def _rows(body: Json, *names: str) -> list[Json]:
    for name in names:
        listed = body.get(name)
        if isinstance(listed, list):
            return [row for row in listed if isinstance(row, dict) and row.get("id")]
    return []


def _name_of(row: Json) -> str:
    """Return by what people know a key or a mailbox."""
    return str(row.get("name") or row.get("address") or row["id"])[:320]


def _beginning(row: Json) -> str:
    return str(row.get("prefix")).rstrip(".…")


def _decides(row: Json) -> bool:
    """Whether an API key can decide mail that is no test."""
    is_over = row.get("revoked_at") or row.get("is_active") is False
    is_test = _beginning(row).startswith("mm_test_")
    return "oversight" in (row.get("scopes") or ()) and not (is_over or is_test)
