"""One account of hosted MultiMail in memory. It answers each API call as the public
documents say, and records the effects, such as sent messages.

The decorator `call` registers the methods of `Host` in `ROUTES`, with HTTP method,
path, scopes, and the parameters and fields that the documents name. The methods for
tests are at the end of `Host`.
"""

import base64
import json
import queue
import re
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

from tests.hosted import events
from tests.hosted.altered import altered
from tests.hosted.temper import TEMPERS, Temper

OVERSIGHT = "mm_live_oversight_key"
READ = "mm_live_read_key"
ADMIN = "mm_live_admin_key"
AGENT = "mm_live_agent_key"
SCOPES = {
    OVERSIGHT: ["oversight"],
    READ: ["read"],
    ADMIN: ["admin"],
    AGENT: ["read", "send"],
}
HELD = "pending_send_approval"
# Rows of a list page at most.
PAGE = 20
# Oversight modes, the loosest first.
STRICTNESS = ("autonomous", "monitored", "gated_send", "gated_all", "read_only")
SEND_FIELDS = (
    "to cc bcc subject markdown attachments idempotency_key send_at gate_timing"
)
FLAT_FIELDS = (
    SEND_FIELDS + " from mailbox body text html oversight_mode metadata scheduled_at"
)
LIST_PARAMETERS = (
    "status sender subject_contains date_after date_before direction has_attachments "
    "since_id limit cursor"
)


class Refused(Exception):
    """Raised to answer a call with an error status."""

    def __init__(self, code, error, **more):
        super().__init__(error)
        self.status = code
        self.body = {"error": error, **more}


@dataclass
class Asked:
    """One call: the parts of its path, its parameters, its body, and the key that made
    it.
    """

    parts: list[str]
    query: dict[str, str]
    body: dict[str, Any]
    key: Any

    def text(self, *names):
        """Return the first of these fields of the body that is not empty, as text."""
        return next((str(self.body[name]) for name in names if self.body.get(name)), "")

    def addresses(self, name):
        """Return a field of addresses as a list; it may be a text with commas."""
        value = self.body.get(name) or []
        return [
            one.strip()
            for one in (value.split(",") if isinstance(value, str) else value)
        ]


# Method, pattern of the path, scopes, known parameters and fields, and the method of
# `Host` that answers.
ROUTES = []


def call(method, path, scopes="", *, query="", body=""):
    """Register the decorated method of Host for a call. `{}` stands for one segment of
    the path. The key needs one of `scopes`, or none if these are empty.
    """
    pattern = re.compile(path.replace("{}", "([^/]+)"))

    def register(act):
        known = {*query.split(), *body.split()}
        ROUTES.append((method, pattern, scopes.split(), known, act))
        return act

    return register


class Host:
    """The account with its API: `answer` answers any call."""

    def __init__(self, temper):
        self.url = ""
        self.lock = threading.RLock()
        self.undelivered = queue.Queue()
        threading.Thread(
            target=events.deliver, args=[self.undelivered], daemon=True
        ).start()
        self.begin(temper)

    def begin(self, temper, **switches):
        """Reset everything, and set this temper and these switches."""
        self.temper = Temper(**TEMPERS[temper] | switches)
        self.number = 0
        self.mails = {}
        self.ledger = []
        # Method, path and body of each call.
        self.calls = []
        self.webhooks = {}
        self.deliveries = []
        self.contacts = []
        self.suppressed = []
        self.audit = []
        self.sent_before = {}
        # (path, function): the function is called once, right before the next call to
        # that path is answered.
        self.before = []
        self.keys = {}
        for text, scopes in SCOPES.items():
            self.add_key(text, *scopes)
        self.box = SimpleNamespace(
            id=self.new_id(), address="support@yourteam.example", display_name="Support",
            oversight_mode="gated_send", allowlist=[],
        )  # fmt: skip

    # --- shared by all calls ---

    def answer(self, method, path, query, body, secret):
        """Return status, body (an object, or bytes) and headers."""
        with self.lock:
            self.calls.append((method, path, body))
            for number, (awaited, happens) in enumerate(self.before):
                if awaited == path:
                    del self.before[number]
                    happens()
                    break
            try:
                answer = (*self._answer(method, path, query, body, secret), {})
            except Refused as refused:
                answer = refused.status, refused.body, {}
            return altered(self.temper.alters, f"{method} {path}", answer)

    def _answer(self, method, path, query, body, secret):
        key = self.keys.get(secret)
        if key is None or not key.is_active:
            raise Refused(401, "This API key is missing, unknown or revoked.")
        matching_routes = [
            (match, *rest)
            for served, pattern, *rest in ROUTES
            if served == method and (match := pattern.fullmatch(path))
        ]
        if not matching_routes:
            raise Refused(404, "There is no such address.")
        [(match, scopes, known, act)] = matching_routes
        scopes_of_key = {*key.scopes, *(["read"] if "admin" in key.scopes else [])}
        if scopes and scopes_of_key.isdisjoint(scopes):
            raise Refused(403, f"This key lacks the scope {scopes[0]}.")
        unknown = [name for name in (*body, *query) if name not in known]
        if self.temper.strict and unknown:
            raise Refused(422, f"Unknown field: {unknown[0]}.", field=unknown[0])
        asked = Asked([unquote(part) for part in match.groups()], query, body, key)
        return act(self, asked) if method == "GET" else self._change(act, asked)

    # Runs a call that changes something, with the faults that the temper asks for.
    def _change(self, act, asked):
        temper = self.temper
        if temper.breaks_before:
            temper.breaks_before -= 1
            raise Refused(503, "MultiMail is not available.")
        if temper.does_nothing:
            temper.does_nothing -= 1
            return 200, {"id": asked.text("email_id"), "status": "approved_and_sent"}
        answer = act(self, asked)
        if temper.breaks_after:
            temper.breaks_after -= 1
            raise Refused(500, "Something went wrong.")
        return answer

    # --- helpers ---

    def now(self):
        """Return the time as answers have it."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        return now.replace("+00:00", "Z")

    def new_id(self):
        """Return a new id in the form that this host uses."""
        self.number += 1
        if self.temper.ids == "odd":
            return f"msg/{self.number:05}+ü%2F?#@mail.example"
        return f"01HOSTED{self.number:018}"

    def add_key(self, text, *scopes):
        """Add a key with this secret."""
        self.number += 1
        self.keys[text] = SimpleNamespace(
            id=f"key_{self.number}", text=text, scopes=list(scopes), is_active=True
        )

    def mailbox(self, name):
        """Return the mailbox, if it has this id or address."""
        if name not in ("", self.box.id, self.box.address):
            raise Refused(404, "There is no such mailbox in this account.")
        return self.box

    def mail(self, email_id):
        """Return a message by its id."""
        if email_id not in self.mails:
            raise Refused(404, "There is no such email in this account.")
        return self.mails[email_id]

    def tell(self, kind, mail):
        """Send an event about a message to the webhooks that subscribed to it."""
        facts = {
            "email_id": mail.id, "from": mail.sender, "to": mail.to, "subject": mail.subject,
            "metadata": mail.metadata, "direction": mail.direction, "has_attachments": bool(mail.attachments),
        }  # fmt: skip
        name = events.NAMES[kind]
        body = json.dumps({"event": name, "timestamp": self.now(), "data": facts})
        for webhook in self.webhooks.values():
            if name in webhook.events:
                self.send_event(webhook, name, body.encode())

    def send_event(self, webhook, name, body):
        """Queue one event for delivery, or lose it if `loses_events` says so."""
        self.number += 1
        delivery = SimpleNamespace(
            id=f"dlv_{self.number}", webhook=webhook, event_type=name, body=body, created_at=self.now(),
            status="pending", attempts=0, response_status=None,
        )  # fmt: skip
        self.deliveries.append(delivery)
        if self.temper.loses_events:
            self.temper.loses_events -= 1
            delivery.status = "failed"
            return
        self.undelivered.put(delivery)

    def row(self, mail):
        """Return a message as lists show it, without its body."""
        shown = _fields(
            mail, "id direction to subject thread_id received_at delivered_at"
        )
        return shown | {
            "mailbox_id": self.box.id, "from": mail.sender, "status": self._word(mail.status),
            "has_attachments": bool(mail.attachments),
        }  # fmt: skip

    def _word(self, status):
        return {
            HELD: self.temper.held_word,
            "sent": self.temper.sent_word,
        }.get(status, status)

    def _files(self, mail):
        return [
            {name: file[name] for name in ("name", "size", "content_type")}
            for file in mail.attachments
        ]

    def page(self, name, rows, asked):
        """Return one page of a list."""
        size = min(int(asked.query.get("limit") or PAGE), PAGE)
        start = int(asked.query.get("cursor") or 0)
        end = start + size
        return 200, {
            name: rows[start:end],
            "cursor": str(end) if end < len(rows) else None,
        }

    def note(self, action, mail, by):
        """Write a line of the account's audit log."""
        self.number += 1
        self.audit.append({
            "id": f"log_{self.number}", "action": action, "resource_type": "email", "resource_id": mail.id,
            "actor_key_id": by, "metadata": {}, "created_at": self.now(),
        })  # fmt: skip

    def effect(self, what, mail):
        """Record what really happened to a message."""
        self.ledger.append(
            SimpleNamespace(email_id=mail.id, what=what, reason=mail.reason or "")
        )

    # --- the life of a message ---

    def written(self, **fields):
        """Return a new message with these fields, by default an outgoing one."""
        email_id = self.new_id()
        nothing = dict.fromkeys(
            ("decision", "reason", "decided_by", "decided_at", "delivered_at")
        )
        values = {
            "direction": "outbound", "sender": self.box.address, "status": "pending_scan", "key_id": "",
            "thread_id": f"thr_{self.number}", "received_at": self.now(), "cc": [], "bcc": [], "attachments": [],
            "metadata": {}, "tags": {}, **nothing,
        }  # fmt: skip
        return SimpleNamespace(id=email_id, **values | fields)

    def accept(self, mail, *, mode):
        """Accept a message that somebody sends: hold it or send it, by its mode."""
        self.mails[mail.id] = mail
        if STRICTNESS.index(mode) >= STRICTNESS.index("gated_send"):
            mail.status = HELD
            self.tell("pending", mail)
        else:
            self.leave(mail)

    def leave(self, mail):
        """Send a message."""
        mail.status = "sent"
        mail.delivered_at = self.now()
        self.effect("left", mail)
        self.tell("sent", mail)
        self.tell("delivered", mail)

    def decide(self, mail, action, *, by, reason=""):
        """Carry out a decision, whoever makes it."""
        decision = {"approve": "approved", "reject": "rejected"}[action]
        repeats = (
            self.temper.repeats and action == "approve" and mail.decision == "approved"
        )
        if mail.status != HELD and not repeats:
            told = {"status": self._word(mail.status)}
            told |= {"decision": mail.decision, "reason": mail.reason}
            if not self.temper.tells_outcome:
                told = {}
            raise Refused(409, "This email is not pending approval.", **told)
        mail.decision = decision
        mail.decided_by = by
        mail.decided_at = self.now()
        mail.reason = reason or None
        self.note(action, mail, by)
        self.tell(decision, mail)
        word = decision
        if action == "reject":
            mail.status = "rejected"
            self.effect("rejected", mail)
        else:
            self.leave(mail)
            word = "approved_and_sent"
        return {"id": mail.id, "status": word}

    # --- sending ---

    def _send(self, asked, mailbox, *, status):
        mode = asked.text("oversight_mode") or mailbox.oversight_mode
        mode = max(mode, mailbox.oversight_mode, key=STRICTNESS.index)
        to = asked.addresses("to")
        markdown = asked.text("markdown", "body", "text", "html")
        if not to or not markdown:
            raise Refused(422, "to and a body are required.")
        repeated = asked.text("idempotency_key")
        if repeated in self.sent_before:
            earlier = self.mails[self.sent_before[repeated]]
            return 200, {"id": earlier.id, "status": "already_sent", "idempotent": True,
                         "thread_id": earlier.thread_id}  # fmt: skip
        mail = self.written(
            to=to, subject=asked.text("subject"), markdown=markdown, key_id=asked.key.id, cc=asked.addresses("cc"),
            bcc=asked.addresses("bcc"), attachments=[_file(one) for one in asked.body.get("attachments") or []],
            metadata=asked.body.get("metadata") or {},
        )  # fmt: skip
        if repeated:
            self.sent_before[repeated] = mail.id
        self.accept(mail, mode=mode)
        email_id = mail.id
        return 202, {
            "id": email_id,
            "message_id": email_id,
            "status": status,
            "thread_id": mail.thread_id,
        }

    @call("POST", "/v1/mailboxes/{}/send", "send", body=SEND_FIELDS)
    def send(self, asked):
        """Send from a mailbox, by the current path."""
        return self._send(asked, self.mailbox(asked.parts[0]), status="pending_scan")

    @call("POST", "/v1/send_email", "send", body=FLAT_FIELDS)
    def send_flat(self, asked):
        """Send by the path that the page on Discord bots uses."""
        return self._send(
            asked, self.mailbox(asked.text("from", "mailbox")), status="queued"
        )

    # --- reading ---

    @call("GET", "/v1/mailboxes/{}/emails", "read", query=LIST_PARAMETERS)
    def list_emails(self, asked):
        """List a mailbox, newest first."""
        self.mailbox(asked.parts[0])
        status = asked.query.get("status", "")
        wanted = asked.query.get("direction") or ""
        rows = [
            self.row(mail)
            for mail in reversed(self.mails.values())
            if status in ("", mail.status, self._word(mail.status))
            and wanted in ("", mail.direction)
        ]
        return self.page("emails", rows, asked)

    @call("GET", "/v1/mailboxes/{}/emails/{}", "read")
    def read_email(self, asked):
        """Read one message, which marks it as read."""
        self.mailbox(asked.parts[0])
        mail = self.mail(asked.parts[1])
        if mail.status == "unread":
            mail.status = "read"
        is_approved = mail.decision == "approved"
        return 200, {
            **self.row(mail), **_fields(mail, "markdown cc bcc tags metadata"),
            "attachments": self._files(mail), "send_at": None,
            "approved_at": mail.decided_at if is_approved else None,
            "approved_by": mail.decided_by if is_approved else None,
        }  # fmt: skip

    @call("GET", "/v1/mailboxes/{}/threads/{}", "read")
    def read_thread(self, asked):
        """List the messages of a thread, without bodies."""
        mails = [
            mail for mail in self.mails.values() if mail.thread_id == asked.parts[1]
        ]
        if not mails:
            raise Refused(404, "There is no such thread in this account.")
        people = [mails[0].sender, *mails[0].to]
        return 200, {
            "thread_id": asked.parts[1], "message_count": len(mails), "participants": people,
            "last_activity": mails[-1].received_at, "has_unanswered_inbound": mails[-1].direction == "inbound",
            "emails": [self.row(mail) for mail in mails],
        }  # fmt: skip

    @call("GET", "/v1/mailboxes/{}/emails/{}/attachments/{}", "read")
    def download(self, asked):
        """Return the bytes of a file."""
        files = self.mail(asked.parts[1]).attachments
        found = next((file for file in files if file["name"] == asked.parts[2]), None)
        if found is None:
            raise Refused(404, "There is no such attachment.")
        return 200, base64.b64decode(found["content_base64"])

    # --- oversight ---

    @call(
        "GET", "/v1/oversight/pending", "oversight oversight_read", query="limit cursor"
    )
    def list_pending(self, asked):
        """List held messages, oldest first, with the fields of the OpenAPI document."""
        rows = []
        for mail in self.mails.values():
            if mail.status != HELD:
                continue
            row = _fields(mail, "id direction to subject received_at") | {
                "mailbox_id": self.box.id, "from": mail.sender, "body_markdown": mail.markdown,
                "status": self._word(mail.status),
            }  # fmt: skip
            optional = _fields(mail, "cc bcc thread_id metadata")
            optional |= {"attachments": self._files(mail), "send_at": None}
            rows.append(row | {name: optional[name] for name in self.temper.shows})
        return self.page("emails", rows, asked)

    @call("POST", "/v1/oversight/decide", "oversight", body="email_id action reason")
    def decide_email(self, asked):
        """Approve or reject."""
        reason = asked.text("reason") if self.temper.takes_reason else ""
        if (
            "reason" in asked.body
            and self.temper.strict
            and not self.temper.takes_reason
        ):
            raise Refused(422, "Unknown field: reason.", field="reason")
        action = asked.text("action")
        if action not in ("approve", "reject"):
            raise Refused(422, "action must be approve or reject.")
        mail = self.mail(asked.text("email_id"))
        if mail.key_id == asked.key.id:
            raise Refused(403, "The key that wrote an email cannot decide it.")
        return 200, self.decide(mail, action, by=asked.key.id, reason=reason)

    # --- the account ---

    @call("GET", "/v1/account")
    def read_account(self, asked):
        """Return the account's data."""
        if not {"read", "admin"} & set(asked.key.scopes):
            raise Refused(403, "This key lacks the scope read.")
        return 200, {"emails_sent_this_month": len(self.ledger)} | json.loads("""{
            "id": "acc_1", "name": "Your Team", "slug": "yourteam", "plan": "pro",
            "oversight_email": "ops@yourteam.example", "physical_address": "1 Main Street",
            "monthly_email_quota": 30000, "max_mailboxes": 25, "storage_used_bytes": 0,
            "max_storage_bytes": 1000000000, "is_active": 1, "sending_disabled": 0, "sending_disabled_reason": null
        }""")

    @call("GET", "/v1/audit-log", "admin", query="limit cursor")
    def read_audit_log(self, asked):
        """List decisions, newest first."""
        return self.page("entries", self.audit[::-1], asked)

    @call("GET", "/v1/mailboxes", "read")
    def list_mailboxes(self, asked):
        """List all mailboxes."""
        box = self.box
        row = _fields(box, "id address display_name oversight_mode") | json.loads("""{
            "tenant_id": "acc_1", "auto_cc": null, "auto_bcc": null, "forward_inbound": 0, "webhook_url": null,
            "oversight_webhook_url": null, "signature_block": null, "is_active": 1, "created_at": 1780000000000
        }""")
        return 200, {"mailboxes": [row]}

    @call("PATCH", "/v1/mailboxes/{}", "admin", body="display_name oversight_mode auto_cc auto_bcc forward_inbound "
          "signature_block webhook_url oversight_webhook_url")  # fmt: skip
    def change_mailbox(self, asked):
        """Make a mailbox stricter, or rename it."""
        mailbox = self.mailbox(asked.parts[0])
        mode = asked.text("oversight_mode")
        if mode and STRICTNESS.index(mode) < STRICTNESS.index(mailbox.oversight_mode):
            raise Refused(403, "A looser mode needs an upgrade.")
        mailbox.oversight_mode = mode or mailbox.oversight_mode
        mailbox.display_name = asked.text("display_name") or mailbox.display_name
        return 200, {"status": "updated"}

    @call("GET", "/v1/mailboxes/{}/allowlist", "read")
    def list_allowlist(self, asked):
        """List recipients whose mail needs no approval."""
        box = self.mailbox(asked.parts[0])
        found = {"entries": box.allowlist, "count": len(box.allowlist)}
        return 200, found | {"mailbox_id": box.id}

    @call("GET", "/v1/suppression", "read", query="limit cursor")
    def list_suppression(self, asked):
        """List addresses that get nothing any more."""
        return self.page("suppressions", self.suppressed[::-1], asked)

    @call("GET", "/v1/contacts", "read", query="q")
    def list_contacts(self, asked):
        """List contacts."""
        wanted = asked.query.get("q", "")
        found = [one for one in self.contacts if wanted in one["email"]]
        return 200, {"contacts": found}

    @call("GET", "/v1/api-keys", "admin")
    def list_keys(self, asked):
        """List keys without their secrets."""
        shown = [
            {
                "id": key.id, "name": key.text, "scopes": key.scopes, "prefix": key.text[:12],
                "created_at": 1780000000000, "last_used_at": None, "is_active": int(key.is_active),
            }
            for key in self.keys.values()
        ]  # fmt: skip
        return 200, {"api_keys": shown}

    # --- webhooks ---

    def _subscription(self, hook):
        return _fields(hook, "id url events mailbox_id created_at")

    @call("GET", "/v1/webhooks", "admin")
    def list_webhooks(self, asked):
        """List subscriptions, without secrets."""
        return 200, {
            "subscriptions": [
                self._subscription(hook) for hook in self.webhooks.values()
            ]
        }

    @call(
        "POST",
        "/v1/webhooks",
        "admin",
        body="url events mailbox_id secret approval_code",
    )
    def create_webhook(self, asked):
        """Subscribe an address."""
        url = asked.text("url")
        names = asked.body.get("events") or []
        if not names or set(names) - events.KNOWN:
            raise Refused(422, "An event is not known, or none named.")
        self.number += 1
        secret = asked.text("secret") or f"whsec_{uuid.uuid4().hex}"
        hook = SimpleNamespace(
            id=f"whk_{self.number}", url=url, events=names, secret=secret, created_at=self.now(),
            mailbox_id=asked.body.get("mailbox_id"),
        )  # fmt: skip
        self.webhooks[hook.id] = hook
        return 201, {**self._subscription(hook), "signing_secret": secret}

    @call("GET", "/v1/webhooks/{}", "admin")
    def read_webhook(self, asked):
        """Show one subscription with its secret."""
        hook = self.webhooks.get(asked.parts[0])
        if hook is None:
            raise Refused(404, "There is no such webhook.")
        return 200, {**self._subscription(hook), "signing_secret": hook.secret}

    @call("GET", "/v1/webhook-deliveries", "admin", query="limit cursor")
    def list_deliveries(self, asked):
        """List webhook deliveries, newest first."""
        rows = [
            _fields(one, "id event_type status attempts response_status created_at")
            | {"url": one.webhook.url, "last_attempt_at": one.created_at}
            for one in reversed(self.deliveries)
        ]  # fmt: skip
        return self.page("deliveries", rows, asked)

    # --- for tests: what agents, customers and other people do ---

    def set(self, **switches):
        """Change switches of temper.py."""
        vars(self.temper).update(switches)

    def hold(self, **fields):
        """Let an agent send a message, which is held; return its id."""
        values = {
            "to": ["dana@northwind.example"], "subject": "Your refund for order 4471",
            "markdown": "Hello **Dana**,\n\nyour refund is on its way.", **fields,
        }  # fmt: skip
        mail = self.written(key_id=self.keys[AGENT].id, **values)
        self.accept(mail, mode=self.box.oversight_mode)
        return mail.id

    def receive(self):
        """Receive a mail from a customer."""
        mail = self.written(
            direction="inbound", sender="dana@northwind.example", to=[self.box.address], status="unread",
            subject="Where is my refund?", markdown="Hello, where is it?",
        )  # fmt: skip
        self.mails[mail.id] = mail
        self.tell("received", mail)

    def decide_elsewhere(self, action="approve", by="kim@elsewhere.example"):
        """Decide all held messages elsewhere, without the desk."""
        with self.lock:
            for mail in list(self.mails.values()):
                if mail.status == HELD:
                    self.decide(mail, action, by=by)

    def effects(self, email_id):
        """Return the recorded effects on a message, in order: "left", "rejected"."""
        return [one.what for one in self.ledger if one.email_id == email_id]

    def bodies(self, path):
        """Return the bodies of the calls to a path."""
        return [body for _, asked, body in self.calls if asked == path and body]


def _fields(one, names):
    return {name: getattr(one, name) for name in names.split()}


def _file(given):
    content = str(given.get("content_base64") or "")
    kind = given.get("content_type") or "application/octet-stream"
    return {"name": given["name"], "content_base64": content, "content_type": kind,
            "size": len(base64.b64decode(content))}  # fmt: skip
