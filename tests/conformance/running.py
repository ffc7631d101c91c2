"""`./run gateway` with what stands around it in a test: a mail server, a receiver of webhooks, and accounts.

Everything is asked over HTTP and SMTP, as clients do. The database is touched for two things only: to let time pass,
and to set what an operator alone can set.
"""

import contextlib
import re
import smtplib
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

import psycopg
import pytest
import requests
from celery import Celery

from tests.conformance.receiver import Receiver, receiver
from tests.integration.gateway.servers import MailServer, mail_server
from tests.stack import Stack, running_stack

TIMEOUT = 15
# One process makes all accounts, each when a test asks for it: starting it anew takes longer than all the rest.
_MAKE = """
import sys
from django.core.management import call_command
for number, mode in enumerate(sys.stdin):
    call_command("gateway_account", name=f"Tenant {number}", mode=mode.strip(), oversight_email="eve@overseer.example")
    print("made", flush=True)
"""

_LINE = re.compile(r"^(?P<what>[a-z ]+?)  +(?P<value>\S+)(?:  (?P<rest>.*))?")


class Running:
    """The gateway as its clients and its operator reach it."""

    def __init__(self, stack: Stack, mail: MailServer, hooks: Receiver) -> None:
        self.stack, self.mail, self.hooks = stack, mail, hooks
        self.url = f"http://127.0.0.1:{stack.env['GATEWAY_PORT']}"
        self._session = requests.Session()
        self._session.trust_env = False
        broker = stack.env["REDIS_URL"].replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
        self._celery = Celery(broker=broker, set_as_current=False)
        self._maker = stack.converse("manage", "shell", "-c", _MAKE)

    def call(self, method: str, path: str, *, key: str | None = None, **options: Any) -> requests.Response:
        """Send one request; any answer but a JSON object fails the test, unless `raw` allows other bytes."""
        raw = options.pop("raw", False)
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        options.setdefault("timeout", TIMEOUT)
        response = self._session.request(method, self.url + path, headers=headers, allow_redirects=False, **options)
        if not (raw and response.status_code == 200):
            assert_json_object(response)
        return response

    def sql(self, query: str, *parameters: Any) -> list[Any]:
        """Run one statement as the owner of the database."""
        with psycopg.connect(self.stack.env["DATABASE_OWNER_URL"], autocommit=True) as database:
            cursor = database.execute(query, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def sweep(self) -> None:
        """Do now what the worker does by itself every few seconds."""
        self._celery.send_task("gateway.tasks.sweep", queue="gateway")

    def mails(self, subject: str) -> list[EmailMessage]:
        """What reached the mail server with this subject."""
        read = [message_from_bytes(envelope.content, policy=modern) for envelope in list(self.mail.taken)]
        return [mail for mail in read if mail["Subject"] == subject]  # type: ignore[misc]

    def recipients(self, subject: str) -> set[str]:
        """Whom mails with this subject were handed over for, blind copies included."""
        found = [e for e in list(self.mail.taken) if message_from_bytes(e.content, policy=modern)["Subject"] == subject]
        return {address for envelope in found for address in envelope.rcpt_tos}

    def deliver(self, mail: EmailMessage, *, to: str, sender: str = "dana@northwind.example") -> None:
        """Bring a mail to the gateway's own mail server, as another one on the internet would."""
        with smtplib.SMTP("127.0.0.1", int(self.stack.env["INBOUND_PORT"]), timeout=TIMEOUT) as server:
            server.send_message(mail, from_addr=sender, to_addrs=[to])

    def make_account(self, mode: str) -> dict[str, str]:
        """Make an account with `gateway_account`, and return its ids and the texts of its keys."""
        assert self._maker.stdin is not None
        assert self._maker.stdout is not None
        self._maker.stdin.write(f"{mode}\n")
        self._maker.stdin.flush()
        known: dict[str, str] = {}
        for text in self._maker.stdout:
            if text == "made\n":
                return known
            if line := _LINE.match(text):
                known[line["what"]] = line["value"]
                known |= {"address": line["rest"]} if line["what"] == "mailbox" else {}
        raise AssertionError("the account was not made; what the command said stands above")

    def close(self) -> None:
        """End what this began."""
        self._session.close()
        with self._maker:
            self._maker.stdin.close()  # type: ignore[union-attr]


def assert_json_object(response: requests.Response) -> dict[str, Any]:
    """Contract section 2: an object with the JSON type; never 204, empty, HTML, nor a redirect."""
    told = f"{response.request.method} {response.request.path_url}: {response.status_code}"
    assert response.status_code != 204, told
    assert not 300 <= response.status_code < 400, told
    assert response.headers.get("Content-Type", "").startswith("application/json"), told
    if response.request.method == "HEAD":
        return {}
    body = response.json()
    assert isinstance(body, dict), told
    assert body, told
    if response.status_code >= 400:
        assert isinstance(body.get("error"), str), f"{told} {body}"
        assert body["error"].strip(), told
    return body


@contextlib.contextmanager
def running_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Start it, with the ports of what stands around it told as an operator tells them."""
    with mail_server() as mail, receiver() as hooks:
        variables = {"DEMO": "0", "EMAIL_URL": mail.url, "OUTGOING_ALLOW": hooks.origin}
        with running_stack(tmp_path_factory, "gateway", **variables) as stack:
            running = Running(stack, mail, hooks)
            try:
                yield running
            finally:
                running.close()
