"""The gateway in this process, with a mail server, a receiver of webhooks, and
accounts.

Requests go through its addresses and middleware, as a client's do. No other process
runs: the worker's tasks run when a test waits for them. Tests change the database
directly only to let time pass, and to set what only an operator can set. Other tests
check real clients over the network.
"""

import contextlib
import io
import itertools
import json
import re
from email import message_from_bytes
from email.policy import default as modern
from unittest.mock import patch
from urllib.parse import urlencode

from django.core.management import call_command
from django.db import connection
from django.test import Client, TestCase
from django.utils import timezone

from common.tasks import AfterCommitTask
from gateway import tasks
from gateway.inbound.receive import digest_of, read_mail, receive_mail
from gateway.lookups import mailbox_for
from tests.integration.gateway.world import read_to_end

_numbers = itertools.count(1)
_LINE = re.compile(r"^(?P<what>[a-z ]+?)  +(?P<value>\S+)(?:  (?P<rest>.*))?")


class Gateway:
    """The gateway as its clients and its operator use it."""

    def __init__(self, mail, hooks):
        self.mail = mail
        self.hooks = hooks
        self._client = Client(raise_request_exception=False)
        self._due = []

    def call(self, method, path, *, key=None, **options):
        """Send one request. An answer that is no JSON object fails the test, unless
        `raw` is given and the status is 200.
        """
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        headers |= options.get("headers", {})
        body = options.get("data") or b""
        if "json" in options:
            body = json.dumps(options["json"])
            headers["Content-Type"] = "application/json"
        if params := options.get("params"):
            path += ("&" if "?" in path else "?") + urlencode(params)
        kind = headers.get("Content-Type", "")
        with self._wake_ups():
            response = read_to_end(
                self._client.generic(
                    method, path, body, content_type=kind, headers=headers
                )
            )
        response.asked = f"{method} {path}"
        response.ok = response.status_code < 400
        if not (options.get("raw") and response.status_code == 200):
            assert_json_object(response)
        return response

    def sql(self, query, *parameters):
        """Run one statement as the owner of the database."""
        with connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def _wake_ups(self):
        """Collect the tasks of the block, in place of sending them to workers."""

        def send(task, args, kwargs=None, **options):
            self._due.append((task, *args))

        with (
            patch.object(AfterCommitTask, "_send", send),
            TestCase.captureOnCommitCallbacks(execute=True),
        ):
            yield

    def work(self):
        """Run the collected tasks, and those that they send."""
        while self._due:
            task, row = self._due.pop(0)
            with self._wake_ups():
                task(row)

    def sweep(self):
        """Run the periodic sweep, and the tasks that it sends."""
        with self._wake_ups():
            tasks.sweep()
        self.work()

    def mails(self, subject):
        """The mails with this subject that the mail server received."""
        return [mail for mail, _ in self._received() if mail["Subject"] == subject]

    def recipients(self, subject):
        """The SMTP recipients of mails with this subject, blind copies included."""
        return {
            address
            for mail, to in self._received()
            if mail["Subject"] == subject
            for address in to
        }

    def _received(self):
        mails = self.mail.taken
        return [
            (message_from_bytes(mail.content, policy=modern), mail.rcpt_tos)
            for mail in mails
        ]

    def deliver(self, mail, *, to, sender="dana@northwind.example"):
        """Receive a mail as the gateway's own mail server does. Return its id."""
        mailbox = mailbox_for(to)
        content = mail.as_bytes()
        assert mailbox is not None, f"nobody takes mail for {to}"
        digest = digest_of(content, now=timezone.now())
        with self._wake_ups():
            return receive_mail(
                mailbox,
                read_mail(content, share="127.0.0.1", sender=sender),
                digest=digest,
                recipient=to,
                sender=sender,
            )

    def make_account(self, mode):
        """Make an account with `gateway_account`, and return its ids and the texts of
        its keys.
        """
        context = io.StringIO()
        account = {
            "name": f"Tenant {next(_numbers)}",
            "mode": mode,
            "oversight_email": "eve@overseer.example",
        }
        call_command("gateway_account", **account, stdout=context)
        lines = [
            line
            for text in context.getvalue().splitlines()
            if (line := _LINE.match(text))
        ]
        known = {line["what"]: line["value"] for line in lines}
        [mailbox] = [line for line in lines if line["what"] == "mailbox"]
        return known | {"address": mailbox["rest"]}


def assert_json_object(answer):
    """Check that an answer is a JSON object and no redirect, and that an error has a
    text, as docs/multimail.md ("Errors and limits") says. Return the object.
    """
    context = f"{answer.asked}: {answer.status_code}"
    assert answer.status_code != 204, context
    assert not 300 <= answer.status_code < 400, context
    assert answer.headers.get("Content-Type", "").startswith("application/json"), (
        context
    )
    if answer.asked.startswith("HEAD"):
        return {}
    body = answer.json()
    assert isinstance(body, dict), context
    assert body, context
    if answer.status_code >= 400:
        assert isinstance(body.get("error"), str), f"{context} {body}"
        assert body["error"].strip(), context
    return body
