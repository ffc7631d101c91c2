"""The gateway in this process, with a mail server, a receiver of webhooks, and
accounts.

It is asked as clients ask, through its own addresses and middleware. Nothing runs
beside a test: what the worker would do is done when a test waits for it. The database
is touched for two things only: to let time pass, and to set what an operator alone can
set. That real clients come through real servers is proven by the tests of the line.
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
        """Send one request; any answer but a JSON object fails the test, unless `raw`
        allows other bytes.
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
            response = self._client.generic(
                method, path, body, content_type=kind, headers=headers
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
        """Note what the block would hand to workers: the task and the row."""

        def send(task, args, kwargs=None, **options):
            self._due.append((task, *args))

        with (
            patch.object(AfterCommitTask, "_send", send),
            TestCase.captureOnCommitCallbacks(execute=True),
        ):
            yield

    def work(self):
        """Do what workers were told of, and what that brings about."""
        while self._due:
            task, row = self._due.pop(0)
            with self._wake_ups():
                task(row)

    def sweep(self):
        """Do what the worker does every few seconds."""
        with self._wake_ups():
            tasks.sweep()
        self.work()

    def mails(self, subject):
        """What reached the mail server with this subject."""
        return [mail for mail, _ in self._received() if mail["Subject"] == subject]

    def recipients(self, subject):
        """Whom mails with this subject were handed over for, blind copies included."""
        return {
            address
            for mail, to in self._received()
            if mail["Subject"] == subject
            for address in to
        }

    def _received(self):
        taken = self.mail.taken
        return [
            (message_from_bytes(one.content, policy=modern), one.rcpt_tos)
            for one in taken
        ]

    def deliver(self, mail, *, to, sender="dana@northwind.example"):
        """Bring a mail in, as the gateway's own mail server does with what another one
        handed over; return its id.
        """
        mailbox = mailbox_for(to)
        content = mail.as_bytes()
        assert mailbox is not None, f"nobody takes mail for {to}"
        digest = digest_of(content, now=timezone.now())
        with self._wake_ups():
            return receive_mail(
                mailbox,
                read_mail(content),
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
    """docs/multimail.md, Errors and limits: an object with the JSON type; never 204,
    empty, HTML, nor a redirect.
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
