"""Uses the running product from outside, over HTTP, as people (`Browser`) and as
agents, customers and MultiMail do (`Product`).
"""

import base64
import json
import mailbox
import random
import re
import uuid
from contextlib import suppress
from email import message_from_bytes
from email.policy import default as modern
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import requests

from common.demo import APPROVALS
from tests.markup import compact
from upstream.signatures import HEADER, sign

# Seconds. So many because a busy machine answers late.
TIMEOUT = 60
# The page for reauthentication.
AGAIN = "/accounts/reauthenticate/"


def some_words():
    """Return random words that no other message has. A text like a rejected one would
    be high risk, and messages with the same text would be grouped.
    """
    return (
        " ".join(
            "".join(random.choices("abcdefghiklmnoprstu", k=6)) for _ in range(24)
        ).capitalize()
        + "."
    )


def _read(answer):
    """Return an answer, without the indentation of templates if it is a page."""
    if (
        answer.headers.get("Content-Type", "").startswith("text/html")
        and "Content-Disposition" not in answer.headers
    ):
        answer._content = compact(answer.text).encode()
        answer.encoding = "utf-8"
    return answer


class Browser:
    """A person signed in to the desk with a plain HTTP client, without scripts."""

    def __init__(self, base_url, email, password, *, session=None):
        self.base_url = base_url
        self._password = password
        self.session = session or requests.Session()
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
        """Post a form of `page` with its token, and reauthenticate if the desk asks."""
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

    def _confirmed(self, redirect):
        """Reauthenticate with the password, and submit the form again that led to it:
        in a long run the last sign-in is too old.
        """
        next_path = parse_qs(urlsplit(redirect.headers["Location"]).query)["next"][0]
        page = self.get(redirect.headers["Location"])
        answer = self.post(AGAIN, page, password=self._password, next=next_path)
        assert answer.headers["Location"] == next_path, (
            f"the confirmation answered {answer.status_code}"
        )
        page = self.get(next_path)
        action = re.search(r'<form [^>]* action="([^"]+)"[^>]* data-go-on', page.text)
        if not action:
            return page
        names = "csrfmiddlewaretoken|saved_request"
        data = re.findall(rf'name="({names})" value="([^"]+)"', page.text)
        url = self.base_url + unescape(action[1])
        return self.session.post(url, data=data, timeout=TIMEOUT, allow_redirects=False)

    def queue(self, tab="waiting"):
        """Return the messages of a tab, from all its pages in JSON."""
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

    def approve(self, row):
        """Approve a message of the queue, as it is there."""
        answer = self.decide(row["id"], "approve", row["fingerprint"])
        assert answer.status_code == 302, answer.status_code

    def trace(self, message_id):
        return self.get(f"/audit/trace/{message_id}/?format=json").json()["entries"]


class Product:
    """The running product, used with the addresses and keys of its credentials file."""

    def __init__(self, stack):
        self.stack = stack
        self.known = stack.credentials
        self.wait_for = stack.wait_for
        # No caps: tests send more than agents do. Tests of the caps are in
        # tests/integration/test_brake.py.
        self.sql(
            "INSERT INTO approvals_cap (kind, an_hour, a_day) SELECT kind, 0, 0"
            " FROM unnest(ARRAY['key', 'alike', 'mailbox', 'recipient']) AS kind ON CONFLICT DO NOTHING"
        )

    def set_undo_window(self, window, mailbox="MAILBOX_ID"):
        """Set a mailbox's undo window; tests of other things shorten it."""
        change = "UPDATE mirror_mailbox SET undo_window = %s WHERE upstream_id = %s"
        self.sql(change, window, self.known[mailbox])

    def reviewer(self, prefix="REVIEWER"):
        return Browser(
            self.known["DASHBOARD_URL"],
            self.known[f"{prefix}_EMAIL"],
            self.known[f"{prefix}_PASSWORD"],
        )

    def call(self, method, path, key="AGENT_KEY", headers=None, **options):
        """Call the gateway with one of the demo's keys."""
        headers = {"Authorization": f"Bearer {self.known[key]}", **(headers or {})}
        return requests.request(
            method,
            self.known["GATEWAY_URL"] + path,
            headers=headers,
            timeout=TIMEOUT,
            allow_redirects=False,
            **options,
        )

    def send(self, subject=None, *, key="AGENT_KEY", **fields):
        """Send a message by `send_email`, by default with a unique subject. Return its
        id and subject.
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
        """Let alerts be planned but not posted: posting is most of the work for a
        message, and few tests need it.
        """
        self.sql("UPDATE alerts_destination SET waits_until = now() + interval '1 day'")

    def post_alerts(self):
        """Post alerts from now on, but none that were planned before: a channel accepts
        only thirty a minute.
        """
        self.sql(
            "UPDATE alerts_delivery SET state = 'delivered', last_attempt_at = now() WHERE state = 'due'"
        )
        self.sql("UPDATE alerts_destination SET waits_until = NULL")

    def make_room(self, *, but):
        """Reject all waiting messages if they are more than `but`, so that a new
        message is on the first page of the queue.
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
        """Wait until the desk shows the message with its content, and return its
        row.
        """
        # Wait by the row in the database: loading a page each time would slow the
        # product.
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
        """Send a message, and return its row once the desk shows it with its
        content.
        """
        return self.held(browser, self.send(subject, **fields)[0])

    def hold_with_files(self, browser, files):
        """Hold a message with these files (name, content, type), wait until the desk
        has them all, and return its row.
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
        """Run a statement in the application's database role, for what no person and no
        agent can do.
        """
        with psycopg.connect(self.known["DATABASE_URL"]) as database:
            cursor = database.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def mails(self, subject):
        """Return the sent mails with this subject."""
        return [mail for mail in self.all_mails() if mail["Subject"] == subject]

    def all_mails(self):
        """Return all sent mails."""
        folder = mailbox.Maildir(self.known["OUTBOX_DIR"], create=False)
        keys = list(folder.keys())
        return [
            message_from_bytes(folder.get_bytes(key), policy=modern) for key in keys
        ]

    def cards(self, subject):
        """Return the cards with this title, from the stand-in for Discord."""
        journal = Path(self.known["OUTBOX_DIR"]).with_name("discord.jsonl")
        messages = {}
        for line in journal.read_text().splitlines():
            # Not an empty line, nor one that is just being written.
            with suppress(ValueError):
                message = json.loads(line)["message"]
                if message["channel_id"] == APPROVALS.id:
                    messages[message["id"]] = message
        escapes = re.compile(r"\\(.)")
        return [
            message
            for message in messages.values()
            if message["embeds"]
            and escapes.sub(r"\1", message["embeds"][0].get("title", "")) == subject
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
