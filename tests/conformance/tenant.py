"""One account of the gateway in tests, with a key for each purpose, and the API calls
that its people and agents make.
"""

import itertools
import time
from email.message import EmailMessage

from gateway.models import ApprovalRequest
from tests.conformance.running import assert_json_object
from tests.integration.gateway.world import Calls

_numbers = itertools.count(1)


def unique(word):
    """Return `word` with a number that no other test uses."""
    return f"{word} {next(_numbers)}-{time.time_ns() % 10**9}"


def ok(response, status=200):
    """Return the JSON object of an answer; fail if it has another status."""
    assert response.status_code == status, f"{response.status_code} {response.text}"
    return assert_json_object(response)


def ids_of(rows):
    """The ids of the rows of a list."""
    return [row["id"] for row in rows]


class Tenant(Calls):
    """An account that no other test uses. Its keys are agent, oversight, read, admin,
    sandbox agent and sandbox oversight.
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
        """Return the JSON object at a path, which must exist."""
        return ok(self.call("GET", path, key=key, params=params))

    def add_key(self, name, *scopes, **fields):
        """Make a key by the API, with the operator's code if it needs one. `name` then
        stands for it in `call`.
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
        """The operator's approval code for the newest request."""
        asked = ApprovalRequest.objects.filter(account=self.account)
        return asked.latest("created_at").code

    def submit(self, *, key="agent", headers=None, **fields):
        """Send a message with a unique subject. Return the answer, whatever it is."""
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
        """Return a whole message."""
        return self.get(f"{self.base}/emails/{email_id}", key=key)

    def status(self, email_id, *, key="read"):
        """Return a message's status, from the list: a read might change it."""
        # Ids sort by time: list from just before this one, so that it is on the page.
        rows = self.get(
            f"{self.base}/emails", key=key, since_id=email_id[:10] + "0" * 16, limit=100
        )["emails"]
        return next((row["status"] for row in rows if row["id"] == email_id), "absent")

    def wait_for_status(self, email_id, *wanted, key="read"):
        """Return the status when it is one of these."""

        def turned():
            found = self.status(email_id, key=key)
            return found if found in wanted else None

        return self.wait(turned)

    def wait(self, function):
        """Run the tasks that are due, and return what `function` returns then, which
        must not be empty.
        """
        self.gateway.work()
        found = function()
        assert found
        return found

    def held(self, *, key="agent", **fields):
        """Send a message, and wait until it is held."""
        sent = self.send(key=key, **fields)
        self.wait_for_status(
            sent["id"],
            "pending_send_approval",
            key="sandbox agent" if "sandbox" in key else "read",
        )
        return sent

    def pending(self, *, key="oversight", **params):
        """Return the messages that wait for a decision."""
        return self.get("/v1/oversight/pending", key=key, **params)["pending"]

    def decide(self, email_id, action, *, key="oversight", **fields):
        """Decide on a message. Return the answer, whatever it is."""
        return self.post(
            "/v1/oversight/decide",
            key=key,
            **({"email_id": email_id, "action": action} | fields),
        )

    def cancel(self, email_id, *, key="agent"):
        """Cancel a message as the SDK does: without a body."""
        return self.post(f"{self.base}/emails/{email_id}/cancel", key=key)

    def wait_for_mails(self, subject):
        """Return the mails with this subject when the mail server has received them."""
        return self.wait(lambda: self.gateway.mails(subject))

    def receive(self, *, to="", files=None, **headers):
        """Receive a mail, and return its row in the list."""
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
        # Found by id: a key that may not read held mail does not see the subject.
        email_id = self.gateway.deliver(mail, to=to or self.address)
        rows = self.get(
            f"{self.base}/emails", key="read", direction="inbound", limit=100
        )["emails"]
        return next(row for row in rows if row["id"] == email_id)

    def subscribe(self, *events, **fields):
        """Subscribe a new path of the test's receiver to events. Return the answer with
        the path added.
        """
        path = f"/{self.account}/{unique('hook').replace(' ', '')}"
        body = {"url": self.gateway.hooks.url + path, "events": list(events), **fields}
        return ok(self.post("/v1/webhooks", key="admin", **body), 201) | {"path": path}

    def events(self, hook):
        """Return the posts that a subscription has got so far."""
        return self.gateway.hooks.posts_to(hook["path"])

    def wait_for_events(self, hook, count=1):
        """Return its posts when it has got this many."""
        return self.wait(
            lambda: self.events(hook) if len(self.events(hook)) >= count else []
        )

    def audit(self):
        """The account's audit log."""
        return self.get("/v1/audit-log", key="admin", limit=500)["entries"]

    def pass_time(self, email_id):
        """Make a scheduled message due now, and run the sweep."""
        self.gateway.sql(
            "UPDATE gateway_email SET send_at = now() - interval '1 second',"
            " due_at = now() - interval '1 second' WHERE id = %s",
            email_id,
        )
        self.gateway.sweep()
