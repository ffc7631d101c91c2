"""One account of the running gateway, with a key of every kind and the calls that its
people and agents make.
"""

import itertools
import time
from email.message import EmailMessage

from gateway.models import ApprovalRequest
from tests.conformance.running import assert_json_object
from tests.integration.gateway.world import Calls

_numbers = itertools.count(1)


def unique(word):
    """A text that no other test uses."""
    return f"{word} {next(_numbers)}-{time.time_ns() % 10**9}"


def ok(response, status=200):
    """Return the answer's object; any other status fails the test with the answer."""
    assert response.status_code == status, f"{response.status_code} {response.text}"
    return assert_json_object(response)


def ids_of(rows):
    """The ids of the rows of a list."""
    return [row["id"] for row in rows]


class Tenant(Calls):
    """An account of one's own. Keys by purpose: agent, oversight, read, admin, sandbox
    agent, sandbox oversight.
    """

    def __init__(self, gateway, known):
        self.gateway = gateway
        self.keys = known
        self.account = known["account"]
        self.mailbox = known["mailbox"]
        self.address = known["address"]
        self.base = f"/v1/mailboxes/{self.mailbox}"

    def call(self, method, path, *, key="agent", **options):
        """Send one request with one of the account's keys, or without any."""
        return self.gateway.call(method, path, key=key and self.keys[key], **options)

    def get(self, path, *, key="agent", **params):
        """Read something that is there."""
        return ok(self.call("GET", path, key=key, params=params))

    def add_key(self, name, *scopes, **fields):
        """Make a key by the API, with the operator's code where it needs one; it is
        then known under `name`.
        """
        body = {"name": name, "scopes": scopes, **fields}
        answer = self.post("/v1/api-keys", key="admin", **body)
        if answer.status_code == 202:
            body["approval_code"] = self.newest_code
            answer = self.post("/v1/api-keys", key="admin", **body)
        made = ok(answer, 201)
        self.keys[name] = made["api_key"]
        return made

    @property
    def newest_code(self):
        """The code that the operator has for what was asked for last."""
        asked = ApprovalRequest.objects.filter(account=self.account)
        return asked.latest("created_at").code

    def submit(self, *, key="agent", headers=None, **fields):
        """Send a message by the current path, of content of its own; return whatever
        comes.
        """
        body = {
            "to": ["dana@northwind.example"],
            "subject": unique("Letter"),
            "markdown": "Hello **Dana**",
            **fields,
        }
        return self.call(
            "POST", f"{self.base}/send", key=key, json=body, headers=headers or {}
        )

    def send(self, **fields):
        """Send a message that is accepted."""
        return ok(self.submit(**fields), 202)

    def read(self, email_id, *, key="read"):
        """A message whole."""
        return self.get(f"{self.base}/emails/{email_id}", key=key)

    def status(self, email_id, *, key="read"):
        """A message's status, by the list, which changes nothing."""
        # List what sorts after the id without its last character, oldest first: the
        # message, and hardly another.
        rows = self.get(
            f"{self.base}/emails", key=key, since_id=email_id[:10] + "0" * 16, limit=100
        )["emails"]
        return next((row["status"] for row in rows if row["id"] == email_id), "absent")

    def wait_for_status(self, email_id, *wanted, key="read"):
        """Wait until a message has one of these statuses."""

        def turned():
            found = self.status(email_id, key=key)
            return found if found in wanted else None

        return self.wait(turned)

    def wait(self, function):
        """Let the worker do what is due, and return what the function then finds."""
        self.gateway.work()
        found = function()
        assert found
        return found

    def held(self, *, key="agent", **fields):
        """Send a message and wait until it is at the gate."""
        sent = self.send(key=key, **fields)
        self.wait_for_status(
            sent["id"],
            "pending_send_approval",
            key="sandbox agent" if "sandbox" in key else "read",
        )
        return sent

    def pending(self, *, key="oversight", **params):
        """What waits for a decision."""
        return self.get("/v1/oversight/pending", key=key, **params)["pending"]

    def decide(self, email_id, action, *, key="oversight", **fields):
        """Decide by the current path; return whatever comes."""
        return self.post(
            "/v1/oversight/decide",
            key=key,
            **({"email_id": email_id, "action": action} | fields),
        )

    def cancel(self, email_id, *, key="agent"):
        """Take a message back as the SDK does: without a body."""
        return self.post(f"{self.base}/emails/{email_id}/cancel", key=key)

    def wait_for_mails(self, subject):
        """Wait until a mail with this subject has really left."""
        return self.wait(lambda: self.gateway.mails(subject))

    def receive(self, *, to="", files=None, **headers):
        """Bring a mail in by SMTP, wait until it is listed, and return its row."""
        subject = headers.pop("subject", unique("Question"))
        mail = EmailMessage()
        mail["From"] = "Dana <dana@northwind.example>"
        mail["To"] = to or self.address
        mail["Subject"] = subject
        mail["Message-ID"] = f"<{unique('q').replace(' ', '')}@northwind.example>"
        mail.set_content(headers.pop("body", "Where is my order?"))
        for name, value in headers.items():
            mail[name.replace("_", "-")] = value
        for name, content in (files or {}).items():
            mail.add_attachment(
                content, maintype="application", subtype="octet-stream", filename=name
            )
        # By its id: a key that may not read held mail does not see its subject.
        email_id = self.gateway.deliver(mail, to=to or self.address)
        rows = self.get(
            f"{self.base}/emails", key="read", direction="inbound", limit=100
        )["emails"]
        return next(row for row in rows if row["id"] == email_id)

    def subscribe(self, *events, **fields):
        """Subscribe a path of one's own at the test's receiver; the answer, with the
        path beside it.
        """
        path = f"/{self.account}/{unique('hook').replace(' ', '')}"
        body = {"url": self.gateway.hooks.url + path, "events": list(events), **fields}
        return ok(self.post("/v1/webhooks", key="admin", **body), 201) | {"path": path}

    def events(self, hook):
        """What a subscription has got so far."""
        return self.gateway.hooks.posts_to(hook["path"])

    def wait_for_events(self, hook, count=1):
        """Wait until it has got so many."""
        return self.wait(
            lambda: self.events(hook) if len(self.events(hook)) >= count else []
        )

    def audit(self):
        """The account's audit log."""
        return self.get("/v1/audit-log", key="admin", limit=500)["entries"]

    def pass_time(self, email_id):
        """Let the time come at which a scheduled message is due."""
        self.gateway.sql(
            "UPDATE gateway_email SET send_at = now() - interval '1 second',"
            " due_at = now() - interval '1 second' WHERE id = %s",
            email_id,
        )
        self.gateway.sweep()
