"""Drives the running product from outside, over HTTP, as people, agents and MultiMail
do.
"""

import base64
import mailbox
import random
import re
import uuid
from email import message_from_bytes
from email.policy import default as modern
from html import unescape
from urllib.parse import parse_qs, urlsplit

import psycopg
import requests

from tests.markup import compact
from upstream.signatures import HEADER, sign

# A bound, not a wait: a busy machine answers late.
TIMEOUT = 60
# Where the desk asks once more who somebody is.
AGAIN = "/accounts/reauthenticate/"


def some_words():
    """Words that no other letter has: one like what was rejected is of high risk, those
    that are alike are gathered.
    """
    return (
        " ".join(
            "".join(random.choices("abcdefghiklmnoprstu", k=6)) for _ in range(24)
        ).capitalize()
        + "."
    )


def _read(answer):
    """Return a page without the indentation of its templates; anything else, files
    included, as it is.
    """
    if (
        answer.headers.get("Content-Type", "").startswith("text/html")
        and "Content-Disposition" not in answer.headers
    ):
        answer._content = compact(answer.text).encode()
        answer.encoding = "utf-8"
    return answer


class Browser:
    """Somebody signed in to the desk with a plain HTTP client, without scripts."""

    def __init__(self, base_url, email, password):
        self.base_url = base_url
        self._password = password
        self.session = requests.Session()
        self.session.trust_env = False
        page = self.get("/accounts/login/")
        answer = self.post("/accounts/login/", page, login=email, password=password)
        assert answer.status_code == 302, f"sign-in answered {answer.status_code}"

    def get(self, path, **headers):
        return _read(
            self.session.get(
                self.base_url + path,
                headers=headers,
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        )

    def post(self, path, page, **fields):
        """Post a form of `page`, with its token."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token, f"{path}: the page has no form token"
        data = {"csrfmiddlewaretoken": token[1], **fields}
        answer = _read(
            self.session.post(
                self.base_url + path, data=data, timeout=TIMEOUT, allow_redirects=False
            )
        )
        return (
            self._confirmed(answer)
            if answer.headers.get("Location", "").startswith(AGAIN)
            else answer
        )

    def _confirmed(self, asked):
        """Type the password where it is asked for once more, and go on with what was
        posted: a run may be long.
        """
        wanted = parse_qs(urlsplit(asked.headers["Location"]).query)["next"][0]
        page = self.get(asked.headers["Location"])
        answer = self.post(AGAIN, page, password=self._password, next=wanted)
        assert answer.headers["Location"] == wanted, (
            f"the confirmation answered {answer.status_code}"
        )
        page = self.get(wanted)
        action = re.search(
            r'<form method="post" action="([^"]+)" data-go-on', page.text
        )
        if not action:
            return page
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        hidden_fields = re.findall(
            r'<textarea name="([^"]*)" hidden>\n(.*?)</textarea>', page.text, re.DOTALL
        )
        data = [
            ("csrfmiddlewaretoken", token[1] if token else ""),
            *((name, unescape(text)) for name, text in hidden_fields),
        ]
        url = self.base_url + unescape(action[1])
        return self.session.post(url, data=data, timeout=TIMEOUT, allow_redirects=False)

    def queue(self, tab="waiting"):
        """The messages of a tab, on all its pages, from its twin for scripts."""
        messages = []
        after = ""
        while after is not None:
            page = self.get(f"/queue/?tab={tab}&after={after}&format=json").json()
            messages += page["messages"]
            after = page["next_after"] or None
        return messages

    def find(self, upstream_id, tab="waiting"):
        return next(
            (row for row in self.queue(tab) if row["upstream_id"] == upstream_id), None
        )

    def decide(self, message_id, outcome, fingerprint, reason=""):
        page = self.get(f"/queue/{message_id}/")
        return self.post(
            f"/queue/{message_id}/verdict/",
            page,
            outcome=outcome,
            fingerprint=fingerprint,
            reason=reason,
        )

    def trace(self, message_id):
        return self.get(f"/audit/trace/{message_id}/?format=json").json()["entries"]


class Product:
    """The running stack by what its credentials file names."""

    def __init__(self, stack):
        self.stack = stack
        self.known = stack.credentials
        self.wait_for = stack.wait_for
        # Tests of other things send more than agents do; those of the caps are in
        # tests/integration/test_brake.py.
        self.sql(
            "INSERT INTO approvals_cap (kind, an_hour, a_day) SELECT kind, 0, 0"
            " FROM unnest(ARRAY['key', 'alike', 'mailbox', 'recipient']) AS kind ON CONFLICT DO NOTHING"
        )

    def set_undo_window(self, window, mailbox="MAILBOX_ID"):
        """Shorten a mailbox's undo window, so that tests need not wait for what they
        are not about.
        """
        change = "UPDATE mirror_mailbox SET undo_window = %s WHERE upstream_id = %s"
        self.sql(change, window, self.known[mailbox])

    def reviewer(self, prefix="REVIEWER"):
        return Browser(
            self.known["DASHBOARD_URL"],
            self.known[f"{prefix}_EMAIL"],
            self.known[f"{prefix}_PASSWORD"],
        )

    def call(self, method, path, key="AGENT_KEY", **options):
        """Call the gateway with one of the demo's keys."""
        headers = {"Authorization": f"Bearer {self.known[key]}"}
        return requests.request(
            method,
            self.known["GATEWAY_URL"] + path,
            headers=headers,
            timeout=TIMEOUT,
            allow_redirects=False,
            **options,
        )

    def send(self, subject=None, *, key="AGENT_KEY", **fields):
        """Send a message of a subject of its own by the flat call; return its id and
        subject.
        """
        subject = subject or f"Line {uuid.uuid4().hex[:10]}"
        body = {
            "from": self.known["MAILBOX_ADDRESS"],
            "to": "dana@northwind.example",
            "subject": subject,
            "body": f"Hello **Dana**,\n\nyour refund for order 4471 is on its way.\n\n{some_words()}",
            "metadata": {
                "discord_user": "ana#1",
                "discord_channel": "outreach",
                "discord_guild": "Acme",
            },
            **fields,
        }
        answer = self.call("POST", "/v1/send_email", key=key, json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["message_id"], subject

    def hold_alerts(self):
        """Let cards be planned and not posted: that is most of the work about a
        message, and few tests look at it.
        """
        self.sql("UPDATE alerts_destination SET waits_until = now() + interval '1 day'")

    def post_alerts(self):
        """Post cards from now on, and none of what was planned before: a channel takes
        thirty a minute.
        """
        self.sql(
            "UPDATE alerts_delivery SET state = 'delivered', last_attempt_at = now() WHERE state = 'due'"
        )
        self.sql("UPDATE alerts_destination SET waits_until = NULL")

    def make_room(self, *, but):
        """Reject what waits if it is more than so much, so that a new message stands on
        the queue's first page.
        """
        waiting = self.call("GET", "/v1/oversight/pending", key="OVERSIGHT_KEY").json()[
            "pending"
        ]
        waiting = waiting if len(waiting) > but else []
        for row in waiting:
            body = {"email_id": row["id"], "action": "reject"}
            self.call("POST", "/v1/oversight/decide", key="OVERSIGHT_KEY", json=body)
        ids = [row["id"] for row in waiting]
        held = "SELECT 1 FROM mirror_message WHERE state = 'held' AND upstream_id = ANY(%s)"
        self.wait_for(
            lambda: not self.sql(held, ids),
            timeout=60,
            what="the desk to know what was rejected",
        )

    def held(self, browser, upstream_id):
        """Wait until the desk shows the message with its content, and return its row."""
        # The row itself is looked at meanwhile: a page each time would keep the product
        # from working.
        read = "SELECT 1 FROM mirror_message WHERE upstream_id = %s AND revision_id IS NOT NULL"
        self.wait_for(
            lambda: self.sql(read, upstream_id),
            timeout=TIMEOUT,
            what=f"the content of {upstream_id} at the desk",
        )

        def shown():
            row = browser.find(upstream_id)
            return row if row and row["fingerprint"] else None

        return self.wait_for(
            shown, timeout=TIMEOUT, what=f"{upstream_id} in the queue with its content"
        )

    def hold(self, browser, subject=None, **fields):
        """Send a message, and return its row once the desk shows it with its content."""
        return self.held(browser, self.send(subject, **fields)[0])

    def hold_with_files(self, browser, files):
        """Hold a message with these files, as (name, content, type), wait until the
        desk has them all.
        """
        attachments = [
            {
                "name": name,
                "content_base64": base64.b64encode(content).decode(),
                "content_type": kind,
            }
            for name, content, kind in files
        ]
        row = self.hold(
            browser, attachments=attachments, **{"from": self.known["MAILBOX2_ADDRESS"]}
        )
        address = f"/queue/{row['id']}/files/"
        self.wait_for(
            lambda: browser.get(address).text.count("Download") == len(files),
            timeout=90,
            what="the files here",
        )
        return row

    def page(self, row, rest=""):
        """The address of a message's page at the desk."""
        return f"{self.known['DASHBOARD_URL']}/queue/{row['id']}/{rest}"

    def sql(self, query, *values):
        """Run a statement as the application: for what no person and no agent can bring
        about.
        """
        with psycopg.connect(self.known["DATABASE_URL"]) as database:
            cursor = database.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def mails(self, subject):
        """What really left with this subject."""
        return [mail for mail in self.all_mails() if mail["Subject"] == subject]

    def all_mails(self):
        """Everything that really left."""
        folder = mailbox.Maildir(self.known["OUTBOX_DIR"], create=False)
        keys = list(folder.keys())
        return [
            message_from_bytes(folder.get_bytes(key), policy=modern) for key in keys
        ]

    def cards(self, subject):
        """The cards in the stand-in's channel whose title is this subject."""
        messages = requests.get(
            f"{self.known['DISCORD_URL']}/messages.json", timeout=TIMEOUT
        ).json()["messages"]
        plain = re.compile(r"\\(.)")
        return [
            m
            for m in messages
            if m["embeds"]
            and plain.sub(r"\1", m["embeds"][0].get("title", "")) == subject
        ]

    def post_webhook(self, body):
        """Post a webhook signed with the demo's secret, as the gateway does."""
        return requests.post(
            self.known["WEBHOOK_URL"],
            data=body,
            headers={
                HEADER: sign(body, self.known["WEBHOOK_SECRET"]),
                "Content-Type": "application/json",
            },
            timeout=TIMEOUT,
        )
